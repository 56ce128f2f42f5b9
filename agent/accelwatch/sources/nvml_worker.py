"""The child that calls NVML, so that the agent never does.

Reads one request per line from standard input and answers with a length and JSON (`nvml_answer.Answer`). It ends with
its input, or with its parent. Started with a JSON object as its argument: see `nvml_answer.Start`. It stays for as long
as the agent, so it imports nothing of the agent's that it can do without: answers are dictionaries by the names of the
readings' fields, which the agent makes readings of.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import types

from accelwatch.sources.nvml_calls import Calls
from accelwatch.sources.nvml_device import Gpu, ecc, identify
from accelwatch.sources.nvml_driver import LOST, RESET_REQUIRED, UNKNOWN, DeviceError, Driver, DriverError
from accelwatch.sources.nvml_events import Events
from accelwatch.sources.nvml_links import links, read_links
from accelwatch.sources.nvml_mig import mig_devices
from accelwatch.sources.nvml_progress import Progress
from accelwatch.sources.nvml_text import Written, encode, members, row
from accelwatch.sources.nvml_wire import LENGTH, PROCESS_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

# One 999 may be a hiccup; a device that gives nothing else is lost (reference/nvidia.md section 2).
UNKNOWN_LIMIT = 3
# Full readings after which calls that were not supported are asked for again: MIG or ECC mode may have changed.
ASK_AGAIN_READINGS = 100
_NOT_FOUND = 28
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9


class Worker:
    """The devices of one loaded driver."""

    def __init__(self, module: Any, progress: Progress, start: dict[str, Any]) -> None:
        self._driver = Driver(module, progress)
        if not start["process_names"]:
            self._driver.withhold(PROCESS_NAME)
        self._skip = frozenset(start["skip"])
        self._gpus: list[Gpu] = []
        self._written: dict[int, Written] = {}  # by ordinal
        self._lost: list[dict[str, Any]] = []
        self._problems: list[str] = []
        self._unknown: dict[int, int] = {}
        self._incomplete: set[int] = set()
        self._readings = 0
        self._events: Events | None = None
        self._open()
        if start["events"]:
            self._events = Events(self._driver, self._gpus)

    def _open(self) -> None:
        call, must = self._driver.call, self._driver.must
        must(-1, "nvmlInit")
        system = {
            "driver": call(-1, "nvmlSystemGetDriverVersion"),
            "library": call(-1, "nvmlSystemGetNVMLVersion"),
        }
        for ordinal in range(must(-1, "nvmlDeviceGetCount")):
            if ordinal in self._skip:
                continue
            try:
                handle = must(ordinal, "nvmlDeviceGetHandleByIndex", ordinal)
                self._gpus.append(Gpu(self._driver, ordinal, handle, identify(self._driver, ordinal, handle, system)))
            except DeviceError as error:
                self._not_opened(ordinal, error)
            except ValueError as error:
                self._problems.append(f"NVML: GPU {ordinal}: its PCI address cannot be read: {error}")

    def _not_opened(self, ordinal: int, error: DeviceError) -> None:
        if error.code not in (LOST, RESET_REQUIRED, UNKNOWN, _NOT_FOUND):
            self._problems.append(f"NVML: GPU {ordinal}: {error}")
            return
        # Its address is not told any more: the agent knows it by the index it had.
        identity = {"key": {"vendor": "nvidia", "native": f"index{ordinal}"}, "index": ordinal}
        state = "reset_required" if error.code == RESET_REQUIRED else "lost"
        self._lost.append({"identity": identity, "state": state, "reason": str(error)})

    def read(self, full: bool) -> str:
        """The answer on all devices."""
        if full:
            self._readings += 1
            if self._readings % ASK_AGAIN_READINGS == 0:
                self._driver.forget_absent()
        if self._events is not None:
            self._incomplete |= self._events.take_look()
            self._problems += self._events.problems()
        devices: list[str] = []
        for gpu in self._gpus:
            try:
                # What a device lost of its picture in a bad moment is read again with its first good answer.
                if full or gpu.ordinal in self._incomplete:
                    devices += self._full(gpu)
                else:
                    devices.append(row((gpu.ordinal, *self._alive(gpu))))
                self._unknown.pop(gpu.ordinal, None)
                self._incomplete.discard(gpu.ordinal)
            except DeviceError as error:
                self._incomplete.add(gpu.ordinal)
                devices.append(encode(self._broken(gpu, error)))
        devices += map(encode, self._lost)
        answer = {"devices": "[" + ",".join(devices) + "]"}
        problems, self._problems = self._problems, []
        events = self.events()
        if problems:
            answer["problems"] = encode(problems)
        if events:
            answer["events"] = encode(events)
        return members(answer)

    def events(self) -> list[dict[str, Any]]:
        """What has happened since it was last told."""
        return self._events.take() if self._events is not None else []

    def close(self) -> bool:
        """Before the driver is let go of; false when a call does not come back."""
        return self._events is None or self._events.close()

    def _alive(self, gpu: Gpu) -> tuple[float | None, float | None, float | None, list[str] | None]:
        self._driver.begin_device()
        values = gpu.fast()
        self._driver.end_device()
        return values

    def _full(self, gpu: Gpu) -> list[str]:
        power, energy, load, throttle = self._alive(gpu)
        fast = {"power_watts": power, "energy_joules": energy, "utilization_ratio": load, "throttle": throttle}
        text = self._written.setdefault(gpu.ordinal, Written()).text
        key = gpu.identity["key"]
        device = {
            "identity": text("identity", gpu.identity),
            "sensors": encode(gpu.slow_sensors() | fast),
            "health": text("health", gpu.health()),
            "ecc": text("ecc", gpu.read_ecc(), ecc),
            "repairs": text("repairs", gpu.repairs()),
            "pcie": text("pcie", gpu.pcie()),
            "fabric": text("fabric", gpu.fabric()),
            "links": text("links", read_links(self._driver, gpu), lambda read: links(key, read)),
            "processes": text("processes", gpu.processes()),
        }
        return [members(device), *map(encode, mig_devices(self._driver, gpu))]

    def _broken(self, gpu: Gpu, error: DeviceError) -> dict[str, Any]:
        count = self._unknown[gpu.ordinal] = self._unknown.get(gpu.ordinal, 0) + 1
        if error.code == RESET_REQUIRED:
            state = "reset_required"
        elif error.code == LOST or count >= UNKNOWN_LIMIT:
            state = "lost"
        else:
            state = "up"  # nothing is known of it but that it was there a moment ago
        return {"identity": gpu.identity, "state": state, "reason": str(error)}


def main() -> None:
    """Serves requests until the input ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        return
    # A library that prints must not print between our answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    start = json.loads(sys.argv[1])
    progress = Progress(start["progress"])
    progress.enter(-1, "loading libnvidia-ml.so.1")
    library = start["library"]
    if library is not None:
        # pynvml asks for the name libnvidia-ml.so.1, and gets the library of that SONAME that is loaded already.
        try:
            ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            _send(answers, encode({"error": f"{library}: cannot be loaded: {error}"}))
            return
    pynvml = _pynvml()  # after the library that it is to find
    binding = _binding(pynvml)
    progress.leave()
    worker: Worker | None = None
    for line in sys.stdin:
        try:
            if worker is None:
                worker = Worker(binding, progress, start)
                gc.freeze()  # what is loaded now stays: never searched again, its pages never touched
            if line.strip() == "release":
                if worker.close():  # else the driver lets go of us when the process ends
                    pynvml.nvmlShutdown()
                return
            _send(answers, worker.read(line.strip() == "full"))
        except (DriverError, DeviceError) as error:
            _send(answers, encode({"error": str(error), "events": [] if worker is None else worker.events()}))
            return


def _pynvml() -> Any:
    """The module takes `find_library` from `ctypes.util` and never calls it: what that imports is 1.3 MB of its own."""
    unused = types.ModuleType("ctypes.util")
    unused.find_library = lambda name: None  # type: ignore[attr-defined]  # noqa: ARG005 - as where nothing is found
    sys.modules.setdefault("ctypes.util", unused)
    import pynvml

    return pynvml


def _binding(pynvml: Any) -> Any:
    """Where there is no library, the binding alone: its nvmlInit says so."""
    try:
        return Calls(pynvml, ctypes.CDLL("libnvidia-ml.so.1"))
    except OSError:
        return pynvml


def _send(answers: BinaryIO, answer: str) -> None:
    body = answer.encode()
    answers.write(LENGTH.pack(len(body)) + body)
    answers.flush()

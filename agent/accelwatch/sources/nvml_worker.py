"""The child that calls NVML, so that the agent never does: `python -m accelwatch.sources.nvml_worker`.

Reads one request per line from standard input and answers with a length and msgpack. It ends with its input, or
with its parent. Started with a JSON object as its argument: see `Start`.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

import msgspec

from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.snapshot import Device
from accelwatch.sources.nvml_device import Gpu, identify
from accelwatch.sources.nvml_driver import LOST, RESET_REQUIRED, UNKNOWN, DeviceError, Driver, DriverError
from accelwatch.sources.nvml_events import Events
from accelwatch.sources.nvml_links import read_links
from accelwatch.sources.nvml_mig import mig_devices
from accelwatch.sources.nvml_progress import Progress

LENGTH = struct.Struct("<I")
# One 999 may be a hiccup; a device that gives nothing else is lost (reference/nvidia.md section 2).
UNKNOWN_LIMIT = 3
# Full readings after which calls that were not supported are asked for again: MIG or ECC mode may have changed.
ASK_AGAIN_READINGS = 100
# It reads the command line of the process, and blocks when that process is stuck with its memory map locked.
PROCESS_NAME = "nvmlSystemGetProcessName"
_NOT_FOUND = 28
_PR_SET_PDEATHSIG = 1


class Start(msgspec.Struct):
    """What the worker is told at its start."""

    progress: int  # descriptor of the shared marker
    library: str | None
    skip: list[int]  # ordinals of devices that blocked or killed a worker before this one
    process_names: bool = True  # False: asking for them blocked the worker before
    events: bool = True  # False: registering for them did


class Sighting(msgspec.Struct, frozen=True):
    """One device in an answer; `sensors` alone is a fast reading of a device whose rest is known."""

    device: Device
    full: bool


class Answer(msgspec.Struct, frozen=True):
    """What one request brought. `error`: no device can be asked."""

    sightings: tuple[Sighting, ...] = ()
    problems: tuple[str, ...] = ()  # told once by each worker
    events: tuple[LogEvent, ...] = ()  # since the answer before
    error: str | None = None


class Worker:
    """The devices of one loaded driver."""

    def __init__(self, module: Any, progress: Progress, start: Start) -> None:
        self._driver = Driver(module, progress.enter, progress.leave)
        if not start.process_names:
            self._driver.withhold(PROCESS_NAME)
        self._skip = frozenset(start.skip)
        self._gpus: list[Gpu] = []
        self._lost: list[Device] = []
        self._problems: list[str] = []
        self._unknown: dict[int, int] = {}
        self._incomplete: set[int] = set()
        self._readings = 0
        self._events: Events | None = None
        self._open()
        if start.events:
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
        identity = Identity(key=DeviceKey(Vendor.NVIDIA, f"index{ordinal}"), index=ordinal)
        state = DeviceState.RESET_REQUIRED if error.code == RESET_REQUIRED else DeviceState.LOST
        self._lost.append(Device(identity=identity, state=state, reason=str(error)))

    def read(self, full: bool) -> Answer:
        """All devices."""
        if full:
            self._readings += 1
            if self._readings % ASK_AGAIN_READINGS == 0:
                self._driver.forget_absent()
        if self._events is not None:
            self._incomplete |= self._events.take_look()
            self._problems += self._events.problems()
        sightings: list[Sighting] = []
        for gpu in self._gpus:
            try:
                # What a device lost of its picture in a bad moment is read again with its first good answer.
                sightings += self._full(gpu) if full or gpu.ordinal in self._incomplete else [self._fast(gpu)]
                self._unknown.pop(gpu.ordinal, None)
                self._incomplete.discard(gpu.ordinal)
            except DeviceError as error:
                self._incomplete.add(gpu.ordinal)
                sightings.append(Sighting(self._broken(gpu, error), True))
        sightings += (Sighting(device, True) for device in self._lost)
        problems, self._problems = tuple(self._problems), []
        return Answer(tuple(sightings), problems, self.events())

    def events(self) -> tuple[LogEvent, ...]:
        """What has happened since it was last told."""
        return self._events.take() if self._events is not None else ()

    def close(self) -> bool:
        """Before the driver is let go of; false when a call does not come back."""
        return self._events is None or self._events.close()

    def _alive(self, gpu: Gpu) -> Sensors:
        self._driver.begin_device()
        sensors = gpu.fast()
        self._driver.end_device()
        return sensors

    def _fast(self, gpu: Gpu) -> Sighting:
        return Sighting(Device(identity=gpu.identity, sensors=self._alive(gpu)), False)

    def _full(self, gpu: Gpu) -> list[Sighting]:
        fast = self._alive(gpu)
        slow = gpu.slow_sensors()
        device = Device(
            identity=gpu.identity,
            sensors=join(fast, slow),
            health=gpu.health(),
            ecc=gpu.ecc(),
            repairs=gpu.repairs(),
            pcie=gpu.pcie(),
            fabric=gpu.fabric(),
            links=read_links(self._driver, gpu),
            processes=gpu.processes(),
        )
        return [Sighting(device, True), *(Sighting(mig, True) for mig in mig_devices(self._driver, gpu))]

    def _broken(self, gpu: Gpu, error: DeviceError) -> Device:
        count = self._unknown[gpu.ordinal] = self._unknown.get(gpu.ordinal, 0) + 1
        if error.code == RESET_REQUIRED:
            state = DeviceState.RESET_REQUIRED
        elif error.code == LOST or count >= UNKNOWN_LIMIT:
            state = DeviceState.LOST
        else:
            state = DeviceState.UP  # nothing is known of it but that it was there a moment ago
        return Device(identity=gpu.identity, state=state, reason=str(error))


def join(fast: Sensors, slow: Sensors) -> Sensors:
    """The fast tier's values over the slow one's."""
    return msgspec.structs.replace(
        slow,
        power_watts=fast.power_watts,
        energy_joules=fast.energy_joules,
        utilization_ratio=fast.utilization_ratio,
        throttle=fast.throttle,
    )


def main() -> None:
    """Serves requests until the input ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    # A library that prints must not print between our answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    start = msgspec.json.decode(sys.argv[1], type=Start)
    progress = Progress(start.progress)
    progress.enter(-1, "loading libnvidia-ml.so.1")
    if start.library is not None:
        # pynvml asks for the name libnvidia-ml.so.1, and gets the library of that SONAME that is loaded already.
        try:
            ctypes.CDLL(start.library, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            _send(answers, Answer(error=f"{start.library}: cannot be loaded: {error}"))
            return
    import pynvml  # after the library that it is to find

    progress.leave()
    worker: Worker | None = None
    for line in sys.stdin:
        try:
            if worker is None:
                worker = Worker(pynvml, progress, start)
                gc.freeze()  # what is loaded now stays: never searched again, its pages never touched
            if line.strip() == "release":
                if worker.close():  # else the driver lets go of us when the process ends
                    pynvml.nvmlShutdown()
                return
            _send(answers, worker.read(line.strip() == "full"))
        except (DriverError, DeviceError) as error:
            _send(answers, Answer(error=str(error), events=() if worker is None else worker.events()))
            return


def _send(answers: BinaryIO, answer: Answer) -> None:
    body = msgspec.msgpack.encode(answer)
    answers.write(LENGTH.pack(len(body)) + body)
    answers.flush()


if __name__ == "__main__":
    main()

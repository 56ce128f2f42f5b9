"""The child that calls NVML, so that the agent never does: `python -m accelwatch.sources.nvml_worker`.

Reads one request per line from standard input and answers with a length and msgpack. It ends with its input, or
with its parent. Started with a JSON object as its argument: see `Start`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from typing import Any

import msgspec

from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.snapshot import Device
from accelwatch.sources.nvml_device import Gpu, identify
from accelwatch.sources.nvml_driver import LOST, RESET_REQUIRED, DeviceError, Driver, DriverError
from accelwatch.sources.nvml_links import read_links
from accelwatch.sources.nvml_mig import mig_devices
from accelwatch.sources.nvml_progress import Progress

LENGTH = struct.Struct("<I")
# One 999 may be a hiccup; a device that gives nothing else is lost (reference/nvidia.md section 2).
UNKNOWN_LIMIT = 3
# Full readings after which calls that were not supported are asked for again: MIG or ECC mode may have changed.
ASK_AGAIN_READINGS = 100
_PR_SET_PDEATHSIG = 1


class Start(msgspec.Struct):
    """What the worker is told at its start."""

    progress: int  # descriptor of the shared marker
    library: str | None
    skip: list[int]  # ordinals of devices that blocked or killed a worker before this one


class Sighting(msgspec.Struct, frozen=True):
    """One device in an answer; `sensors` alone is a fast reading of a device whose rest is known."""

    device: Device
    full: bool


class Answer(msgspec.Struct, frozen=True):
    """What one request brought. `error`: no device can be asked."""

    sightings: tuple[Sighting, ...] = ()
    error: str | None = None


class Worker:
    """The devices of one loaded driver."""

    def __init__(self, module: Any, progress: Progress, skip: list[int]) -> None:
        self._driver = Driver(module, progress.enter, progress.leave)
        self._skip = frozenset(skip)
        self._gpus: list[Gpu] = []
        self._lost: dict[int, Device] = {}
        self._unknown: dict[int, int] = {}
        self._readings = 0
        self._open()

    def _open(self) -> None:
        call = self._driver.call
        call(-1, "nvmlInit")
        system = {
            "driver": call(-1, "nvmlSystemGetDriverVersion"),
            "library": call(-1, "nvmlSystemGetNVMLVersion"),
        }
        for ordinal in range(call(-1, "nvmlDeviceGetCount") or 0):
            if ordinal in self._skip:
                continue
            try:
                handle = call(ordinal, "nvmlDeviceGetHandleByIndex", ordinal)
                self._gpus.append(Gpu(self._driver, ordinal, handle, identify(self._driver, ordinal, handle, system)))
            except DeviceError as error:
                # Its address is not told any more: the inventory knows it by the one that is missing.
                identity = Identity(key=DeviceKey(Vendor.NVIDIA, f"index{ordinal}"), index=ordinal)
                self._lost[ordinal] = Device(identity=identity, state=DeviceState.LOST, reason=str(error))

    def read(self, full: bool) -> Answer:
        """All devices."""
        if full:
            self._readings += 1
            if self._readings % ASK_AGAIN_READINGS == 0:
                self._driver.forget_absent()
        sightings: list[Sighting] = []
        for gpu in self._gpus:
            try:
                sightings += self._full(gpu) if full else [self._fast(gpu)]
                self._unknown.pop(gpu.ordinal, None)
            except DeviceError as error:
                sightings.append(Sighting(self._broken(gpu, error), True))
        return Answer(tuple(sightings))

    def _fast(self, gpu: Gpu) -> Sighting:
        return Sighting(Device(identity=gpu.identity, sensors=gpu.fast()), False)

    def _full(self, gpu: Gpu) -> list[Sighting]:
        slow, fast = gpu.slow_sensors(), gpu.fast()
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
    start = msgspec.json.decode(sys.argv[1], type=Start)
    progress = Progress(start.progress)
    progress.enter(-1, "loading libnvidia-ml.so.1")
    if start.library is not None:
        # pynvml asks for the name libnvidia-ml.so.1, and gets the library of that SONAME that is loaded already.
        try:
            ctypes.CDLL(start.library, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            _send(Answer(error=f"{start.library}: cannot be loaded: {error}"))
            return
    import pynvml  # after the library that it is to find

    progress.leave()
    worker: Worker | None = None
    for line in sys.stdin:
        try:
            if worker is None:
                worker = Worker(pynvml, progress, start.skip)
            if line.strip() == "release":
                pynvml.nvmlShutdown()
                return
            _send(worker.read(line.strip() == "full"))
        except (DriverError, DeviceError) as error:
            _send(Answer(error=str(error)))
            return


def _send(answer: Answer) -> None:
    body = msgspec.msgpack.encode(answer)
    sys.stdout.buffer.write(LENGTH.pack(len(body)) + body)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

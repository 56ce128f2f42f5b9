"""NVML's event set: Xids that happen between two polls, also where the kernel log may not be read.

reference/nvidia.md section 3, Events: only what comes after the registration is told, without process, name or text,
and the set dies with the driver, as the worker does that holds it.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque

from accelwatch.sources.nvml_driver import FUNCTION_NOT_FOUND, LOST, NOT_SUPPORTED, DeviceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from accelwatch.sources.nvml_device import Gpu
    from accelwatch.sources.nvml_driver import Driver

# nvmlEventType* of nvml.h.
_XID = 0x8
# Double-bit error, page retirement and its failure, poison, GPU unavailable, recovery action: they carry no code, but
# what they tell of stands in the readings, which are taken at once.
_LOOK = 0x2 | 0x400 | 0x800 | 0x1000 | 0x2000 | 0x4000 | 0x8000
_UNKNOWN_XID = 999
_TIMEOUT = 10
# An event ends a wait at once. What waits for the end of one is a release for a GPU reset: it can spare a second.
_WAIT_MILLISECONDS = 1000
# A wait that is under way for so long does not come back by itself.
STUCK_SECONDS = 10.0
# A set on which a GPU is lost may give that as its answer at once, for ever.
_PAUSE_SECONDS, _PAUSE_LIMIT_SECONDS = 0.5, 30.0
_QUEUE_LIMIT = 1000


class Events:
    """Waits in a thread of its own, so that a wait that blocks holds up no answer."""

    def __init__(self, driver: Driver, gpus: Iterable[Gpu]) -> None:
        """Registers all events of use on every GPU that has them. Raises `DriverError`."""
        self._module = driver.module
        self._gpus: dict[int | None, Gpu] = {}
        self._queue: deque[dict[str, Any]] = deque()
        self._look: set[int] = set()
        self._dropped = 0
        self._waiting_since: float | None = None
        self._told_stuck = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._set = self._register(driver, gpus)
        if self._set is not None:
            self._thread = threading.Thread(target=self._run, name="events", daemon=True)
            self._thread.start()

    def _register(self, driver: Driver, gpus: Iterable[Gpu]) -> Any:
        """The set, or `None` where no GPU has events: then nothing waits."""
        made = None
        for gpu in gpus:
            try:
                wanted = (gpu.call("nvmlDeviceGetSupportedEventTypes") or 0) & (_XID | _LOOK)
                if not wanted:
                    continue
                if made is None:
                    made = driver.call(-1, "nvmlEventSetCreate")
                    if made is None:
                        return None
                driver.must(gpu.ordinal, "nvmlDeviceRegisterEvents", gpu.handle, wanted, made)
            except DeviceError:  # what is wrong with the GPU is for its readings to say
                continue
            self._gpus[_address(gpu.handle)] = gpu
        return made if self._gpus else None

    def take(self) -> list[dict[str, Any]]:
        """What has happened since the last call, as the fields of a `LogEvent`."""
        return [self._queue.popleft() for _ in range(len(self._queue))]

    def take_look(self) -> set[int]:
        """Ordinals of GPUs whose readings have news in them."""
        look, self._look = self._look, set()
        return look

    def problems(self) -> list[str]:
        """What went wrong, once."""
        problems = []
        since = self._waiting_since
        if not self._told_stuck and since is not None and time.monotonic() - since > STUCK_SECONDS:
            self._told_stuck = True
            problems.append(
                f"NVML: nvmlEventSetWait_v2 has not returned for {STUCK_SECONDS:g} s; Xids are known from the kernel "
                "log only"
            )
        dropped, self._dropped = self._dropped, 0
        if dropped:
            problems.append(f"NVML: {dropped} events came faster than they were asked for and are lost")
        return problems

    def close(self) -> bool:
        """Ends the waiting; false when it does not end, and the driver is better left alone."""
        self._stopping.set()
        if self._thread is None:
            return True
        self._thread.join(2 * _WAIT_MILLISECONDS / 1000)
        return not self._thread.is_alive()

    # --- the thread

    def _run(self) -> None:
        pause = _PAUSE_SECONDS
        while not self._stopping.is_set():
            self._waiting_since = time.monotonic()
            try:
                event = self._module.nvmlEventSetWait_v2(self._set, _WAIT_MILLISECONDS)
            except self._module.NVMLError as error:
                self._waiting_since = None
                if error.value == _TIMEOUT:
                    pause = _PAUSE_SECONDS
                elif error.value in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                    return
                else:  # a driver that is gone is told by the next reading, and ends this worker
                    if error.value == LOST:
                        self._look.update(gpu.ordinal for gpu in self._gpus.values())
                    self._stopping.wait(pause)
                    pause = min(2 * pause, _PAUSE_LIMIT_SECONDS)
                continue
            self._waiting_since = None
            pause = _PAUSE_SECONDS
            if event is not None:
                self._note(event)

    def _note(self, event: Any) -> None:
        gpu = self._gpus.get(_address(event.device))
        if gpu is not None:
            self._look.add(gpu.ordinal)
        if event.eventType != _XID:
            return
        if len(self._queue) >= _QUEUE_LIMIT:
            self._dropped += 1
            return
        number = int(event.eventData)
        pci = None if gpu is None else gpu.identity.get("pci")
        text = "NVML event" if number != _UNKNOWN_XID else "NVML event: an Xid whose number the driver kept"
        self._queue.append(
            {
                "kind": "xid",
                "vendor": "nvidia",
                "code": None if number == _UNKNOWN_XID else str(number),
                "pci": None if pci is None else pci.partition(".")[0],
                "wall": time.time(),
                "text": text,
            }
        )


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value

"""NVIDIA GPUs through NVML, called in a child that can be given up (reference/nvidia.md section 2)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import msgspec

from accelwatch.clock import Clock
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.sources.base import Presence, SourceError, SourceReleased, SourceTimeout
from accelwatch.sources.nvml_answer import Answer, Fast, joined
from accelwatch.sources.nvml_child import LIBRARY, Child, Interrupted, WorkerFailed
from accelwatch.sources.nvml_progress import Call
from accelwatch.sources.nvml_wire import EVENT_CALLS, PROCESS_NAME
from accelwatch.sources.patience import SECOND_SHARE

# The rest of the readings comes with every tenth poll (design.md, Configuration); polls that were held up for
# longer than 2.5 such periods bring it all again, so that nothing older is ever shown.
FULL_PERIOD = 10
LIFETIME_PERIODS = 2.5
# A device that blocked a worker is left alone for so long, then twice as long, up to the limit.
QUARANTINE_SECONDS, QUARANTINE_LIMIT_SECONDS = 30.0, 600.0
# The same for a driver that blocks or fails before any device is asked.
BACKOFF_SECONDS, BACKOFF_LIMIT_SECONDS = 1.0, 60.0
# A lost GPU's handle stays dead: a new worker sees whether a reset brought the GPU back. For one that is not
# even counted any more (it may be gone for good) the time doubles up to the limit.
LOST_RETRY_SECONDS, MISSING_RETRY_LIMIT_SECONDS = 60.0, 600.0
# Names of processes are done without for so long after asking for one blocked; events likewise.
NAMELESS_SECONDS = EVENTLESS_SECONDS = 600.0
# Of events that wait for a poll that succeeds: the kernel log has them too.
_EVENTS_KEPT = 1000
_CLOSE_GRACE_SECONDS, _CLOSE_REAP_SECONDS = 0.3, 0.5

_LIBRARY_DIRECTORIES = (
    "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib",
    "/usr/lib/nvidia", "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
)  # fmt: skip
_DRIVER_PROC = Path("/proc/driver/nvidia/version")


class _TryWithout(SourceTimeout):
    """What blocked, or killed, the worker has been set apart: the rest can be asked at once."""


class Nvml:
    """See the module. `timeout`: deadline of each driver call; `interval`: between polls; both in seconds."""

    name = "nvml"

    def __init__(self, *, library: str | None, timeout: float, interval: float, clock: Clock) -> None:
        self._library = library
        self._timeout = timeout
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()  # polls come from one thread, `release` and `close` from others
        self._child = Child(library, timeout)
        self._polls = 0
        self._asked_at = 0.0  # when the poll under way began
        self._devices: dict[DeviceKey, Device] = {}
        self._full_at = 0.0
        self._ordinals: dict[int, Identity] = {}
        self._quarantine: dict[int, tuple[float, str]] = {}  # ordinal: until when, why
        self._blamed: set[int] = set()  # ordinals set apart since the last answer
        self._lengths: dict[int, float] = {}  # of each device's last quarantine
        self._nameless_until = self._eventless_until = 0.0
        self._events: deque[LogEvent] = deque(maxlen=_EVENTS_KEPT)
        self._not_before = 0.0
        self._backoff = BACKOFF_SECONDS
        self._backoff_reason = ""
        self._released_until = 0.0
        self._started_at = 0.0
        self._expected = 0  # GPUs that were there at once
        self._missing_retry = LOST_RETRY_SECONDS

    def presence(self) -> Presence:
        """The library is configured or lies where drivers install it; it is not loaded to find out."""
        if self._library is not None:
            return Presence.PRESENT
        directories = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *_LIBRARY_DIRECTORIES]
        found = any(directory and Path(directory, LIBRARY).exists() for directory in directories)
        return Presence.PRESENT if found or _DRIVER_PROC.exists() else Presence.ABSENT

    @property
    def abandoned(self) -> int:
        """Workers that SIGKILL did not end: they sit in the driver."""
        return self._child.abandoned

    def poll(self, everything: bool = False) -> Snapshot:
        """Fast values of every device, with the rest at every tenth poll; see `sources.base.Source`."""
        with self._lock:
            now = self._asked_at = self._clock.monotonic()
            if now < self._released_until:
                raise SourceReleased(f"NVML is released by an operator for another {self._released_until - now:.0f} s")
            if now < self._not_before:
                raise SourceError(self._backoff_reason)
            try:
                return self._poll(now, everything)
            except Interrupted:
                self._child.end()
                raise SourceError("NVML: closed or released during a poll") from None

    def _poll(self, now: float, everything: bool) -> Snapshot:
        self._end_quarantines(now)
        self._look_again(now)
        stale = now - self._full_at > LIFETIME_PERIODS * FULL_PERIOD * self._interval
        full = everything or stale or not self._child.running or self._polls % FULL_PERIOD == 0
        problems: tuple[str, ...] = ()
        try:
            answer = self._ask("full" if full else "fast", now)
        except _TryWithout as blamed:
            # The others' values must not wait for the next poll.
            full, problems = True, (str(blamed),)
            answer = self._ask("full", now, SECOND_SHARE * self._timeout)
        self._events += answer.events
        if answer.error is not None:
            self._fail(f"NVML: {answer.error}")
        self._polls = self._polls + 1 if not full else 1
        self._backoff = BACKOFF_SECONDS
        self._blamed.clear()
        self._take(answer, full, now)
        blocked = tuple(self._blocked())
        events = tuple(self._events)
        self._events.clear()
        return Snapshot(devices=(*self._devices.values(), *blocked), events=events, problems=problems + answer.problems)

    def release(self, seconds: float) -> None:
        """Shuts NVML down and holds nothing of it for that long, for a reset or an upgrade."""
        self._released_until = self._clock.monotonic() + seconds
        with self._alone():
            self._child.shut_down()

    def resume(self) -> None:
        """Ends a release before its time."""
        self._released_until = 0.0

    def close(self) -> None:
        """Ends the worker without a call into the driver."""
        with self._alone():
            self._child.end(_CLOSE_GRACE_SECONDS, _CLOSE_REAP_SECONDS)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Has a poll that is under way in another thread give up, which takes it a slice of its waiting."""
        if not self._lock.acquire(blocking=False):
            self._child.interrupt()
            self._lock.acquire()
        self._child.calm()
        try:
            yield
        finally:
            self._lock.release()

    # --- the worker

    def _ask(self, request: str, now: float, limit: float | None = None) -> Answer:
        try:
            if not self._child.running:
                self._child.start(sorted(self._quarantine), now >= self._nameless_until, now >= self._eventless_until)
                self._started_at = now
            return self._child.ask(request, limit)
        except WorkerFailed as failed:
            if failed.call is not None:
                self._blame(failed.call, failed)
            self._fail(f"NVML: {failed}", failed)

    def _blame(self, call: Call, failed: WorkerFailed) -> None:
        """Sets the device of the call apart; returns when it was no device's."""
        now = self._clock.monotonic()
        if call.name == PROCESS_NAME:
            self._nameless_until = now + NAMELESS_SECONDS
            raise _TryWithout(f"NVML: {call.name} {failed}; no process names for {NAMELESS_SECONDS:.0f} s")
        if call.name in EVENT_CALLS:
            self._eventless_until = now + EVENTLESS_SECONDS
            raise _TryWithout(f"NVML: {call.name} {failed}; no events for {EVENTLESS_SECONDS:.0f} s")
        if call.device < 0:
            # What blocked on one GPU just before was the library's doing: that GPU is not accused when it is back.
            for ordinal in self._blamed:
                self._quarantine.pop(ordinal, None)
                self._lengths.pop(ordinal, None)
            self._blamed.clear()
            self._fail(f"NVML: {call.name} {failed}", failed)
        length = min(max(QUARANTINE_SECONDS, 2 * self._lengths.get(call.device, 0.0)), QUARANTINE_LIMIT_SECONDS)
        self._lengths[call.device] = length
        self._quarantine[call.device] = (now + length, f"{call.name} {failed}")
        self._blamed.add(call.device)
        raise _TryWithout(
            f"NVML: {call.name} on GPU {call.device} {failed}; the other GPUs are read without it, it is tried again "
            f"in {length:.0f} s"
        )

    def _fail(self, message: str, failed: WorkerFailed | None = None) -> NoReturn:
        """Ends the worker and waits before the next one; always raises."""
        self._child.end()
        self._devices.clear()
        self._not_before = self._clock.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, BACKOFF_LIMIT_SECONDS)
        self._backoff_reason = message
        if failed is not None and failed.blocked:
            raise SourceTimeout(message, failed.sample, self._clock.monotonic() - self._asked_at)
        raise SourceError(message, None if failed is None else failed.sample)

    # --- the picture

    def _take(self, answer: Answer, full: bool, now: float) -> None:
        known = self._devices
        devices: dict[DeviceKey, Device] = {}
        for told in answer.devices:
            device = self._joined(told) if isinstance(told, tuple) else self._recognised(told)
            if device is None:
                continue
            devices[device.key] = device
            if isinstance(told, Device) and device.identity.index is not None:
                self._ordinals[device.identity.index] = device.identity
                if full and device.state is DeviceState.UP:
                    self._lengths.pop(device.identity.index, None)
        if full:
            self._full_at = now
        elif any(device.identity.parent is not None for device in known.values()):  # MIG: in the full readings only
            up = {key for key, device in devices.items() if device.state is DeviceState.UP}
            devices = {key: device for key, device in known.items() if device.identity.parent in up} | devices
        self._devices = devices

    def _joined(self, fast: Fast) -> Device | None:
        """A device with what was read of it in full; `None` for one that this worker has not told of."""
        identity = self._ordinals.get(fast[0])
        if identity is None:
            return None
        old = self._devices.get(identity.key)
        if old is None or old.sensors is None:  # what was said of it in a bad moment is over
            return Device(identity=identity, sensors=joined(fast, None))
        return msgspec.structs.replace(old, sensors=joined(fast, old.sensors), state=DeviceState.UP)

    def _recognised(self, device: Device) -> Device | None:
        """A device that could not be identified, as the one that had its index before; else `None`.

        Who it is stays the very same object while it is the same: nobody has to look at that again.
        """
        told = device.identity
        if told.pci is None and told.index is not None:
            identity = self._ordinals.get(told.index)
        else:
            old = self._devices.get(told.key)
            identity = told if old is None or old.identity != told else old.identity
        if identity is None:
            return None
        return device if identity is told else msgspec.structs.replace(device, identity=identity)

    def _blocked(self) -> Iterator[Device]:
        for ordinal, (_, reason) in self._quarantine.items():
            identity = self._ordinals.get(ordinal)
            # Indexes move when a GPU is lost: what was read just now is not blocked, whatever its index was.
            if identity is not None and identity.key not in self._devices:
                yield Device(identity=identity, state=DeviceState.BLOCKED, reason=reason)

    def _end_quarantines(self, now: float) -> None:
        """Gives a device that blocked another chance, with a new worker."""
        over = [ordinal for ordinal, (until, _) in self._quarantine.items() if now >= until]
        if over:
            self._child.end(_CLOSE_GRACE_SECONDS)
        for ordinal in over:
            del self._quarantine[ordinal]

    def _look_again(self, now: float) -> None:
        """Replaces the worker now and then while a GPU is lost, or fewer are there than were."""
        gpus = [device for device in self._devices.values() if device.identity.parent is None]
        lost = any(device.state is not DeviceState.UP for device in gpus)
        there = len(gpus) + len(self._quarantine)
        self._expected = max(self._expected, there)
        if not lost and there >= self._expected:
            self._missing_retry = LOST_RETRY_SECONDS
        elif self._child.running and now - self._started_at >= (LOST_RETRY_SECONDS if lost else self._missing_retry):
            self._child.end(_CLOSE_GRACE_SECONDS)
            if not lost:
                self._missing_retry = min(2 * self._missing_retry, MISSING_RETRY_LIMIT_SECONDS)

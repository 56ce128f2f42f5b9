"""NVIDIA GPUs through NVML, called in a child that can be given up (reference/nvidia.md section 2)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from accelwatch.clock import Clock
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.sources.base import Presence, SourceError, SourceTimeout
from accelwatch.sources.commands import ABANDONED_LIMIT, REAP_SECONDS
from accelwatch.sources.nvml_progress import Call, Progress
from accelwatch.sources.nvml_worker import LENGTH, Answer, Start, join

# The rest of the readings comes with every tenth poll (design.md, Configuration).
FULL_PERIOD = 10
LIFETIME_PERIODS = 2.5
# A device that blocked a worker is left alone for so long, then twice as long, up to the limit.
QUARANTINE_SECONDS, QUARANTINE_LIMIT_SECONDS = 30.0, 600.0
# The same for a driver that blocks or fails before any device is asked.
BACKOFF_SECONDS, BACKOFF_LIMIT_SECONDS = 1.0, 60.0
# A lost GPU's handle stays dead: a new worker sees whether a reset brought the GPU back.
LOST_RETRY_SECONDS = 60.0
_SLICE_SECONDS = 0.05
_ANSWER_LIMIT_BYTES = 1 << 24

LIBRARY = "libnvidia-ml.so.1"
_LIBRARY_DIRECTORIES = (
    "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib",
    "/usr/lib/nvidia", "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
)  # fmt: skip


class _DeviceBlamed(SourceTimeout):
    """A call on one device blocked, or killed, the worker."""


class Nvml:
    """See the module."""

    name = "nvml"

    def __init__(self, *, library: str | None, timeout: float, interval: float, clock: Clock) -> None:
        self._library = library
        self._timeout = timeout
        self._interval = interval
        self._clock = clock
        self._worker: subprocess.Popen[bytes] | None = None
        self._progress: Progress | None = None
        self._abandoned: list[subprocess.Popen[bytes]] = []
        self._polls = 0
        self._devices: dict[DeviceKey, Device] = {}
        self._full_at = 0.0
        self._ordinals: dict[int, Identity] = {}
        self._quarantine: dict[int, tuple[float, str]] = {}  # ordinal: until when, why
        self._lengths: dict[int, float] = {}  # of each device's last quarantine
        self._not_before = 0.0
        self._backoff = BACKOFF_SECONDS
        self._backoff_reason = ""
        self._released_until = 0.0
        self._spawned_at = 0.0

    def presence(self) -> Presence:
        """The library is configured or lies where drivers install it; it is not loaded to find out."""
        if self._library is not None:
            return Presence.PRESENT
        directories = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *_LIBRARY_DIRECTORIES]
        found = any(directory and Path(directory, LIBRARY).exists() for directory in directories)
        return Presence.PRESENT if found else Presence.ABSENT

    @property
    def abandoned(self) -> int:
        """Workers that SIGKILL did not end: they sit in the driver."""
        self._abandoned = [worker for worker in self._abandoned if worker.poll() is None]
        return len(self._abandoned)

    def poll(self, everything: bool = False) -> Snapshot:
        """Fast values of every device, with the rest at every tenth poll; see `sources.base.Source`."""
        now = self._clock.monotonic()
        if now < self._released_until:
            raise SourceError(f"NVML is released by an operator for another {self._released_until - now:.0f} s")
        if now < self._not_before:
            raise SourceError(self._backoff_reason)
        self._end_quarantines(now)
        self._look_for_lost(now)
        full = everything or self._worker is None or self._polls % FULL_PERIOD == 0
        problems: tuple[str, ...] = ()
        try:
            answer = self._ask("full" if full else "fast")
        except _DeviceBlamed as blamed:
            # Once more without the device that blocked: the others' values must not wait for the next poll.
            full, problems = True, (str(blamed),)
            answer = self._ask("full")
        if answer.error is not None:
            self._fail(f"NVML: {answer.error}")
        self._polls = self._polls + 1 if not full else 1
        self._backoff = BACKOFF_SECONDS
        self._take(answer, full, now)
        blocked = tuple(
            Device(identity=identity, state=DeviceState.BLOCKED, reason=self._quarantine[ordinal][1])
            for ordinal, identity in self._ordinals.items()
            if ordinal in self._quarantine
        )
        return Snapshot(devices=(*self._devices.values(), *blocked), problems=problems)

    def release(self, seconds: float) -> None:
        """Shuts NVML down and holds nothing of it for that long, for a reset or an upgrade."""
        self._released_until = self._clock.monotonic() + seconds
        worker = self._worker
        if worker is not None and worker.stdin is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                worker.stdin.write(b"release\n")
                worker.stdin.flush()
                worker.wait(self._timeout)
        self._end()

    def close(self) -> None:
        """Ends the worker without a call into the driver."""
        self._end()

    # --- the worker

    def _ask(self, request: str) -> Answer:
        worker = self._worker or self._spawn()
        assert worker.stdin is not None  # noqa: S101 - asked for as a pipe
        try:
            worker.stdin.write(request.encode() + b"\n")
            worker.stdin.flush()
        except OSError:
            pass  # it has died: the read says so
        return msgspec.msgpack.decode(self._receive(worker), type=Answer)

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self.abandoned >= ABANDONED_LIMIT:
            raise SourceTimeout(
                f"NVML: {self.abandoned} workers are stuck in the driver (state D) and cannot be killed; waiting for "
                "one to end: reset the GPU or reboot the host"
            )
        self._progress = Progress()
        library = self._library
        if library is not None and Path(library).is_dir():
            library = str(Path(library, LIBRARY))
        start = Start(self._progress.descriptor, library, sorted(self._quarantine))
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "accelwatch.sources.nvml_worker", msgspec.json.encode(start).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._progress.descriptor,),
            start_new_session=True,
        )
        self._spawned_at = self._clock.monotonic()
        return self._worker

    def _receive(self, worker: subprocess.Popen[bytes]) -> bytes:
        """One answer; ends the worker and raises when a call in it passes its deadline, or when it dies."""
        assert worker.stdout is not None  # noqa: S101 - just started
        assert self._progress is not None  # noqa: S101
        descriptor = worker.stdout.fileno()
        data = bytearray()
        length: int | None = None
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        quiet_since = time.monotonic()
        while length is None or len(data) < length:
            if not poller.poll(_SLICE_SECONDS * 1000):
                call = self._progress.current()
                if call is not None and call.seconds > self._timeout:
                    self._blame(call, f"did not return within {self._timeout:g} s")
                # Between calls it computes for microseconds; a worker that is silent without a call was stopped.
                if call is None and time.monotonic() - quiet_since > 2 * self._timeout:
                    self._fail("NVML: the worker is silent outside of any driver call; it was ended")
                continue
            quiet_since = time.monotonic()
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                self._died(worker)
            data += chunk
            if length is None and len(data) >= LENGTH.size:
                length = LENGTH.unpack_from(data)[0]
                del data[: LENGTH.size]
                if length > _ANSWER_LIMIT_BYTES:
                    self._fail("NVML: the worker answered with garbage; it was ended")
        return bytes(data)

    def _died(self, worker: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(REAP_SECONDS)
        call = self._progress.current() if self._progress is not None else None
        status = worker.returncode
        how = f"signal {signal.Signals(-status).name}" if status is not None and status < 0 else f"status {status}"
        if call is not None:
            self._blame(call, f"ended the worker with {how}")
        self._fail(f"NVML: the worker ended with {how} outside of any driver call")

    def _blame(self, call: Call, what: str) -> None:
        """Ends the worker, and sets the device of the call apart, or waits when it was no device's."""
        message = f"NVML: {call.name}{f' on GPU {call.device}' if call.device >= 0 else ''} {what}"
        if call.device < 0:
            self._fail(message)
        self._end()
        now = self._clock.monotonic()
        length = min(max(QUARANTINE_SECONDS, 2 * self._lengths.get(call.device, 0.0)), QUARANTINE_LIMIT_SECONDS)
        self._lengths[call.device] = length
        self._quarantine[call.device] = (now + length, f"{call.name} {what}")
        identity = self._ordinals.get(call.device)
        if identity is not None:
            self._devices.pop(identity.key, None)
        raise _DeviceBlamed(f"{message}; the other GPUs are read without it, it is tried again in {length:.0f} s")

    def _fail(self, message: str) -> None:
        """Ends the worker and waits before the next one; always raises."""
        self._end()
        self._devices.clear()
        self._not_before = self._clock.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, BACKOFF_LIMIT_SECONDS)
        self._backoff_reason = message
        raise SourceError(message)

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            for stream in (worker.stdin, worker.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)
            try:
                worker.wait(REAP_SECONDS)
            except subprocess.TimeoutExpired:
                self._abandoned.append(worker)
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    # --- the picture

    def _take(self, answer: Answer, full: bool, now: float) -> None:
        known = self._devices
        devices: dict[DeviceKey, Device] = {}
        for sighting in answer.sightings:
            device = self._recognised(sighting.device)
            if device is None:
                continue
            old = known.get(device.key)
            if not sighting.full and old is not None and old.sensors is not None and device.sensors is not None:
                device = msgspec.structs.replace(old, sensors=join(device.sensors, old.sensors), state=device.state)
            devices[device.key] = device
            if device.identity.index is not None:
                self._ordinals[device.identity.index] = device.identity
                if full and device.state is DeviceState.UP:
                    self._lengths.pop(device.identity.index, None)
        if full:
            self._full_at = now
        else:  # MIG devices are in the full readings only
            devices |= {key: device for key, device in known.items() if device.identity.parent in devices}
        self._devices = devices

    def _recognised(self, device: Device) -> Device | None:
        """A device that could not be identified, as the one that had its index before; else `None`."""
        if device.identity.pci is not None or device.identity.index is None:
            return device
        identity = self._ordinals.get(device.identity.index)
        return None if identity is None else msgspec.structs.replace(device, identity=identity)

    def _end_quarantines(self, now: float) -> None:
        """Gives a device that blocked another chance, with a new worker."""
        over = [ordinal for ordinal, (until, _) in self._quarantine.items() if now >= until]
        if over and self._worker is not None:
            self._end()
        for ordinal in over:
            del self._quarantine[ordinal]

    def _look_for_lost(self, now: float) -> None:
        lost = any(device.state is not DeviceState.UP for device in self._devices.values())
        if lost and self._worker is not None and now - self._spawned_at >= LOST_RETRY_SECONDS:
            self._end()

"""Evidence that a run which makes no progress pauses for a known reason: then it is no hang before a ceiling."""

from __future__ import annotations

import enum
from collections.abc import Collection

import msgspec

from accelwatch.runs.activity import Activity
from accelwatch.runs.sample import Work


class Pause(enum.StrEnum):
    """Why a run pauses."""

    SAVE = "save"
    INPUT = "input"
    HOST = "host"  # compile, autotune, work on the host
    VALIDATION = "validation"  # some of its devices work while the others wait
    STOPPED = "stopped"  # SIGSTOP or a debugger


# Saving 15 min, validation 120 min (reference/reliability.md 4.1, DLRover); a data-loader stall is no hang until
# 15 min (4.3). Who stops a process knows that it stands.
CEILING_SECONDS = {
    Pause.SAVE: 900.0,
    Pause.INPUT: 900.0,
    Pause.HOST: 900.0,
    Pause.VALIDATION: 7200.0,
    Pause.STOPPED: 7200.0,
}
# Evidence comes in bursts: a pause is believed for so long after its last sign.
HOLD_SECONDS = 60.0
SAVE_BYTES_PER_SECOND = 50e6  # 4.3
READ_BYTES_PER_SECOND = 1e6
# Of one core per device. The Ascend device plug-in takes less than 5 s a minute for a hang (4.1). The second one is
# for compiling, which reads nothing: more than what a process needs that only polls.
CPU_LOW, CPU_AT_WORK = 5 / 60, 0.5
QUIET_SHARE = 0.9
# Processes are read every 5 s; a rate over less is noise.
_RATE_WINDOW_SECONDS, _RATE_VALID_SECONDS = 4.0, 60.0

_STOPPED = frozenset({"stopped", "tracing-stop", "T", "t"})
_BLOCKED = frozenset({"disk-sleep", "D"})


class Io(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rates per second of a run's processes, and the sums that the next ones are counted from."""

    at: float
    cpu_seconds: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    rated_from: float | None = None
    rated_at: float | None = None
    cpu: float | None = None
    read: float | None = None
    written: float | None = None

    def cpu_low(self, now: float, devices: int) -> bool | None:
        """Whether its processes hardly run; `None`: not known."""
        if self.cpu is None or self.rated_at is None or now - self.rated_at > _RATE_VALID_SECONDS:
            return None
        return self.cpu < CPU_LOW * max(devices, 1)


def measure(io: Io | None, work: Work) -> Io:
    """The rates after one reading of the processes; handed in again, it changes nothing."""
    sums = {"cpu_seconds": work.cpu_seconds, "read_bytes": work.read_bytes, "written_bytes": work.written_bytes}
    if io is None:
        return Io(at=work.at, **sums)  # type: ignore[arg-type]
    length = work.at - io.at
    if length < _RATE_WINDOW_SECONDS:
        return io
    return Io(
        at=work.at,
        rated_from=io.at,
        rated_at=work.at,
        cpu=_rate(io.cpu_seconds, work.cpu_seconds, length),
        read=_rate(io.read_bytes, work.read_bytes, length),
        written=_rate(io.written_bytes, work.written_bytes, length),
        **sums,  # type: ignore[arg-type]
    )


def _rate(before: float | None, now: float | None, length: float) -> float | None:
    """`None` where a sum fell: a process has ended and took its share with it."""
    if before is None or now is None or now < before:
        return None
    return (now - before) / length


def evidence(
    io: Io, work: Work, activities: Collection[Activity], *, since: float, now: float, active_cause: bool
) -> Pause | None:
    """What its processes and devices show now, in a wait that began at `since`.

    With a fault in force, neither a process that blocks nor one that keeps its core busy is a sign of ordinary work.
    """
    if not _STOPPED.isdisjoint(work.states):
        return Pause.STOPPED
    if not active_cause and not _BLOCKED.isdisjoint(work.states):
        return Pause.SAVE
    if Activity.BUSY in activities:
        return Pause.VALIDATION  # whatever it reads or computes besides
    # A window that began before the wait still shows the work.
    whole = io.rated_from is not None and io.rated_from >= since
    if whole and io.rated_at is not None and now - io.rated_at <= _RATE_VALID_SECONDS:
        return _rates(io, activities, active_cause)
    return None


def _rates(io: Io, activities: Collection[Activity], active_cause: bool) -> Pause | None:
    if io.written is not None and io.written >= SAVE_BYTES_PER_SECOND:
        return Pause.SAVE
    quiet = sum(activity is Activity.QUIET for activity in activities)
    if active_cause or io.cpu is None or quiet < QUIET_SHARE * len(activities):
        return None
    if io.cpu >= CPU_LOW * len(activities) and io.read is not None and io.read >= READ_BYTES_PER_SECOND:
        return Pause.INPUT
    return Pause.HOST if io.cpu >= CPU_AT_WORK * len(activities) else None

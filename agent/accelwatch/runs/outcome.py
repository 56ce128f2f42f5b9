"""How an attempt ended, by how its processes ended."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import msgspec

from accelwatch.readings.process import ProcessExit
from accelwatch.runs.model import Outcome

# What somebody sends to end a process; everything else a process brings upon itself.
_SENT = frozenset((signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP))
# A program that handles a signal, and shells, end with 128 and its number.
_SHELL = 128


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one process of a run; `exit` is `None` where nobody told of it."""

    pid: int
    rank: int | None = None
    exit: ProcessExit | None = None
    launcher: str | None = None  # the launcher's name: its good end speaks for all, its bad one only comes last


def judge_ends(ends: Sequence[End], stalled: bool) -> tuple[Outcome, str]:
    """Outcome and detail of an attempt. `stalled`: it stood still when it ended.

    The first end that was not a good one counts: peers that lose it fail in turn, and a TERM or KILL that comes after
    another member's end is only the launcher's cleaning up.
    """
    told = sorted((end for end in ends if end.exit is not None), key=lambda end: end.exit.at if end.exit else 0.0)
    unknown = any(end.exit is None and end.launcher is None for end in ends)
    decisive = _decisive(told)
    if decisive is not None:
        outcome = Outcome.KILLED if _sent(decisive) is not None else Outcome.FAILED
        return (Outcome.HUNG if stalled else outcome), describe(decisive)
    if told and (not unknown or any(end.launcher is not None and _good(end) for end in told)):
        return Outcome.COMPLETED, "exit status 0"
    return (Outcome.HUNG if stalled else Outcome.UNKNOWN), "exit status not known"


def describe(end: End) -> str:
    """`rank 3 (pid 4711): SIGSEGV, core dumped`."""
    assert end.exit is not None  # noqa: S101
    who = f"launcher {end.launcher}" if end.launcher else "process" if end.rank is None else f"rank {end.rank}"
    number = end.exit.signal
    if number is None:
        return f"{who} (pid {end.pid}): exit status {end.exit.code}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{who} (pid {end.pid}): {name}{', core dumped' if end.exit.core else ''}"


def _decisive(told: Sequence[End]) -> End | None:
    ended_before = False
    for end in told:
        if not _good(end) and not (ended_before and _sent(end) is not None):
            return end
        ended_before = ended_before or end.launcher is None
    return None


def _good(end: End) -> bool:
    return end.exit is not None and end.exit.signal is None and end.exit.code == 0


def _sent(end: End) -> int | None:
    """The signal that somebody sent; `None` for an end of its own making."""
    if end.exit is None:
        return None
    number = end.exit.signal if end.exit.signal is not None else (end.exit.code or 0) - _SHELL
    return number if number in _SENT else None

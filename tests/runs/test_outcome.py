"""How an attempt ended."""

from __future__ import annotations

import signal

import pytest

from accelwatch.readings.process import ProcessExit
from accelwatch.runs.model import Outcome
from accelwatch.runs.outcome import End, judge_ends


def end(at: float, code: int | None = None, number: int | None = None, **more: object) -> End:
    pid = 100 + int(at)
    return End(pid=pid, exit=ProcessExit(pid=pid, code=code, signal=number, core=number == 11, at=at, wall=at), **more)  # type: ignore[arg-type]


NOT_TOLD = End(pid=7, rank=7)


@pytest.mark.parametrize(
    ("ends", "outcome", "detail"),
    [
        ([end(1, 0), end(2, 0)], Outcome.COMPLETED, "exit status 0"),
        ([end(1, 0), end(2, 1, rank=3)], Outcome.FAILED, "rank 3 (pid 102): exit status 1"),
        ([end(2, 0), end(1, None, 11)], Outcome.FAILED, "process (pid 101): SIGSEGV, core dumped"),
        ([end(1, None, 9), end(2, None, 6)], Outcome.KILLED, "process (pid 101): SIGKILL"),
        ([end(1, None, 15), end(2, None, 15)], Outcome.KILLED, "process (pid 101): SIGTERM"),
        ([end(1, 143)], Outcome.KILLED, "process (pid 101): exit status 143"),
        ([end(1, None, 34)], Outcome.FAILED, "process (pid 101): SIGRTMIN"),
        ([end(1, None, 35)], Outcome.FAILED, "process (pid 101): signal 35"),
        ([NOT_TOLD, end(1, 0)], Outcome.UNKNOWN, "exit status not known"),
        ([NOT_TOLD, end(1, 3)], Outcome.FAILED, "process (pid 101): exit status 3"),
        ([NOT_TOLD], Outcome.UNKNOWN, "exit status not known"),
    ],
)
def test_the_first_end_that_was_not_good_counts(ends: list[End], outcome: Outcome, detail: str) -> None:
    assert judge_ends(ends, stalled=False) == (outcome, detail)
    assert judge_ends(list(reversed(ends)), stalled=False) == (outcome, detail)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_after_another_members_end_is_that_members_end(number: int) -> None:
    """The launcher cleans up, or the scheduler; a crash after a good end is a crash."""
    assert judge_ends([end(1, 1), end(2, None, number)], False)[0] is Outcome.FAILED
    assert judge_ends([end(1, 0), end(2, None, number)], False)[0] is Outcome.COMPLETED
    assert judge_ends([end(1, 0), end(2, None, number), end(3, 1)], False)[0] is Outcome.FAILED


def test_a_run_that_stood_still_hung_however_it_was_ended() -> None:
    """By the watchdog's abort, by somebody's SIGTERM, or unseen; unless it did complete after all."""
    assert judge_ends([end(1, None, 6)], stalled=True)[0] is Outcome.HUNG
    assert judge_ends([end(1, None, 15)], stalled=True) == (Outcome.HUNG, "process (pid 101): SIGTERM")
    assert judge_ends([NOT_TOLD], stalled=True)[0] is Outcome.HUNG
    assert judge_ends([end(1, 0)], stalled=True)[0] is Outcome.COMPLETED


def test_a_launchers_end_speaks_where_its_workers_are_not_told_of() -> None:
    assert judge_ends([NOT_TOLD, end(2, 0, launcher="torchrun")], False)[0] is Outcome.COMPLETED
    assert judge_ends([NOT_TOLD, end(2, 1, launcher="torchrun")], False) == (
        Outcome.FAILED, "launcher torchrun (pid 102): exit status 1",
    )  # fmt: skip
    assert judge_ends([NOT_TOLD, end(1, 0), end(2, None, 15, launcher="srun")], False)[0] is Outcome.UNKNOWN


def test_a_launcher_that_was_killed_first_was_killed() -> None:
    """Its workers then fail for want of it."""
    assert judge_ends([end(1, None, 9, launcher="mpirun"), end(2, 1)], False)[0] is Outcome.KILLED

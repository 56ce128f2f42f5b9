"""What is told apart by time when the wall clock is set: the ends of processes, their starts, attempts of runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accelwatch.readings.process import HostProcess, ProcessExit, RunIdentity
from accelwatch.runs.holding import HeldDevice
from accelwatch.runs.model import Outcome, RunRecord
from accelwatch.runs.tracker import RunTracker, TrackerState
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.process_events import Ended, ProcessEvents
from accelwatch.sources.processes import Processes
from support import FakeClock

DAY = 86400.0
PID = 20_000
STEPS = pytest.mark.parametrize("step", [DAY, -DAY, 0.0])


class SetClock(FakeClock):
    """A clock whose wall is set by somebody."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def process(clock: SetClock) -> HostProcess:
    """A rank that begins now."""
    return HostProcess(
        pid=PID, name="python3", started=clock.time(), state="running", instance=int(clock.now), devices=("nvidia0",),
        group=PID, run=RunIdentity(run_id="17", launcher="slurm", rank=0, world_size=1),
    )  # fmt: skip


HELD = HeldDevice(vendor="nvidia", device="0", model="H100", node="nvidia0", pids=(PID,))
FREE = HeldDevice(vendor="nvidia", device="0", model="H100", node="nvidia0", pids=())


def attempt(tracker: RunTracker, clock: SetClock, step: float) -> RunRecord:
    """A rank that begins, sees the clock set, and fails an hour later."""
    tracker.step([process(clock)], [HELD], [], clock.now, clock.time())
    clock.ahead += step
    clock.now += 3600
    exit_ = ProcessExit(pid=PID, code=1, at=clock.now, wall=clock.time())
    tracker.step(None, [FREE], [exit_], clock.now, clock.time())
    clock.now += 60
    (ended,) = tracker.step([], [FREE], [], clock.now, clock.time()).ended or tracker.ended[-1:]
    return ended


@STEPS
def test_how_a_run_ended_is_known_though_the_clock_was_set_meanwhile(step: float) -> None:
    """An hour of work, and exit status 1, by whatever clock; the next attempt has the next number."""
    clock = SetClock()
    tracker = RunTracker("n", TrackerState(), own_pid=1)
    first = attempt(tracker, clock, step)
    second = attempt(tracker, clock, -step)
    for record in (first, second):
        assert record.outcome is Outcome.FAILED
        assert record.ended_at is not None
        assert record.ended_at - record.started_at == pytest.approx(3600)
    assert first.ref != second.ref


@STEPS
def test_the_end_of_a_process_is_told_though_the_clock_was_set_meanwhile(tmp_path: Path, step: float) -> None:
    """And that of an earlier process of its pid is not."""
    clock, told = SetClock(), list[ProcessExit]()
    events = ProcessEvents(proc=tmp_path, reads=LocalReads(ToolRunner()), clock=clock, deliver=told.extend)
    events.watch({PID: clock.time()})
    clock.ahead += step
    events._pass_on([Ended(PID, 1 << 8, clock.now - 60)])
    assert told == []
    clock.now += 60
    events._pass_on([Ended(PID, 1 << 8, clock.now)])
    assert [(exit_.pid, exit_.code, exit_.wall) for exit_ in told] == [(PID, 1, clock.time())]
    events.close()


@STEPS
def test_starts_are_of_the_clock_as_it_is_now(tmp_path: Path, step: float) -> None:
    """The kernel counts `btime` back from the wall clock (proc_stat(5)); a run began as long ago as before."""
    clock = SetClock()
    home = tmp_path / "proc" / str(PID)
    (home / "fd").mkdir(parents=True)
    (home / "fd" / "0").symlink_to("/dev/nvidia0")
    ticks = 100 * os.sysconf("SC_CLK_TCK")
    numbers = ["1", "1", "1", *["0"] * 15, str(ticks), *["0"] * 30]
    (home / "stat").write_text(f"{PID} (python3) R {' '.join(numbers)}\n")
    (home / "status").write_text(f"Name:\tpython3\nState:\tR\nPid:\t{PID}\nPPid:\t1\n")
    (home / "cmdline").write_bytes(b"python3\0")
    (home / "environ").write_bytes(b"")
    source = Processes(proc=tmp_path / "proc", reads=LocalReads(ToolRunner()), clock=clock)
    for ahead in (0.0, step):
        clock.ahead = ahead
        (tmp_path / "proc" / "stat").write_text(f"cpu 0\nbtime {int(clock.time() - clock.now)}\n")
        (found,) = source.poll().processes
        assert clock.time() - found.started == pytest.approx(clock.now - 100, abs=1)

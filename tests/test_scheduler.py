"""Polls: intervals stretch, failures are told once, and one poll at a time."""

import threading
import time

import pytest

from accelwatch.clock import SystemClock
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.readings.snapshot import Snapshot
from accelwatch.scheduler import AlreadyRunning, Polled, Scheduler
from accelwatch.sources.base import Presence, SourceError, SourceTimeout
from support import FakeClock


class Scripted:
    """A source that does what it is told."""

    name = "scripted"

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock
        self.seconds = 0.0
        self.error: Exception | None = None
        self.gate: threading.Event | None = None
        self.polls = 0

    def presence(self) -> Presence:
        return Presence.PRESENT

    def poll(self, everything: bool = False) -> Snapshot:
        self.polls += 1
        if self.gate is not None:
            self.gate.wait(5)
        if self.clock is not None:
            self.clock.now += self.seconds
        if self.error is not None:
            raise self.error
        return Snapshot()

    def close(self) -> None:
        pass


def counted(metrics: AgentMetrics, name: str) -> float:
    value = metrics.registry.get_sample_value(name, {"source": "scripted"})
    assert value is not None
    return value


def test_the_first_failure_does_not_stretch_the_interval() -> None:
    """A driver that blocks is asked again soon; one that goes on blocking costs its quarter of the time."""
    clock = FakeClock()
    source = Scripted(clock)
    polled = Polled(source, 10.0, clock)
    source.seconds, source.error = 10.0, SourceError("no answer within 10 s")
    for interval in (10.0, 40.0, 40.0):
        polled.poll(AgentMetrics())
        assert polled.stretched() == interval


def test_a_poll_that_takes_more_than_a_quarter_stretches_its_interval() -> None:
    """Ten seconds of work every forty, and back when it is fast again."""
    clock = FakeClock()
    source = Scripted(clock)
    polled = Polled(source, 10.0, clock)
    for seconds, interval in ((1.0, 10.0), (10.0, 40.0), (1000.0, 600.0), (0.1, 10.0)):
        source.seconds = seconds
        polled.poll(AgentMetrics())
        assert polled.stretched() == interval


@pytest.mark.parametrize("error", [SourceError("the tool said no", "sample"), ValueError("a flaw")])
def test_a_failure_is_counted_and_shown_and_ends_with_success(error: Exception) -> None:
    """Neither an expected error nor a flaw of ours ends the loop."""
    clock, metrics = FakeClock(), AgentMetrics()
    source = Scripted(clock)
    polled = Polled(source, 10.0, clock)
    assert polled.status.up is None
    source.error = error
    assert polled.poll(metrics) is None
    assert polled.status.up is False
    assert str(error) in (polled.status.error or "")
    assert counted(metrics, "accelwatch_source_errors_total") == 1
    source.error = None
    assert polled.poll(metrics) == Snapshot()
    assert (polled.status.up, polled.status.error) == (True, None)


def test_a_poll_never_runs_twice_at_once() -> None:
    """The second is refused while the first runs."""
    source = Scripted()
    source.gate = threading.Event()
    polled = Polled(source, 10.0, SystemClock())
    first = threading.Thread(target=lambda: polled.poll(AgentMetrics()))
    first.start()
    while not source.polls:
        time.sleep(0.01)
    with pytest.raises(AlreadyRunning):
        polled.poll(AgentMetrics())
    source.gate.set()
    first.join()
    assert source.polls == 1


def test_the_scheduler_polls_at_once_and_counts_what_it_skips() -> None:
    """A source that hangs is skipped and counted, and delivered when it returns."""
    metrics = AgentMetrics()
    delivered: list[str] = []
    scheduler = Scheduler(SystemClock(), metrics, lambda polled, _snapshot: delivered.append(polled.source.name))
    source = Scripted()
    source.gate = threading.Event()
    scheduler.start()
    scheduler.add(source, 0.1)
    deadline = time.monotonic() + 5
    while counted(metrics, "accelwatch_source_skipped_total") < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert counted(metrics, "accelwatch_source_skipped_total") >= 2
    assert delivered == []
    source.gate.set()
    while len(delivered) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    scheduler.close()
    assert len(delivered) >= 3


def test_a_poll_that_ran_into_its_deadline_is_made_again_at_once() -> None:
    """Once: whether it was chance is known within one more deadline, however long the interval is."""
    source = Scripted()
    source.error = SourceTimeout("no end within 10 s, killed")
    delivered: list[Snapshot | None] = []
    scheduler = Scheduler(SystemClock(), AgentMetrics(), lambda _polled, snapshot: delivered.append(snapshot))
    scheduler.add(source, 3600.0)
    scheduler.start()
    try:
        deadline = time.monotonic() + 10
        while len(delivered) < 2:
            assert time.monotonic() < deadline, "not polled again"
            time.sleep(0.02)
        time.sleep(0.5)
        assert delivered == [None, None]
    finally:
        scheduler.close()

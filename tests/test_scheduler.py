"""Polls: intervals stretch, failures are told once, and one poll at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from accelwatch.clock import SystemClock
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.readings.snapshot import Snapshot
from accelwatch.scheduler import Polled, Scheduler
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
        self.polls = self.at_once = self.most_at_once = 0

    def presence(self) -> Presence:
        return Presence.PRESENT

    def poll(self, everything: bool = False) -> Snapshot:
        self.polls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if self.gate is not None:
            self.gate.wait(20)
        self.at_once -= 1
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


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    for gate in running.gates:
        gate.set()
    running.scheduler.close()


class Running:
    """A scheduler that runs, and what it delivers."""

    def __init__(self) -> None:
        self.metrics = AgentMetrics()
        self.delivered: list[str] = []
        self.gates: list[threading.Event] = []
        self.scheduler = Scheduler(
            SystemClock(), self.metrics, lambda polled, _snapshot: self.delivered.append(polled.source.name)
        )
        self.scheduler.start()

    def blocked(self, name: str = "scripted") -> Scripted:
        """A source whose polls end when its gate is opened."""
        source = Scripted()
        source.name, source.gate = name, threading.Event()
        self.gates.append(source.gate)
        return source

    def skipped(self) -> float:
        assert [status.source for status in self.scheduler.statuses] == ["scripted"]
        return counted(self.metrics, "accelwatch_source_skipped_total")


def test_a_poll_never_runs_twice_at_once(running: Running) -> None:
    """What is asked for meanwhile is made after it, once."""
    source = running.blocked()
    running.scheduler.add(source, 3600.0)
    until("the first poll", lambda: source.polls == 1)
    for _ in range(3):
        running.scheduler.poll_now("scripted")
    time.sleep(0.1)
    assert source.polls == 1
    assert source.gate is not None
    source.gate.set()
    until("the poll that was asked for", lambda: len(running.delivered) == 2)
    time.sleep(0.1)
    assert (source.polls, source.most_at_once) == (2, 1)


def test_what_is_due_while_a_poll_runs_is_skipped_and_counted_meanwhile(running: Running) -> None:
    """And the source is polled on when it returns, in its own time: none is made up for."""
    source = running.blocked()
    running.scheduler.add(source, 0.2)
    until("skipped polls", lambda: running.skipped() >= 3)
    assert (source.polls, running.delivered) == (1, [])
    assert source.gate is not None
    source.gate.set()
    opened = time.monotonic()
    until("polls again", lambda: len(running.delivered) >= 3)
    assert time.monotonic() - opened >= 0.15, "the polls that were skipped were made up for"


def test_blocked_sources_delay_no_other(running: Running) -> None:
    """However many they are."""
    for number in range(20):
        running.scheduler.add(running.blocked(f"blocked {number}"), 0.05)
    running.scheduler.add(Scripted(), 0.05)
    until("polls of the one that answers", lambda: running.delivered.count("scripted") >= 5)
    assert set(running.delivered) == {"scripted"}


def test_what_a_reload_takes_away_is_not_delivered_and_what_it_brings_is(running: Running) -> None:
    """Also when the poll of the old source ends after the new one has been asked."""
    old, new = running.blocked(), Scripted()
    running.scheduler.add(old, 0.05)
    until("a poll", lambda: old.polls == 1)
    running.scheduler.remove("scripted")
    assert running.scheduler.statuses == []
    running.scheduler.add(new, 3600.0)
    until("the new one", lambda: running.delivered == ["scripted"])
    assert old.gate is not None
    old.gate.set()
    time.sleep(0.2)
    assert (running.delivered, old.polls, new.polls) == (["scripted"], 1, 1)


def test_a_result_that_cannot_be_delivered_ends_no_polls() -> None:
    """A flaw of ours behind a source."""
    source, seen = Scripted(), list[Snapshot | None]()

    def deliver(_polled: Polled, snapshot: Snapshot | None) -> None:
        seen.append(snapshot)
        raise ValueError("a flaw")

    scheduler = Scheduler(SystemClock(), AgentMetrics(), deliver)
    scheduler.start()
    scheduler.add(source, 0.05)
    try:
        until("polls after it", lambda: len(seen) >= 3)
    finally:
        scheduler.close()


def test_a_host_without_a_thread_left_goes_without_the_source(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service adds it again at its next look."""

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        running.scheduler.add(Scripted(), 0.05)
    assert running.scheduler.source("scripted") is None
    running.scheduler.add(Scripted(), 0.05)
    until("its polls", lambda: len(running.delivered) >= 2)


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

"""Polls sources at their intervals: each in its own time, never twice at once, at most a quarter of the time."""

from __future__ import annotations

import datetime
import random
import threading
from collections.abc import Callable

from apscheduler.events import EVENT_JOB_MISSED, JobEvent
from apscheduler.triggers.interval import IntervalTrigger

from accelwatch import log
from accelwatch.clock import Clock
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import SourceStatus
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources.base import Source, SourceError, SourceTimeout
from accelwatch.timetable import Timetable

# A source uses at most this share of the wall time; when a poll takes longer, its interval stretches (design.md).
BUSY_SHARE = 0.25
# Stretching ends here: a tool that takes 30 s is still asked every two minutes.
STRETCH_LIMIT_SECONDS = 600.0
# Share of the interval by which each poll is moved at random, besides the node's own phase.
JITTER = 0.05


class Polled:
    """One source with its schedule and its record."""

    def __init__(self, source: Source, interval: float, clock: Clock) -> None:
        self.source = source
        self.configured_interval = interval
        self.interval = interval
        self._clock = clock
        self._throttle = log.Throttle()
        self._up: bool | None = None
        self._seconds: float | None = None
        self._last_success: float | None = None
        self._error: str | None = None
        self.failure: SourceError | None = None  # of the last poll
        self._failures = 0  # in a row
        self._blocked = 0  # in a row: polls with a call at their end that ran into its deadline

    @property
    def status(self) -> SourceStatus:
        """How the source does now."""
        return SourceStatus(
            source=self.source.name,
            up=self._up,
            interval=self.interval,
            seconds=self._seconds,
            last_success=self._last_success,
            error=self._error,
        )

    def poll(self, metrics: AgentMetrics, everything: bool = False) -> Snapshot | None:
        """One poll; `None` when it failed. Called from one thread at a time."""
        started = self._clock.monotonic()
        name = self.source.name
        try:
            snapshot = self.source.poll(everything)
        except SourceError as error:
            self.failure = error
            self._failed(metrics, str(error), error.sample)
            return None
        except Exception as error:  # noqa: BLE001 - a loop edge: one source's flaw must not end the others
            self.failure = SourceError(str(error))
            self._failed(metrics, f"{type(error).__name__}: {error}; a flaw in accelwatch, please report it", None)
            log.get().exception("source raised", source=name)
            return None
        finally:
            self._seconds = self._clock.monotonic() - started
            metrics.duration.labels(name).observe(self._seconds)
        if self._up is False:
            log.get().info("source answers again", source=name)
        self._up = True
        self._failures = 0
        self._blocked = self._blocked + 1 if snapshot.blocked else 0
        self.failure = None
        self._error = "; ".join(snapshot.problems) or None
        self._last_success = self._clock.time()
        for problem in snapshot.problems:
            metrics.errors.labels(name).inc()
            self._say("part of a source failed", problem, None)
        return snapshot

    def stretched(self) -> float:
        """The interval that keeps the source within its share of the time.

        The first failure leaves it as it is: whether a driver answers is asked again soon.
        """
        if self._seconds is None:
            return self.configured_interval
        if self._failures == 1 or self._blocked == 1:
            return self.interval
        return max(self.configured_interval, min(self._seconds / BUSY_SHARE, STRETCH_LIMIT_SECONDS))

    @property
    def blocked_at_last(self) -> bool:
        """The last poll ran into a deadline, and the one before did not: whether it was chance is asked at once."""
        return self._blocked == 1

    def _failed(self, metrics: AgentMetrics, message: str, sample: str | None) -> None:
        metrics.errors.labels(self.source.name).inc()
        self._failures += 1
        self._blocked = self._blocked + 1 if isinstance(self.failure, SourceTimeout) else 0
        self._up = False
        self._error = message
        self._say("source failed", message, sample)

    def _say(self, event: str, message: str, sample: str | None) -> None:
        held = self._throttle.admit(event, self._clock.monotonic())
        if held is not None:
            extra = {} if sample is None else {"output": sample}
            log.get().warning(event, source=self.source.name, error=message, held_back=held, **extra)


class Rounds:
    """Polls one source on a thread of its own: one that blocks delays no other, and is never asked twice at once."""

    def __init__(self, polled: Polled, metrics: AgentMetrics, done: Callable[[Snapshot | None], None]) -> None:
        """`done` gets the result of each poll, on that thread."""
        self.polled = polled
        self._metrics = metrics
        self._done = done
        self._changed = threading.Condition()  # around all below
        self._asked = False
        self._under_way = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"source {polled.source.name}", daemon=True)

    def start(self) -> None:
        """Raises `RuntimeError` when this host has no thread left to give."""
        self._thread.start()

    def due(self) -> None:
        """For the next poll in turn: skipped, and counted, while one is under way."""
        with self._changed:
            if self._under_way or self._asked:
                self._metrics.skipped.labels(self.polled.source.name).inc()
            else:
                self._ask()

    def ask(self) -> None:
        """For a poll out of turn: at once, or when the one under way has ended."""
        with self._changed:
            self._ask()

    def end(self) -> None:
        """After the poll under way, if there is one; waits for nothing."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _ask(self) -> None:
        self._asked = True
        self._changed.notify()

    def _run(self) -> None:
        while self._wait():
            try:
                try:
                    snapshot = self.polled.poll(self._metrics)
                finally:
                    with self._changed:
                        self._under_way = False
                self._done(snapshot)
            except Exception:  # noqa: BLE001 - a loop edge: the source is polled again
                log.get().exception("a reading was lost; a flaw in accelwatch, please report it")

    def _wait(self) -> bool:
        """Until a poll is to be made; whether one is."""
        with self._changed:
            while not (self._asked or self._ended):
                self._changed.wait()
            self._asked, self._under_way = False, not self._ended
            return self._under_way


class Scheduler:
    """APScheduler says when a source is due, the source's own thread polls it. `deliver` gets each result; it is called
    from those threads, one at a time.
    """

    def __init__(self, clock: Clock, metrics: AgentMetrics, deliver: Callable[[Polled, Snapshot | None], None]) -> None:
        self._clock = clock
        self._metrics = metrics
        self._deliver = deliver
        self._rounds: dict[str, Rounds] = {}
        self._random = random.Random()  # noqa: S311 - spreads load, guards nothing
        self._started = False
        self._lock = threading.RLock()  # what is removed by a reload is neither scheduled nor delivered any more
        self._timetable = Timetable(clock, self._clock_stepped, timezone=datetime.UTC)
        self._timetable.add_listener(self._missed, EVENT_JOB_MISSED)

    def start(self) -> None:
        """Starts polling."""
        self._timetable.start()
        with self._lock:
            self._started = True
            for rounds in list(self._rounds.values()):
                self._begin(rounds)

    def close(self) -> None:
        """Stops polling; does not wait for polls under way, whose children their sources end."""
        if self._timetable.running:
            self._timetable.shutdown(wait=False)
        ending = list(self._rounds.values())
        for rounds in ending:
            rounds.end()
        for rounds in ending:
            rounds.polled.source.close()

    @property
    def statuses(self) -> list[SourceStatus]:
        """Every source's status, by name."""
        return [rounds.polled.status for _, rounds in sorted(dict(self._rounds).items())]

    def source(self, name: str) -> Source | None:
        """The running source of that name."""
        rounds = self._rounds.get(name)
        return None if rounds is None else rounds.polled.source

    def add(self, source: Source, interval: float) -> None:
        """Polls `source` at once, then every `interval` seconds at a phase of this node's own.

        Closes it again where the host has no thread left for it.
        """
        polled = Polled(source, interval, self._clock)
        self._metrics.know(source.name)
        rounds = Rounds(polled, self._metrics, lambda snapshot: self._polled(rounds, snapshot))
        rounds.ask()
        with self._lock:
            self._rounds[source.name] = rounds
            self._schedule(rounds, interval)
            if self._started:
                self._begin(rounds)

    def poll_now(self, name: str) -> None:
        """Polls a source once, out of turn."""
        rounds = self._rounds.get(name)
        if rounds is not None:
            rounds.ask()

    def remove(self, name: str) -> None:
        """Stops polling a source and closes it."""
        with self._lock:
            rounds = self._rounds.pop(name, None)
            if rounds is not None:
                self._timetable.remove_job(name)
                rounds.end()
        if rounds is not None:
            rounds.polled.source.close()

    def _schedule(self, rounds: Rounds, interval: float) -> None:
        """At a phase of its own, so that neither sources nor nodes all begin at once."""
        rounds.polled.interval = interval
        now = datetime.datetime.now(datetime.UTC)
        phase = datetime.timedelta(seconds=interval * (0.5 + self._random.random() / 2))
        self._timetable.add_job(
            rounds.due,
            IntervalTrigger(seconds=interval, start_date=now + phase, jitter=interval * JITTER, timezone=datetime.UTC),
            id=rounds.polled.source.name,
            replace_existing=True,
            coalesce=True,
            misfire_grace_time=max(1, int(interval)),
        )

    def _begin(self, rounds: Rounds) -> None:
        source = rounds.polled.source
        try:
            rounds.start()
        except RuntimeError as error:
            log.get().warning("source not started: no more threads on this host", source=source.name, error=str(error))
            self.remove(source.name)

    def _polled(self, rounds: Rounds, snapshot: Snapshot | None) -> None:
        polled = rounds.polled
        with self._lock:
            if self._rounds.get(polled.source.name) is not rounds:
                return  # removed by a reload while it was polling
            self._stretch(rounds)
            self._deliver(polled, snapshot)
            if polled.blocked_at_last:
                rounds.ask()

    def _stretch(self, rounds: Rounds) -> None:
        polled = rounds.polled
        wanted = polled.stretched()
        # Small changes are left alone: rescheduling moves the phase.
        if abs(wanted - polled.interval) <= 0.2 * polled.interval and wanted != polled.configured_interval:
            return
        if wanted == polled.interval:
            return
        event = "polls take long: interval stretched" if wanted > polled.interval else "interval shortened again"
        log.get().warning(event, source=polled.source.name, interval_seconds=round(wanted, 2))
        self._schedule(rounds, wanted)

    def _clock_stepped(self) -> None:
        """Every due time is of a clock that is gone: all begin again from now."""
        log.get().warning("the clock was set, or the host was asleep: polls are scheduled anew")
        with self._lock:
            for rounds in self._rounds.values():
                self._schedule(rounds, rounds.polled.interval)

    def _missed(self, event: JobEvent) -> None:
        """One that comes too late, after a pause of the process."""
        if event.job_id in self._rounds:
            self._metrics.skipped.labels(event.job_id).inc()

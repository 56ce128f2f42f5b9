"""Polls sources at their intervals: each in its own time, never twice at once, at most a quarter of the time."""

from __future__ import annotations

import datetime
import random
import threading
from collections.abc import Callable

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.triggers.date import DateTrigger
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
THREADS = 8


class Polled:
    """One source with its schedule and its record."""

    def __init__(self, source: Source, interval: float, clock: Clock) -> None:
        self.source = source
        self.configured_interval = interval
        self.interval = interval
        self._clock = clock
        self._running = threading.Lock()
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
        """One poll; `None` when it failed. Counts a skip and raises `AlreadyRunning` when one is under way."""
        if not self._running.acquire(blocking=False):
            raise AlreadyRunning(self.source.name)
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
            self._running.release()
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


class AlreadyRunning(Exception):
    """The poll before has not ended yet."""


class Scheduler:
    """Runs polls on a few threads. `deliver` gets each result; it is called from those threads."""

    def __init__(self, clock: Clock, metrics: AgentMetrics, deliver: Callable[[Polled, Snapshot | None], None]) -> None:
        self._clock = clock
        self._metrics = metrics
        self._deliver = deliver
        self._polled: dict[str, Polled] = {}
        self._random = random.Random()  # noqa: S311 - spreads load, guards nothing
        self._lock = threading.RLock()  # what is removed by a reload is neither scheduled nor delivered any more
        self._scheduler = Timetable(
            clock,
            self._clock_stepped,
            timezone=datetime.UTC,
            executors={"default": ThreadPoolExecutor(THREADS)},
            daemon=True,
        )
        self._scheduler.add_listener(self._skipped, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        """Starts polling."""
        self._scheduler.start()

    def close(self) -> None:
        """Stops polling; does not wait for polls under way, whose children their sources end."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for polled in dict(self._polled).values():
            polled.source.close()

    @property
    def statuses(self) -> list[SourceStatus]:
        """Every source's status, by name."""
        return [polled.status for _, polled in sorted(dict(self._polled).items())]

    def source(self, name: str) -> Source | None:
        """The running source of that name."""
        polled = self._polled.get(name)
        return None if polled is None else polled.source

    def add(self, source: Source, interval: float) -> None:
        """Polls `source` at once, then every `interval` seconds at a phase of this node's own."""
        polled = Polled(source, interval, self._clock)
        self._metrics.know(source.name)
        with self._lock:
            self._polled[source.name] = polled
            self.poll_now(source.name)
            self._schedule(polled, interval)

    def poll_now(self, name: str) -> None:
        """Polls a source once, out of turn."""
        polled = self._polled.get(name)
        if polled is not None:
            self._scheduler.add_job(self._run, DateTrigger(), (polled,), misfire_grace_time=None)

    def remove(self, name: str) -> None:
        """Stops polling a source and closes it."""
        with self._lock:
            polled = self._polled.pop(name, None)
            if polled is not None:
                self._scheduler.remove_job(name)
        if polled is not None:
            polled.source.close()

    def _schedule(self, polled: Polled, interval: float) -> None:
        polled.interval = interval
        now = datetime.datetime.now(datetime.UTC)
        phase = datetime.timedelta(seconds=interval * (0.5 + self._random.random() / 2))
        self._scheduler.add_job(
            self._run,
            IntervalTrigger(seconds=interval, start_date=now + phase, jitter=interval * JITTER, timezone=datetime.UTC),
            (polled,),
            id=polled.source.name,
            replace_existing=True,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=max(1, int(interval)),
        )

    def _run(self, polled: Polled) -> None:
        try:
            snapshot = polled.poll(self._metrics)
        except AlreadyRunning:
            self._metrics.skipped.labels(polled.source.name).inc()
            return
        with self._lock:
            if self._polled.get(polled.source.name) is not polled:
                return  # removed by a reload while it was polling
            self._stretch(polled)
            self._deliver(polled, snapshot)
            if polled.blocked_at_last:
                self.poll_now(polled.source.name)

    def _stretch(self, polled: Polled) -> None:
        wanted = polled.stretched()
        # Small changes are left alone: rescheduling moves the phase.
        if abs(wanted - polled.interval) <= 0.2 * polled.interval and wanted != polled.configured_interval:
            return
        if wanted == polled.interval:
            return
        event = "polls take long: interval stretched" if wanted > polled.interval else "interval shortened again"
        log.get().warning(event, source=polled.source.name, interval_seconds=round(wanted, 2))
        self._schedule(polled, wanted)

    def _clock_stepped(self) -> None:
        """Every due time is of a clock that is gone: all begin again from now."""
        log.get().warning("the clock was set, or the host was asleep: polls are scheduled anew")
        with self._lock:
            for polled in self._polled.values():
                self._schedule(polled, polled.interval)
            for job in self._scheduler.get_jobs():
                if isinstance(job.trigger, DateTrigger):
                    job.modify(next_run_time=datetime.datetime.now(datetime.UTC))

    def _skipped(self, event: JobEvent) -> None:
        if event.job_id in self._polled:
            self._metrics.skipped.labels(event.job_id).inc()

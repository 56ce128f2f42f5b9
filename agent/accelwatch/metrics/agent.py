"""The agent's own metrics, kept and rendered by prometheus_client."""

from __future__ import annotations

import contextlib
from functools import cached_property

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from accelwatch.metrics import catalogue as c
from accelwatch.metrics.exposition import Own

# From a sysfs read to a vendor tool that waits for its driver's 30 s time-out (reference/ascend.md section 2.3).
DURATION_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0)
POST_RESULTS = ("success", "failure", "refused")


class AgentMetrics:
    """Durations, errors and skips of sources, and the process itself."""

    def __init__(self, process: Collector | None = None) -> None:
        """`process`: tells of the process, if it is not this one alone."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.duration = Histogram(
            c.SOURCE_DURATION.full_name,
            c.SOURCE_DURATION.help,
            c.SOURCE_DURATION.labels,
            registry=self.registry,
            buckets=DURATION_BUCKETS,
        )
        self.errors = Counter(
            c.SOURCE_ERRORS.full_name, c.SOURCE_ERRORS.help, c.SOURCE_ERRORS.labels, registry=self.registry
        )
        self.skipped = Counter(
            c.SOURCE_SKIPPED.full_name, c.SOURCE_SKIPPED.help, c.SOURCE_SKIPPED.labels, registry=self.registry
        )
        self.kernel_records = Counter(c.KERNEL_RECORDS.full_name, c.KERNEL_RECORDS.help, registry=self.registry)
        self.kernel_records_lost = Counter(
            c.KERNEL_RECORDS_LOST.full_name, c.KERNEL_RECORDS_LOST.help, registry=self.registry
        )
        self.rendering = Counter(c.RENDER_SECONDS.full_name, c.RENDER_SECONDS.help, registry=self.registry)
        self._posts = Counter(c.PAGER_POSTS.full_name, c.PAGER_POSTS.help, c.PAGER_POSTS.labels, registry=self.registry)
        self._pager_up = Gauge(c.PAGER_UP.full_name, c.PAGER_UP.help, c.PAGER_UP.labels, registry=self.registry)
        self._pager_queue = Gauge(
            c.PAGER_QUEUE.full_name, c.PAGER_QUEUE.help, c.PAGER_QUEUE.labels, registry=self.registry
        )
        self._pager_dropped = Counter(
            c.PAGER_DROPPED.full_name, c.PAGER_DROPPED.help, c.PAGER_DROPPED.labels, registry=self.registry
        )
        self._pagers: set[str] = set()
        self._dropped: dict[str, int] = {}
        self.registry.register(process or ProcessCollector(registry=None))

    def know(self, source: str) -> None:
        """Makes the source's counters exist at 0: a series born at 1 loses its first error to `increase()`."""
        self.duration.labels(source)
        self.errors.labels(source)
        self.skipped.labels(source)

    def know_pager(self, alertmanager: str) -> None:
        """The same for an Alertmanager; whether it is there is not known before the first post."""
        self._pagers.add(alertmanager)
        for result in POST_RESULTS:
            self._posts.labels(alertmanager, result)
        self._pager_dropped.labels(alertmanager)
        self._pager_queue.labels(alertmanager).set(0)

    def forget_pager(self, alertmanager: str) -> None:
        """It is not configured any more."""
        self._pagers.discard(alertmanager)
        self._dropped.pop(alertmanager, None)
        for metric in (self._pager_up, self._pager_queue):
            with contextlib.suppress(KeyError):
                metric.remove(alertmanager)

    def pager_posted(self, alertmanager: str, result: str) -> None:
        """One post has ended: `success`, `failure` or `refused`."""
        if alertmanager not in self._pagers:
            return  # the last word of one that a reload took away
        self._posts.labels(alertmanager, result).inc()
        self._pager_up.labels(alertmanager).set(int(result != "failure"))

    def pager_waits(self, alertmanager: str, length: int, dropped: int) -> None:
        """How many alerts wait, and how many found no room since the start of the agent."""
        self._pager_queue.labels(alertmanager).set(length)
        self._pager_dropped.labels(alertmanager).inc(dropped - self._dropped.get(alertmanager, 0))
        self._dropped[alertmanager] = dropped

    def collect(self) -> Own:
        """As everything is now."""
        return OwnText(list(self.registry.collect()))


class OwnText:
    """The agent's own families at one moment. Written when first asked for: who asks wants one format."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """What prometheus_client asks a registry for."""
        return self._families

    @cached_property
    def text(self) -> bytes:
        """The text format."""
        text: bytes = generate_latest(self)
        return text

    @cached_property
    def openmetrics(self) -> bytes:
        """OpenMetrics without its closing mark."""
        text: bytes = generate_openmetrics(self)  # type: ignore[no-untyped-call]
        return text.removesuffix(b"# EOF\n")

"""The agent's own families on a fleet node's page: its share of the one process, rendered once a minute."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
from prometheus_client import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.exposition import Own

# prometheus_client takes 2 ms for them; at 1,250 nodes and 15 s that is a sixth of a core.
_RENDERED_SECONDS = 60.0
_SHARED_SECONDS = 10.0
# What the nodes share out among them; limits and the time of the start are every one's own.
_DIVIDED = ("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds")


class ProcessShare(Collector):
    """What the process uses, divided by its nodes."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._process = ProcessCollector(registry=None)
        self._metrics: list[Metric] = []
        self._read_at = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        now = time.monotonic()
        if now - self._read_at >= _SHARED_SECONDS:
            self._read_at = now
            self._metrics = list(self._process.collect())
            for metric in self._metrics:
                if metric.name in _DIVIDED:
                    metric.samples = [sample._replace(value=sample.value / self._nodes) for sample in metric.samples]
        return self._metrics


class Written(msgspec.Struct, frozen=True):
    """Both formats; what they were made of would be 60 kB for each node."""

    text: bytes
    openmetrics: bytes


class OwnMetrics(AgentMetrics):
    """Of one node."""

    def __init__(self, process: ProcessShare) -> None:
        super().__init__(process)
        self._text: Written | None = None
        self._rendered_at = float("-inf")

    def know(self, source: str) -> None:
        """See `AgentMetrics`; shown at once."""
        super().know(source)
        self._text = None

    def answered(self, source: str, seconds: float) -> None:
        """A poll has ended well."""
        self.duration.labels(source).observe(seconds)

    def failed(self, source: str) -> None:
        """A poll has failed."""
        self.errors.labels(source).inc()
        self._text = None

    def collect(self) -> Own:
        """As of at most a minute ago."""
        now = time.monotonic()
        if self._text is None or now - self._rendered_at >= _RENDERED_SECONDS:
            own = super().collect()
            self._text, self._rendered_at = Written(own.text, own.openmetrics), now
        return self._text

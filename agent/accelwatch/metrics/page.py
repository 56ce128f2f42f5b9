"""Renders the page; called when a source has news, never by a scrape."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import msgspec

from accelwatch import __version__
from accelwatch.metrics import catalogue as c
from accelwatch.metrics.agent import AgentMetrics, OwnText
from accelwatch.metrics.devices import add_device
from accelwatch.metrics.exposition import Kept, Labels, Lines, Own, Page
from accelwatch.metrics.faults import FaultView, add_faults
from accelwatch.metrics.links import HOST, add_links
from accelwatch.metrics.remediation import RemediationPage, add_remediation
from accelwatch.metrics.runs import RunPage, add_runs
from accelwatch.taxonomy.loader import load
from accelwatch.views import View

# The agent's own families take prometheus_client as long as all devices take us; nobody scrapes more often.
OWN_METRICS_SECONDS = 15.0


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a source does. `up` is `None` until its first poll has ended."""

    source: str
    up: bool | None
    interval: float
    seconds: float | None = None
    last_success: float | None = None  # seconds since the epoch
    error: str | None = None


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the agent does."""

    node: str
    config_hash: str
    labels: Mapping[str, str]
    reload_successful: bool = True
    reload_time: float = 0.0
    journal_degraded: bool = False
    maintenance_until: float = 0.0  # seconds since the epoch; 0: no planned work


class Renderer:
    """Keeps label prefixes, and the own metrics' text, from one page to the next. Called by one thread at a time."""

    def __init__(self, own: AgentMetrics) -> None:
        self._own = own
        self._classes = load().classes
        self._own_text: Own = OwnText([])
        self._own_at = -OWN_METRICS_SECONDS
        self._cache: dict[tuple[str, Labels], str] = {}
        self._kept: dict[Labels, Kept] = {}

    def render(
        self,
        view: View,
        sources: Iterable[SourceStatus],
        agent: AgentStatus,
        faults: FaultView | None = None,
        runs: RunPage | None = None,
        remediation: RemediationPage | None = None,
    ) -> Page:
        """One page of everything that is known; one poll without an agent knows of no faults and runs."""
        started = time.perf_counter()
        if len(self._cache) > 20_000:  # identities that came and went
            self._cache.clear()
            self._kept.clear()
        lines = Lines(self._cache, self._kept)
        info = {"version": __version__, "config_hash": agent.config_hash, "node": agent.node, **agent.labels}
        lines.add_with(c.AGENT_INFO, info, 1)
        for device in view.devices:
            add_device(lines, device)
        add_links(lines, HOST, view.host_links)
        if faults is not None:
            add_faults(lines, faults, self._classes)
        if runs is not None:
            add_runs(lines, runs)
        if remediation is not None:
            add_remediation(lines, remediation)
        for source in sources:
            labels = (source.source,)
            lines.add(c.SOURCE_UP, labels, None if source.up is None else int(source.up))
            lines.add(c.SOURCE_INTERVAL, labels, source.interval)
            lines.add(c.SOURCE_LAST_SUCCESS, labels, source.last_success)
        lines.add(c.MAINTENANCE_UNTIL, (), round(agent.maintenance_until))
        lines.add(c.JOURNAL_DEGRADED, (), int(agent.journal_degraded))
        lines.add(c.RELOAD_SUCCESSFUL, (), int(agent.reload_successful))
        lines.add(c.RELOAD_TIME, (), agent.reload_time)
        if started - self._own_at >= OWN_METRICS_SECONDS:
            self._own_text = self._own.collect()
            self._own_at = started
        page = lines.page(self._own_text)
        self._own.rendering.inc(time.perf_counter() - started)
        return page

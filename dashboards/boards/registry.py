"""The dashboards."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.builders.dashboard import Dashboard

from boards import agents, fleet, node, ports, reliability, run

BOARDS: tuple[Callable[[], Dashboard], ...] = (
    fleet.dashboard,
    reliability.dashboard,
    run.dashboard,
    node.dashboard,
    ports.dashboard,
    agents.dashboard,
)

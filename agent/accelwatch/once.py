"""One poll of everything, without an agent: for `check` and `metrics` on a node where none runs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from accelwatch.clock import Clock
from accelwatch.config import Config
from accelwatch.journal.store import Store
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import SourceStatus
from accelwatch.node import Node
from accelwatch.readings.kernel import KernelRecords
from accelwatch.scheduler import Polled
from accelwatch.sources.base import Follower, Presence
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.registry import BUILDERS, Surroundings, settings


class Polls(msgspec.Struct, frozen=True):
    """What one poll of everything brought."""

    node: Node
    sources: tuple[SourceStatus, ...]
    metrics: AgentMetrics


def poll_once(config: Config, clock: Clock) -> Polls:
    """Asks every source that this host has, one after the other, each under its own deadlines.

    The inventory of an agent that ran here before is read, not written: labels stay, and a device that is
    missing now is seen to be missing.
    """
    node = Node(clock, Store.read_devices(Path(config.state_dir)))
    metrics = AgentMetrics()
    runner = ToolRunner()
    around = Surroundings(clock, runner, LocalReads(runner), node.ascend_devices, _ignore)
    statuses = []
    for name, build in BUILDERS.items():
        wanted = settings(config.sources, name)
        if wanted.enabled is False:
            continue
        source = build(config.sources, around)
        if isinstance(source, Follower):
            continue  # the kernel log says what happened, not what is
        if wanted.enabled == "auto" and source.presence() is Presence.ABSENT:
            continue
        polled = Polled(source, wanted.interval, clock)
        metrics.know(name)
        snapshot = polled.poll(metrics, everything=True)
        if snapshot is not None:
            node.update(name, snapshot)
        statuses.append(polled.status)
        source.close()
    return Polls(node, tuple(statuses), metrics)


def _ignore(_records: KernelRecords) -> None:
    return

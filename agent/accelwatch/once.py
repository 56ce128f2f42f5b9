"""One poll of everything, without an agent: for `check` and `metrics` on a node where none runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from accelwatch.clock import Clock, SteadyClock
from accelwatch.config import Config
from accelwatch.core import Core
from accelwatch.journal.loaded import Loaded
from accelwatch.journal.store import Store
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import SourceStatus
from accelwatch.readings.kernel import KernelRecords
from accelwatch.scheduler import Polled
from accelwatch.sources.base import Presence
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.kernel_log import KernelLog, boot_id_path, read_boot_id
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.registry import BUILDERS, Surroundings, settings
from accelwatch.taxonomy.loader import load

# The kernel's ring holds some megabytes; reading it takes a fraction of a second.
KERNEL_LOG_SECONDS = 5.0


class Polls(msgspec.Struct, frozen=True):
    """What one poll of everything brought."""

    core: Core
    sources: tuple[SourceStatus, ...]
    metrics: AgentMetrics


def poll_once(config: Config, clock: Clock) -> Polls:
    """Asks every source that this host has, one after the other, each under its own deadlines, and replays the
    kernel log with the clearing rules.

    The inventory of an agent that ran here before is read, not written: labels stay, and a device that is
    missing now is seen to be missing.
    """
    boot = read_boot_id(boot_id_path(Path(config.sources.processes.proc)))
    steady = SteadyClock(clock, boot)
    core = Core(
        steady,
        Loaded(devices=Store.read_devices(Path(config.state_dir)), cursors={"kernel_log": ""}),
        load(),
        node_name=config.node_name,
        boot_id=boot,
        expect=config.expect,
        kernel_clock=Path(config.sources.kernel_log.path).is_char_device(),
        own_pid=os.getpid(),
    )
    metrics = AgentMetrics()
    runner = ToolRunner()
    batches: list[KernelRecords] = []
    around = Surroundings(clock, runner, LocalReads(runner), core.node.ascend_devices, batches.append)
    statuses = []
    for name, build in BUILDERS.items():
        wanted = settings(config.sources, name)
        if wanted.enabled is False:
            continue
        source = build(config.sources, around)
        if wanted.enabled == "auto" and source.presence() is Presence.ABSENT:
            continue
        if isinstance(source, KernelLog):
            _read_through(source, clock)
        polled = Polled(source, wanted.interval, clock)
        metrics.know(name)
        snapshot = polled.poll(metrics, everything=True)
        if snapshot is not None:
            core.answered(name, snapshot, wanted.interval)
        statuses.append(polled.status)
        source.close()
    for batch in batches:
        core.kernel_records(batch)
    core.tick()
    return Polls(core, tuple(statuses), metrics)


def _read_through(log: KernelLog, clock: Clock) -> None:
    """Until everything that is in the log has been handed over."""
    log.start()
    deadline = clock.monotonic() + KERNEL_LOG_SECONDS
    while not log.caught_up and clock.monotonic() < deadline:
        time.sleep(0.01)

"""The agent of one fleet node: the real core, ledger, runs and renderer, fed with readings of its simulated host.

What is left out is what costs a process or a disk: driver calls, threads, and the journal, which is kept in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.journal.changes import Pending
from accelwatch.journal.loaded import EPISODES_LIMIT, RUNS_SECONDS, Loaded
from accelwatch.metrics.exposition import Page
from accelwatch.metrics.page import AgentStatus, Renderer, SourceStatus
from accelwatch.readings.snapshot import Snapshot
from accelwatch.simulator.fleet import host_readings
from accelwatch.simulator.fleet.ascend_readings import Ascend
from accelwatch.simulator.fleet.host import Host
from accelwatch.simulator.fleet.nvidia_readings import Nvml
from accelwatch.simulator.fleet.own_metrics import OwnMetrics
from accelwatch.sources.base import SourceError, SourceTimeout
from accelwatch.taxonomy.loader import Taxonomy

# The agent reads NVML every second and all of it every ten; here a reading is a full one at least that often.
_FULL_SECONDS = 10.0
_FIRST_SEQUENCE = 1


class _Clock:
    """Of one node: stands still while a step is made, so that all readings of it are of one moment."""

    def __init__(self, booted: float) -> None:
        self.seconds, self.wall, self.booted = 0.0, 0.0, booted

    def monotonic(self) -> float:
        return self.seconds + self.booted

    def time(self) -> float:
        return self.wall


class FleetAgent:
    """Not for several threads at once."""

    def __init__(
        self, host: Host, taxonomy: Taxonomy, *, step: float, start: float, labels: Mapping[str, str], own: OwnMetrics
    ) -> None:
        """`step`: seconds between two readings; `start`: wall time of second 0; `labels`: as configured."""
        self.host = host
        self._taxonomy = taxonomy
        self._step = step
        self._start = start
        self._status = AgentStatus(node=host.spec.name, config_hash="simulated", labels=labels, reload_time=start)
        self._kept = Pending()
        self._clock = _Clock(86400.0)
        self._clock.wall = start
        self._up: dict[str, bool] = {}
        self._success: dict[str, float] = {}
        self._sequence = _FIRST_SEQUENCE
        self._own = own
        self._page: Page | None = None
        self.core = self._begin(Loaded(cursors={"kernel_log": f"{self._boot} 0"}))

    @property
    def _boot(self) -> str:
        return f"simulated-{self.host.boots}"

    def _begin(self, loaded: Loaded) -> Core:
        self._renderer = Renderer(self._own)
        core = Core(
            SteadyClock(self._clock, self._boot, loaded.clock),
            loaded,
            self._taxonomy,
            node_name=self.host.spec.name,
            boot_id=self._boot,
        )
        if self.host.spec.vendor == "nvidia":
            self._nvml = Nvml(max(1, int(_FULL_SECONDS / self._step)))
        else:
            self._tools = Ascend(self._clock, self._step, core.node.ascend_devices)
        return core

    def restart(self, now: float) -> None:
        """Stopped and started anew, with what its journal would hold."""
        self._kept.add(self.core.take_changes(everything=True))
        kept = self._kept.changes()
        self._set(now)
        self._up.clear()
        self.host.changed = True
        next_id = 1 + max((episode.id for episode in kept.episodes), default=0)
        self.core = self._begin(
            Loaded(
                devices=kept.devices,
                counters=kept.counters,
                links_seen_up=kept.links,
                episodes=kept.episodes,
                runs=kept.runs,
                states=kept.states,
                cursors=kept.cursors,
                clock=kept.clock,
                next_episode_id=next_id,
                first_start=False,
            )
        )

    def step(self, now: float) -> None:
        """One reading of everything at fleet second `now`."""
        self._set(now)
        self.host.advance(now)
        node, changed = self.host.state(), self.host.changed
        self.host.changed = False
        if self.host.lines:
            lines, self.host.lines = self.host.lines, []
            self.core.kernel_records(host_readings.kernel_records(lines, node, self._sequence, self._boot))
            self._sequence += len(lines)
        if self.host.ends:
            ends, self.host.ends = sorted(self.host.ends, key=lambda end: end.at), []
            self.core.exits(host_readings.exits(ends, self._clock.monotonic(), node))
        if self.host.spec.vendor == "nvidia":
            self._answer("nvml", lambda: self._nvml.poll(node))
            self._answer("rdma", lambda: host_readings.rdma(node))
        else:
            self._answer("npu_smi", lambda: self._tools.npu_smi(node, changed))
            self._answer("hccn_tool", lambda: self._tools.hccn_tool(node, changed))
        self._answer("processes", lambda: host_readings.processes(node))
        self._answer("kernel_log", Snapshot)
        self.core.tick()
        changes = self.core.take_changes()
        if not changes.empty:
            self._kept.add(changes)
            self._forget()
        self._page = None

    def page(self) -> Page:
        """As it stands after the last step."""
        if self._page is None:
            statuses = [
                SourceStatus(source=name, up=up, interval=self._step, last_success=self._success.get(name))
                for name, up in sorted(self._up.items())
            ]
            up = {name for name, answers in self._up.items() if answers}
            self._page = self._renderer.render(
                self.core.node.view(), statuses, self._status, self.core.fault_view(up, 0), self.core.run_page()
            )
        return self._page

    def _forget(self) -> None:
        """What a journal would not load again."""
        self._kept.drop_cleared_episodes(EPISODES_LIMIT)
        oldest = self._clock.wall - RUNS_SECONDS
        for key, run in list(self._kept.runs.items()):
            if run.ended is not None and run.ended < oldest:
                del self._kept.runs[key]

    def _set(self, now: float) -> None:
        self._clock.seconds, self._clock.wall = now, self._start + now

    def _answer(self, name: str, poll: Callable[[], Snapshot]) -> None:
        if name not in self._up:
            self._own.know(name)
        try:
            began = time.perf_counter()
            snapshot = poll()
            self._own.answered(name, time.perf_counter() - began)
            self.core.answered(name, snapshot, self._step)
            self._up[name], self._success[name] = True, self._clock.wall
        except SourceError as error:
            self.core.silent(name, str(error), timed_out=isinstance(error, SourceTimeout))
            self._up[name] = False
            self._own.failed(name)

"""Several nodes of one scenario, each with the agent's own core, fed tick by tick and scraped every 15 seconds.

Nothing waits and nothing is real but the code: the clock is set, the readings come from `readings_of`, and what the
renderer makes of each node is kept as Prometheus would keep it. `fleet_rules` hands that to promtool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.journal.loaded import Loaded
from accelwatch.logs.training import TrainingReader
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import AgentStatus, Renderer, SourceStatus
from accelwatch.readings.snapshot import Snapshot
from accelwatch.runs.model import RunRecord
from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Scenario
from accelwatch.simulator.state import Node
from accelwatch.simulator.world import World, context
from accelwatch.sources.base import SourceError, SourceTimeout
from accelwatch.taxonomy.loader import load
from replay import readings_of

SCRAPE_SECONDS = 15
# The defaults of the configuration.
INTERVALS = {"nvml": 1, "npu_smi": 10, "hccn_tool": 10, "rdma": 5, "processes": 5, "hccl_log": 2}
_FIRST_SEQUENCE = 100


@dataclass(frozen=True)
class LogLine:
    """A line of a training log or plog of a node."""

    at: float
    node: str
    text: str


class NodeClock:
    """A node's own: booted at some time, its wall clock off by `skew` seconds. `now`: seconds of the scenario."""

    def __init__(self, booted: float, skew: float = 0.0) -> None:
        self.now = 0.0
        self._booted, self._skew = booted, skew

    def monotonic(self) -> float:
        return self.now + self._booted

    def time(self) -> float:
        return self.now + self._skew


Alter = Callable[[Node], None]


@dataclass
class FleetNode:
    """One node with its agent; `dark_at`: from then on nothing is heard of it, and nothing of it goes on."""

    spec: NodeSpec
    core: Core
    clock: NodeClock
    phase: int  # when in each interval its sources are polled
    sources: dict[str, Callable[[Node], Snapshot]]
    dark_at: float | None = None
    renderer: Renderer = field(default_factory=lambda: Renderer(AgentMetrics()))
    up: dict[str, bool] = field(default_factory=dict)
    polled: dict[str, float] = field(default_factory=dict)
    told_ends: set[int] = field(default_factory=set)
    sequence: int = _FIRST_SEQUENCE
    reader: TrainingReader = field(default_factory=TrainingReader)

    def dark(self, now: float) -> bool:
        """Whether nothing is heard of it any more."""
        return self.dark_at is not None and now >= self.dark_at

    def step(self, node: Node, faults: Sequence[FaultSpec], lines: Sequence[str]) -> None:
        """One tick. `faults`: that begin now; `lines`: of its logs since the last one."""
        self.clock.now = node.now
        for fault in faults:
            self._kernel(KINDS[fault.fault].lines(context(node, fault, node.now)), node)
        new = sorted((end for end in node.ends if end.pid not in self.told_ends), key=lambda end: end.at)
        self.told_ends |= {end.pid for end in new}
        if new:
            self.core.exits(readings_of.exits(new, self.clock.monotonic(), node))
        if lines:
            events = [event for line in lines for event in self.reader.feed(line)]
            self.core.answered("hccl_log", Snapshot(events=tuple(events + self.reader.flush())), INTERVALS["hccl_log"])
        for name, poll in self.sources.items():
            interval = INTERVALS[name]
            last = self.polled.get(name)
            if last is None or node.now - last >= interval or (node.now + self.phase) % interval == 0:
                self.polled[name] = node.now
                self._poll(name, poll, node)
        self.core.tick()
        self.core.take_changes()

    def _kernel(self, lines: Sequence[str], node: Node) -> None:
        if lines:
            self.core.kernel_records(readings_of.kernel_records(lines, node, self.sequence, "boot"))
            self.sequence += len(lines)

    def _poll(self, name: str, poll: Callable[[Node], Snapshot], node: Node) -> None:
        try:
            self.core.answered(name, poll(node), INTERVALS[name])
            self.up[name] = True
        except SourceError as error:
            self.core.silent(name, str(error), timed_out=isinstance(error, SourceTimeout))
            self.up[name] = False

    def page(self) -> str:
        """What a scrape gets."""
        statuses = [
            SourceStatus(source=name, up=up, interval=INTERVALS[name], last_success=self.clock.time())
            for name, up in self.up.items()
        ]
        sources_up = {name for name, up in self.up.items() if up}
        rendered = self.renderer.render(
            self.core.node.view(),
            statuses,
            AgentStatus(node=self.spec.name, config_hash="0", labels={}),
            self.core.fault_view(sources_up, 0),
            self.core.run_page(),
        )
        return rendered.text.decode()


class Fleet:
    """`home`: scratch space; `alter`: what to change in each node's true state, for what no scenario can say.

    `skews`: seconds by which a node's wall clock is ahead; `dark`: when a node falls silent for good.
    """

    def __init__(
        self,
        home: Path,
        scenario: Scenario,
        *,
        lines: Sequence[LogLine] = (),
        dark: dict[str, float] | None = None,
        skews: dict[str, float] | None = None,
        alter: Alter | None = None,
    ) -> None:
        self.world = World(scenario, 0.0)
        self.scrapes: list[dict[str, str | None]] = []
        self._faults, self._lines, self._alter = scenario.faults, lines, alter
        self._started: set[int] = set()
        self.now = -1
        taxonomy = load()
        self.nodes: dict[str, FleetNode] = {}
        for number, spec in enumerate(scenario.nodes):
            clock = NodeClock(1000.0 * (number + 1), (skews or {}).get(spec.name, 0.0))
            core = Core(
                SteadyClock(clock, "boot"),
                Loaded(cursors={"kernel_log": "boot 1"}),
                taxonomy,
                node_name=spec.name,
                boot_id="boot",
            )
            self.nodes[spec.name] = FleetNode(
                spec=spec,
                core=core,
                clock=clock,
                phase=number,
                sources=_sources(spec, clock, core),
                dark_at=(dark or {}).get(spec.name),
            )

    def run(self, until: int, step: int = 1) -> None:
        """Goes on to scenario second `until`, at multiples of `step`, a divisor of the 15 s between two scrapes."""
        while (now := self.now + step - self.now % step) <= until:
            for name, node in self.nodes.items():
                if not node.dark(now):
                    self._step(name, node, now)
            if now % SCRAPE_SECONDS == 0:
                self.scrapes.append({n: None if m.dark(now) else m.page() for n, m in self.nodes.items()})
            self.now = now

    def _step(self, name: str, node: FleetNode, now: int) -> None:
        true = self.world.node(name, float(now))
        if self._alter is not None:
            self._alter(true)
        begun = [fault for fault in self._faults if fault.node == name and self.now < fault.at <= now]
        told = [line.text for line in self._lines if line.node == name and self.now < line.at <= now]
        node.step(true, begun, told)

    def ended(self, node: str) -> list[RunRecord]:
        """The runs that have ended on a node, as its agent judges them."""
        return [view.record for view in self.nodes[node].core.runs.views() if view.record.ended is not None]


def _sources(spec: NodeSpec, clock: NodeClock, core: Core) -> dict[str, Callable[[Node], Snapshot]]:
    if spec.vendor == "nvidia":
        own = {"nvml": readings_of.Nvml().poll, "rdma": readings_of.rdma}
    else:
        tools = readings_of.Ascend(clock, INTERVALS["npu_smi"], core.node.ascend_devices)
        own = {"npu_smi": tools.npu_smi, "hccn_tool": tools.hccn_tool}
    return {**own, "processes": readings_of.processes}

"""All nodes of the fleet, brought forward in time, and what an operator does to them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from accelwatch.clock import Clock
from accelwatch.config import Duration
from accelwatch.metrics.exposition import Page
from accelwatch.simulator.fleet.agent import FleetAgent
from accelwatch.simulator.fleet.host import Host
from accelwatch.simulator.fleet.own_metrics import OwnMetrics, ProcessShare
from accelwatch.simulator.fleet.plan import Placed, Plan, place
from accelwatch.simulator.fleet.runs import Run
from accelwatch.simulator.fleet.workload import Workload
from accelwatch.simulator.scenario import FaultSpec
from accelwatch.taxonomy import loader as taxonomy

# Between two looks for what is due: with many nodes something nearly always is.
_LEAST_SECONDS, _MOST_SECONDS = 0.05, 0.5


@dataclass
class FleetNode:
    """One node. `dark`: the host is off; `silent`: its agent does not answer, all else goes on.

    `lock` is around the agent alone, so that a scrape waits for a step of its own node at most.
    """

    placed: Placed
    host: Host
    agent: FleetAgent
    due: float  # when its next step is
    dark: bool = False
    silent: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Fleet:
    """All methods may be called from any thread."""

    def __init__(self, plan: Plan, clock: Clock, nodes: Sequence[Placed] | None = None) -> None:
        """`nodes`: else those of the plan. Raises `ValueError` for a plan that cannot be."""
        plan.check()
        self.plan = plan
        self._clock = clock
        self._began = clock.monotonic()
        self._lock = threading.RLock()
        self._faults: dict[int, FaultSpec] = {}
        self._next_fault = 1
        self.stepping_seconds = 0.0  # of real time, spent so far
        start = clock.time()
        classes, share = taxonomy.load(), ProcessShare(plan.nodes)
        self.nodes: dict[str, FleetNode] = {}
        placed = place(plan) if nodes is None else nodes
        for number, one in enumerate(placed):
            host = Host(one.spec, start)
            agent = FleetAgent(
                host,
                classes,
                step=plan.step,
                start=start,
                labels={"cluster": plan.cluster, "rack": one.rack, "simulated": "true"},
                own=OwnMetrics(share),
            )
            # Steps are spread over the time between two of a node.
            self.nodes[one.spec.name] = FleetNode(one, host, agent, due=plan.step * number / len(placed))
        self.hosts: Mapping[str, Host] = {name: node.host for name, node in self.nodes.items()}
        self.work = Workload(plan, self.hosts)
        self._worked_at = 0.0

    @property
    def now(self) -> float:
        """Seconds since the fleet began."""
        return self._clock.monotonic() - self._began

    def begin(self) -> None:
        """Every node has its first reading, and runs begin: until then pages would lack devices."""
        with self._lock:
            for node in self.nodes.values():
                node.agent.step(self.now)
            self.work.begin(self.now)

    def advance(self) -> float:
        """Brings all that is due up to now; gives the seconds until something is due again."""
        with self._lock:
            if self.now - self._worked_at >= min(1.0, self.plan.step):
                self._worked_at = self.now
                for fault, effect in self.work.tick(self.now, self._usable()):
                    self._strike(fault)
                    self.work.affect(fault, effect, self.now)
        for node in self.nodes.values():
            if node.due <= self.now:
                with self._lock:
                    self._step(node)
        due = min(node.due for node in self.nodes.values())
        return max(_LEAST_SECONDS, min(_MOST_SECONDS, due - self.now))

    def page(self, name: str) -> Page | None:
        """The node's page; `None` while nobody answers there."""
        node = self.nodes[name]
        if node.dark or node.silent:
            return None
        with node.lock:
            return node.agent.page()

    # --- faults

    def inject(self, fault: FaultSpec) -> int:
        """A fault begins now; gives its number. Raises `ValueError`."""
        with self._lock:
            if self.node(fault.node).dark:
                raise ValueError(f"node {fault.node} is dark")
            return self._strike(fault)

    def clear(self, number: int | None) -> int:
        """Ends a fault, or all of them; gives how many."""
        with self._lock:
            ended = 0
            for node in self.nodes.values():
                wanted = [own for own in node.host.faults if number in (None, own)]
                if wanted and not node.dark:
                    node.host.advance(self.now)
                    ended += sum(node.host.end(own) for own in wanted)
                    self._step(node)
            return ended

    def faults(self) -> list[dict[str, Any]]:
        """Those that are present."""
        with self._lock:
            present = {number: f for node in self.nodes.values() for number, f in node.host.faults.items()}
        return [{"id": n, **msgspec.to_builtins(f, enc_hook=float)} for n, f in sorted(present.items())]

    def state(self, name: str) -> dict[str, Any]:
        """The true state of a node now, as plain JSON types. Raises `ValueError`."""
        with self._lock:
            state: dict[str, Any] = msgspec.to_builtins(self.node(name).host.state())
        return state

    # --- nodes

    def node(self, name: str) -> FleetNode:
        """Raises `ValueError`."""
        if name not in self.nodes:
            raise ValueError(f"no node {name!r}; the first is {next(iter(self.nodes))}")
        return self.nodes[name]

    def darken(self, name: str) -> None:
        """The host is off: nothing answers, and its runs wait for it on the other nodes. Raises `ValueError`."""
        with self._lock:
            node = self.node(name)
            node.dark = True
            for run in self.work.runs_on(name):
                run.hang(self.hosts, self.now)

    def light(self, name: str) -> None:
        """The host boots, and its agent starts, with the journal that it had. Raises `ValueError`."""
        with self._lock:
            node = self.node(name)
            if node.dark:
                node.host.advance(self.now)
                node.host.reboot()
                with node.lock:
                    node.agent.restart(self.now)
            node.dark = node.silent = False
            self._step(node)

    def mute(self, name: str) -> None:
        """The agent answers no more; host and runs go on. `light` ends it. Raises `ValueError`."""
        with self._lock:
            self.node(name).silent = True

    # --- runs

    def hang(self, run: str, culprit: tuple[str, int] | None) -> None:
        """All ranks of a run wait, for a rank that does not come where one is named. Raises `ValueError`."""
        with self._lock:
            chosen = self.work.run(run)
            chosen.hang(self.hosts, self.now, culprit)
            self._show(chosen)

    def resume(self, run: str) -> None:
        """A run goes on. Raises `ValueError`."""
        with self._lock:
            chosen = self.work.run(run)
            chosen.resume(self.hosts)
            self._show(chosen)

    def end(self, run: str, how: str, restart: bool = False) -> None:
        """A run ends: completed, failed, killed; `restart`: as the next attempt at once. Raises `ValueError`."""
        with self._lock:
            chosen = self.work.run(run)
            self.work.finish(chosen, how, self.now, restart_after=0.0 if restart else None)
            self._show(chosen)

    def storm(self, faults: Sequence[tuple[float, FaultSpec]]) -> None:
        """Faults to come, each in so many seconds."""
        with self._lock:
            self.work.plan_faults([(self.now + late, fault) for late, fault in faults])

    # --- inside

    def _strike(self, fault: FaultSpec) -> int:
        node = self.nodes[fault.node]
        if node.dark:
            return 0
        number, self._next_fault = self._next_fault, self._next_fault + 1
        node.host.advance(self.now)
        boots = node.host.boots
        node.host.begin(number, msgspec.structs.replace(fault, at=Duration(self.now)))
        if node.host.boots != boots:
            with node.lock:
                node.agent.restart(self.now)
        self._step(node)
        return number

    def _step(self, node: FleetNode) -> None:
        """Now, whether or not it is due; a step that was missed is left out."""
        began = self._clock.monotonic()
        if not node.dark:
            with node.lock:
                node.agent.step(self.now)
        step = self.plan.step
        node.due += step * max(0, 1 + int((self.now - node.due) // step)) if node.due <= self.now else 0.0
        self.stepping_seconds += self._clock.monotonic() - began

    def _show(self, run: Run) -> None:
        for name in run.nodes:
            self._step(self.nodes[name])

    def _usable(self) -> list[str]:
        """Nodes that new runs may be placed on."""
        return [name for name, node in self.nodes.items() if not node.dark and not node.host.faults]

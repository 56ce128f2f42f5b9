"""The runs of the fleet as they come and go, and the faults that strike them."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

from accelwatch.config import Duration
from accelwatch.simulator.fleet.host import Host
from accelwatch.simulator.fleet.plan import HandRun, Plan
from accelwatch.simulator.fleet.rates import Effect, rates
from accelwatch.simulator.fleet.runs import Run
from accelwatch.simulator.scenario import FaultSpec

# Share of the devices that runs are to hold.
_FILLED = 0.85
# Devices of a run and how often; larger ones are cut to half of what the vendor has. The first run of each vendor takes
# that half: a fleet has a large run, else no rule about large runs is ever tried.
_SIZES = {1: 20, 2: 8, 4: 8, 8: 26, 16: 14, 32: 10, 64: 8, 256: 6}
_HOURS = {1: 0.5, 8: 2.0, 64: 8.0}  # mean length of runs of so many devices or more
# How runs end that no fault ends: most jobs of a cluster that fail do so by their own program (Meta RSC: infrastructure
# fails 0.2 % of jobs; arXiv:2410.21680).
_ENDS = {"completed": 80, "failed": 13, "killed": 7}
_RESTART_SECONDS = 90.0
# NCCL waits 600 s, HCCL 1836 s, before a rank gives up (design.md, Faults).
_GIVES_UP_SECONDS = {"nvidia": 600.0, "ascend": 1836.0}


class Workload:
    """Times are seconds of the fleet. `accelerate` shortens runs and raises rates; no clock runs faster."""

    def __init__(self, plan: Plan, hosts: Mapping[str, Host]) -> None:
        """Raises `ValueError` for rates or runs that cannot be."""
        self.runs: dict[str, Run] = {}
        self._plan = plan
        self._hosts = hosts
        self._random = random.Random(plan.seed)
        self._rates = rates(plan.rates)
        self._by_vendor = {
            vendor: [name for name, host in hosts.items() if host.spec.vendor == vendor]
            for vendor in ("nvidia", "ascend")
        }
        self._names = itertools.count(700_001)
        self._coming: list[tuple[float, int, FaultSpec, Effect]] = []
        self._numbers = itertools.count()
        for vendor, own in self._rates.items():
            for kind in own:
                if plan.faults:
                    self._draw(vendor, kind, 0.0)

    def begin(self, now: float) -> None:
        """The runs of the plan, and the first of the others. Raises `ValueError` where they find no room."""
        for asked in self._plan.runs:
            self._by_hand(asked, now)
        if self._plan.workload:
            for vendor, names in self._by_vendor.items():
                self._place(vendor, len(names) * self._plan.devices // 2, set(names), now)

    def tick(self, now: float, usable: Sequence[str]) -> Iterator[tuple[FaultSpec, Effect]]:
        """Runs begin, end and begin anew; gives the faults that come now."""
        for run in list(self.runs.values()):
            self._go_on(run, now, set(usable))
        if self._plan.workload:
            self._fill(now, set(usable))
        while self._coming and self._coming[0][0] <= now:
            _, _, fault, effect = heapq.heappop(self._coming)
            if fault.node == "":  # drawn: where, is decided now, and the next one of its kind is drawn
                fault = self._drawn(fault, now)
            if fault.node:
                yield fault, effect

    def affect(self, fault: FaultSpec, effect: Effect, now: float) -> None:
        """What a fault does to the runs on its device."""
        for run in [run for run in self.runs_on(fault.node) if (fault.node, fault.device) in run.pids]:
            if effect == "hang":
                run.hang(self._hosts, now)
            elif effect == "fail":
                self.finish(run, "failed", now, (fault.node, fault.device or 0), restart_after=self._soon(90.0))

    def plan_faults(self, faults: Sequence[tuple[float, FaultSpec]]) -> None:
        """Faults at times, without an effect on runs."""
        for at, fault in faults:
            heapq.heappush(self._coming, (at, next(self._numbers), fault, "none"))

    def run(self, name: str) -> Run:
        """Raises `ValueError`."""
        if name not in self.runs:
            raise ValueError(f"no run {name!r}; there are {', '.join(sorted(self.runs)[:20]) or 'none'}")
        return self.runs[name]

    def runs_on(self, node: str) -> list[Run]:
        """Those that have ranks there."""
        return [run for run in self.runs.values() if any(name == node for name, _ in run.pids)]

    def finish(
        self,
        run: Run,
        how: str,
        now: float,
        first: tuple[str, int] | None = None,
        *,
        restart_after: float | None = None,
    ) -> None:
        """Ends a run. `restart_after`: it begins anew, as the next attempt."""
        run.finish(self._hosts, how, first)
        run.restart_at = None if restart_after is None else now + restart_after
        if run.restart_at is None:
            del self.runs[run.id]

    # --- inside

    def _soon(self, seconds: float) -> float:
        return seconds / self._plan.accelerate

    def _go_on(self, run: Run, now: float, usable: set[str]) -> None:
        if run.restart_at is not None:
            if now >= run.restart_at and self._replace(run, usable):
                run.attempt += 1
                run.start(self._hosts, now)
            return
        if run.hung_at is not None:
            vendor = self._hosts[run.nodes[0]].spec.vendor
            if not run.by_hand and now - run.hung_at >= self._soon(_GIVES_UP_SECONDS[vendor]):
                self.finish(run, "failed", now, restart_after=self._soon(_RESTART_SECONDS))
            return
        run.work(self._hosts, now)
        if run.until is not None and now >= run.until:
            self.finish(run, run.end, now)

    def _replace(self, run: Run, usable: set[str]) -> bool:
        """Puts free nodes in the place of those that are not usable; False while there are not enough."""
        bad = [name for name in run.nodes if name not in usable]
        if run.by_hand and bad:
            return False
        free = self._free(usable)
        spare = [
            name
            for name in self._by_vendor[self._hosts[run.nodes[0]].spec.vendor]
            if len(free.get(name, ())) == self._plan.devices and name not in run.nodes
        ]
        if len(spare) < len(bad):
            return False
        other = dict(zip(bad, spare, strict=False))
        run.devices = [(other.get(name, name), device) for name, device in run.devices]
        return True

    def _fill(self, now: float, usable: set[str]) -> None:
        """At most one run of each vendor at a time, so that they do not all begin in one second."""
        for vendor, names in self._by_vendor.items():
            held = sum(len(run.devices) for run in self.runs.values() if run.nodes[0] in names)
            if names and held < _FILLED * len(names) * self._plan.devices:
                size = self._random.choices(list(_SIZES), list(_SIZES.values()))[0]
                self._place(vendor, min(size, len(names) * self._plan.devices // 2), usable, now)

    def _place(self, vendor: str, size: int, usable: set[str], now: float) -> None:
        """Begins a run where there is room for it: on one node, or on whole ones."""
        if size < 1:
            return
        free, per_node = self._free(usable), self._plan.devices
        names = [name for name in self._by_vendor[vendor] if name in free]
        if size <= per_node:
            room = [name for name in names if len(free[name]) >= size]
            # The fullest that fits: whole nodes stay for larger runs.
            chosen = sorted(room, key=lambda name: len(free[name]))[:1]
            devices = [(name, device) for name in chosen for device in free[name][:size]]
        else:
            whole = [name for name in names if len(free[name]) == per_node][: size // per_node]
            devices = [(name, device) for name in whole for device in range(per_node)]
            size -= size % per_node
        if len(devices) < size:
            return
        hours = next(mean for least, mean in sorted(_HOURS.items(), reverse=True) if size >= least)
        run = Run(
            id=str(next(self._names)),
            devices=devices,
            launcher=self._random.choice(("slurm", "slurm", "torchrun" if vendor == "nvidia" else "mindx")),
            until=now + self._soon(self._random.expovariate(1 / (hours * 3600)) + 120),
            end=self._random.choices(list(_ENDS), list(_ENDS.values()))[0],
        )
        run.start(self._hosts, now)
        self.runs[run.id] = run

    def _by_hand(self, asked: HandRun, now: float) -> None:
        free = self._free(set(self._hosts))
        names = [
            name
            for name, host in self._hosts.items()
            if asked.vendor in (None, host.spec.vendor) and len(free.get(name, ())) == self._plan.devices
        ][: asked.nodes]
        if len(names) < asked.nodes:
            raise ValueError(f"run {asked.id}: {asked.nodes} nodes; only {len(names)} are free")
        run = Run(
            id=asked.id,
            devices=[(name, device) for name in names for device in range(self._plan.devices)],
            launcher=asked.launcher,
            partition=asked.partition,
            world=asked.world,
            first_rank=asked.first_rank,
            master=asked.master,
            attempt=asked.attempt,
            by_hand=True,
        )
        run.start(self._hosts, now)
        self.runs[run.id] = run

    def _free(self, usable: set[str]) -> dict[str, list[int]]:
        """Devices of usable nodes that no run holds, or is about to hold again."""
        held = {place for run in self.runs.values() for place in run.devices}
        return {name: [device for device in range(self._plan.devices) if (name, device) not in held] for name in usable}

    def _draw(self, vendor: str, kind: str, now: float) -> None:
        """When the next fault of a kind comes."""
        rate = self._rates[vendor][kind]
        devices = len(self._by_vendor[vendor]) * self._plan.devices
        per_second = rate.per_device_hour * devices / 3600 * self._plan.accelerate
        if per_second > 0:
            at = now + self._random.expovariate(per_second)
            fault = FaultSpec(fault=kind, node="", parameters={"vendor": vendor})
            heapq.heappush(self._coming, (at, next(self._numbers), fault, rate.effect))

    def _drawn(self, fault: FaultSpec, now: float) -> FaultSpec:
        vendor = str(fault.parameters["vendor"])
        self._draw(vendor, fault.fault, now)
        name = self._random.choice(self._by_vendor[vendor])
        repair = self._soon(self._random.expovariate(1 / (self._rates[vendor][fault.fault].repair_hours * 3600)))
        device = self._random.randrange(self._plan.devices)
        return FaultSpec(
            fault=fault.fault,
            node=name,
            device=device,
            clear_after=Duration(max(60.0, repair)),
            parameters={"port": device % 8} if fault.fault == "rdma_down" else {},
        )

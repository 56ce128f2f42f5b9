"""The campaign: faults at random times in random order on several devices at once, each followed to its end."""

from __future__ import annotations

import collections
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from accelwatch.faults.episode import Episode
from accelwatch.simulator.scenario import FaultSpec, NodeSpec
from campaign.catalogue import CASES, Case
from campaign.fleet import INTERVALS, Fleet
from campaign.injection import MISSED_SECONDS, Injection, Phase, gone_limit, limit_of, patience, strike

NODES = (
    NodeSpec(name="nv-1", vendor="nvidia", family="hopper"), NodeSpec(name="nv-2", vendor="nvidia", family="blackwell"),
    NodeSpec(name="as-1", vendor="ascend", family="910B"), NodeSpec(name="as-2", vendor="ascend", family="A3"),
    NodeSpec(name="small-nv", vendor="nvidia", family="ampere", devices=2),
    NodeSpec(name="small-as", vendor="ascend", family="910", devices=2),
)  # fmt: skip
# The last two are for cases that name their families: a hang needs a run without other faults, and optics, which come
# with every sixtieth poll, a node of few ports that can be polled more often.
SMALL = frozenset(("ampere", "910"))
OWN_INTERVALS = {"small-as": {"hccn_tool": {"interval": "2s"}}}
# Signs of one class on one device no further apart are one episode (design.md, Faults).
APART_SECONDS = 63.0
QUIET_START_SECONDS = 15.0
LOOK_SECONDS = 0.05


class Campaign:
    """`say` gets a line for each thing that happens."""

    def __init__(self, fleet: Fleet, seed: int, say: Callable[[str], None]) -> None:
        self.fleet = fleet
        self.random = random.Random(seed)
        self.say = say
        self.injections: list[Injection] = []
        self.extra: list[str] = []
        self._episodes: dict[tuple[str, int], Injection | None] = {}
        self._latest: dict[tuple[str, int], Episode] = {}
        self._not_before: dict[tuple[str, str, str], float] = {}  # node, class, target: monotonic
        self._began = 0.0

    @property
    def failures(self) -> list[str]:
        """Everything that is not as the catalogue says."""
        own = [f"{i.where}: {i.case.name}: {flaw}" for i in self.injections for flaw in i.flaws]
        return own + self.extra

    # --- the run

    def begin(self) -> None:
        """Starts the agents, waits until each knows its devices and its run, and sees that nothing is told."""
        self._began = time.monotonic()
        for node in self.fleet.specs:
            self.fleet.start(node)
        deadline = time.monotonic() + 60
        for node, spec in self.fleet.specs.items():
            while not any(len(run.devices) == spec.devices for run in self.fleet.runs(node)):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{node}: its agent did not find the run within a minute; see {node}.log")
                time.sleep(0.2)
        self._wait(QUIET_START_SECONDS)

    def run(self, cases: Sequence[Case], at_once: int, seconds: float) -> None:
        """Injects every case once, in random order, but the slowest as soon as may be; begins none after `seconds`."""
        waiting = list(cases)
        self.random.shuffle(waiting)
        waiting.sort(key=lambda case: not (case.after or case.tier == "hccn_rare"))
        ends = time.monotonic() + seconds
        next_at = time.monotonic()
        while waiting or self._open:
            now = time.monotonic()
            if now > ends and waiting:
                self.extra.append(f"{len(waiting)} cases could not begin within {seconds:.0f} s")
                waiting = []
            due = waiting and now >= next_at and len(self._open) < at_once
            if due and self._begin_one(waiting, now):
                next_at = now + self.random.expovariate(1.5)
            self._look()
            time.sleep(LOOK_SECONDS)
        self._wait(3.0)
        for injection in self.injections:
            injection.judge(self._run_of(injection))

    def runs_end(self) -> None:
        """The last thing: the processes of a whole node die without an error. Its run ends, and no fault is told."""
        for node in self.fleet.specs:
            self.fleet.hardware.inject(FaultSpec(fault="process_death", node=node))
        deadline = time.monotonic() + 30
        open_nodes = set(self.fleet.specs)
        while open_nodes and time.monotonic() < deadline:
            self._look()
            open_nodes = {node for node in open_nodes if any(run.ended is None for run in self.fleet.runs(node))}
            time.sleep(0.5)
        self.extra += [f"{node}: its run has not ended although its processes are gone" for node in sorted(open_nodes)]

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._look()
            time.sleep(LOOK_SECONDS)

    @property
    def _open(self) -> list[Injection]:
        return [injection for injection in self.injections if injection.phase is not Phase.DONE]

    def _begin_one(self, waiting: list[Case], now: float) -> bool:
        """The first of those that wait which finds a place now."""
        for case in waiting:
            places = [
                (node, device)
                for node, spec in self.fleet.specs.items()
                if spec.vendor == case.vendor
                and (not case.families or spec.family in case.families)
                and (spec.family in SMALL) == bool(SMALL & set(case.families))
                and now - self._began >= case.after
                for device in range(6 if case.where == "switch" else spec.devices)
                if self._free(case, node, device, now)
            ]
            if places:
                node, device = self.random.choice(places)
                injection = strike(self.fleet, case, node, device)
                injection.hold = self.random.uniform(0.5, 3.0)
                self.injections.append(injection)
                waiting.remove(case)
                self.say(f"inject {injection.where}: {case.name}")
                return True
        return False

    def _free(self, case: Case, node: str, device: int, now: float) -> bool:
        here = [injection for injection in self._open if injection.node == node]
        polled = case.tier != "kernel"
        for other in here:
            if case.where == "device" and other.device == device and other.case.where == "device":
                return False
            stands = other.case.alone and other.phase is Phase.PRESENT
            waits = case.alone and other.phase is Phase.PRESENT and other.case.tier != "kernel"
            if (
                (stands and (polled or case.alone or case.also or case.lasts))
                or waits
                or (case.alone and other.case.alone)
            ):
                return False
        target = "" if case.where == "host" else f"0000:{5 + device:02x}:00" if case.where == "switch" else str(device)
        if case.fault == "kernel_line" and case.where == "switch":
            target = "0000:9a:00"
        wanted = {(case.class_, target), *((a.class_, "" if a.where == "host" else target) for a in case.also)}
        if any(now < self._not_before.get((node, *key), 0.0) for key in wanted):
            return False
        return not any(wanted & other.classes for other in here)

    def _look(self) -> None:
        """Takes in what the journals say, and moves every injection on."""
        for node in self.fleet.specs:
            for episode in self.fleet.faults(node, time.time() - 120.0):
                self._take(node, episode, time.monotonic())
        for injection in self._open:
            self._move(injection, time.monotonic())
        for node in self.fleet.ended():
            raise RuntimeError(f"the agent of {node} has ended by itself; see {node}.log")

    def _take(self, node: str, episode: Episode, now: float) -> None:
        key = node, episode.id
        if self._latest.get(key) == episode:
            return
        self._latest[key] = episode
        if key not in self._episodes:
            owner = next(
                (i for i in reversed(self.injections) if i.node == node and i.phase is not Phase.DONE and i.claims(episode) is not None),
                None,
            )  # fmt: skip
            self._episodes[key] = owner
            if owner is None:
                where = f"device {episode.device}" if episode.device is not None else episode.place or "host"
                self.extra.append(
                    f"not injected: {node} {where}: {episode.class_} {episode.severity.value} {episode.codes}: {episode.message}"
                )
                self.say(f"  EXTRA {self.extra[-1]}")
        owner = self._episodes[key]
        if owner is not None:
            place = owner.claims(episode)
            new = owner.latency is None
            owner.take(0 if place is None else place, episode, now)
            if new and owner.latency is not None:
                self.say(f"  told {owner.where}: {owner.case.name}: {episode.class_} after {owner.latency:.2f} s")

    def _move(self, injection: Injection, now: float) -> None:
        case, since = injection.case, now - injection.began
        if injection.phase is Phase.PRESENT:
            missed = since > injection.limit * patience() + MISSED_SECONDS + case.lasts
            ripe = injection.complete and since >= max(case.lasts, (injection.latency or 0.0) + injection.hold)
            if not (missed or ripe):
                return
            if missed and injection.latency is None:
                self.say(f"  MISSED {injection.where}: {case.name}")
            if injection.number is not None:
                self.fleet.hardware.clear(injection.number)
            injection.phase, injection.ended = Phase.ENDING, now
        elif injection.phase is Phase.ENDING and injection.ended is not None:
            over = case.stays or all(
                _over(episode, case.clears is not None and place == 0) for place, episode in injection.found.items()
            )
            late = now - injection.ended > gone_limit(case, self.fleet, injection.node) * patience()
            if over or late:
                if late and not over:
                    left = [f"{e.class_}: {[n for n, c in e.conditions.items() if c.lasting and not c.gone] or 'active'}" for e in injection.found.values() if not _over(e, case.clears is not None)]  # fmt: skip
                    injection.flaws.append(f"not taken back within {now - injection.ended:.0f} s: {'; '.join(left)}")
                injection.phase, injection.done = Phase.DONE, now
                for class_, target in injection.classes:
                    apart = float("inf") if case.stays else APART_SECONDS
                    self._not_before[(injection.node, class_, target)] = now + apart

    def _run_of(self, injection: Injection) -> str | None:
        runs = {run.run_id for run in self.fleet.runs(injection.node)}
        return runs.pop() if len(runs) == 1 else None

    # --- the report

    def report(self, directory: Path, seed: int) -> str:
        """The table, also as files."""
        groups: dict[tuple[str, str, str], list[Injection]] = collections.defaultdict(list)
        for injection in self.injections:
            groups[(injection.case.vendor, injection.case.class_, injection.case.tier)].append(injection)
        lines = [
            f"{'vendor':<8}{'class':<22}{'tier':<11}{'n':>4}{'median s':>10}{'p90 s':>8}{'max s':>8}{'allowed s':>11}",
        ]
        rows = []
        for (vendor, class_, tier), group in sorted(groups.items()):
            times = sorted(i.latency for i in group if i.latency is not None)
            allowed = max(i.limit for i in group)
            if not times:
                lines.append(f"{vendor:<8}{class_:<22}{tier:<11}{0:>4} of {len(group)}")
                continue
            median, p90 = statistics.median(times), times[min(len(times) - 1, int(0.9 * len(times)))]
            lines.append(
                f"{vendor:<8}{class_:<22}{tier:<11}{len(times):>4}{median:>10.2f}{p90:>8.2f}{times[-1]:>8.2f}{allowed:>11.1f}"
            )
            rows.append({"vendor": vendor, "class": class_, "tier": tier, "count": len(times), "injected": len(group),
                         "median": median, "p90": p90, "max": times[-1], "allowed": allowed})  # fmt: skip
        told = sum(i.latency is not None for i in self.injections)
        intervals = ", ".join(f"{source} {keys['interval']}" for source, keys in INTERVALS.items())
        lines += [
            "", f"seed {seed}; {len(self.injections)} injections, {told} detected, {len(self.failures)} failures; intervals: {intervals}",
            *(f"late on a crowded machine (load {i.crowded:.1f}): {i.where}: {i.case.name}: {i.latency:.2f} s, allowed {i.limit:.2f} s"
              for i in self.injections if i.crowded is not None and i.latency is not None),
            *(f"FAILURE {failure}" for failure in self.failures),
        ]  # fmt: skip
        directory.mkdir(parents=True, exist_ok=True)
        text = "\n".join(lines)
        (directory / "campaign.txt").write_text(text + "\n")
        document = {
            "seed": seed,
            "injections": len(self.injections),
            "detected": told,
            "latencies": rows,
            "failures": self.failures,
        }
        (directory / "campaign.json").write_text(json.dumps(document, indent=1))
        return text


def quick(fleet: Fleet, most: float) -> list[Case]:
    """Cases that are told, and free their device, within `most` seconds."""
    node = {spec.vendor: name for name, spec in fleet.specs.items()}
    families = {spec.family for spec in fleet.specs.values()}
    return [
        case
        for case in CASES
        if case.vendor in node
        and (not case.families or families & set(case.families))
        and not case.alone
        and limit_of(case, fleet, node[case.vendor]) + case.lasts + max(case.settles, case.clears or 0.0) <= most
    ]


def _over(episode: Episode, must_clear: bool) -> bool:
    if must_clear:
        return not episode.active
    return not episode.active or all(c.gone for c in episode.conditions.values() if c.lasting)


__all__ = ["NODES", "Campaign", "gone_limit", "quick"]

"""One injected fault, from its beginning until its device is free again, and what was found of it."""

from __future__ import annotations

import enum
import os
import time
from dataclasses import dataclass, field

from accelwatch.faults.episode import Episode
from accelwatch.simulator.scenario import FaultSpec
from campaign.catalogue import TIERS, Also, Case
from campaign.fleet import Fleet

KERNEL_SECONDS = 1.0
# A poll is up to 5 % late by its jitter, takes its time, and the commit and this program's own look come on top.
MARGIN_SECONDS = 0.5
# Where twice as many processes want to run as the machine has processors, the scheduler's wait is not the agent's: what is
# late there is noted, and a flaw only when it took three times as long.
CROWDED_FACTOR = 3.0
# What is not told by then is missed, not late.
MISSED_SECONDS = 20.0


class Phase(enum.Enum):
    """Where an injection stands."""

    PRESENT = "present"
    ENDING = "ending"  # the fault is over; its conditions are to be taken back
    DONE = "done"


@dataclass
class Injection:
    """`wanted`: the episodes that it ought to bring, the case's own first; `found`: by place in `wanted`."""

    case: Case
    node: str
    device: int | None
    number: int | None  # of the simulator
    began: float  # monotonic
    target: str  # label of the device, "" for the host, or the place of a switch
    limit: float
    wanted: tuple[Also, ...]
    found: dict[int, Episode] = field(default_factory=dict)
    latency: float | None = None
    crowded: float | None = None  # load of the machine when it was told late
    ended: float | None = None
    done: float | None = None
    hold: float = 0.0
    phase: Phase = Phase.PRESENT
    flaws: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.node} {'device ' + self.target if self.device is not None and self.target else self.target or 'host'}"

    def claims(self, episode: Episode) -> int | None:
        """The place in `wanted` that the episode fills, if it is one of these."""
        for place, wanted in enumerate(self.wanted):
            if episode.class_ != wanted.class_:
                continue
            where = self.target if wanted.where != "host" else ""
            if (episode.device or episode.place or "") == where:
                return place
        return None

    def take(self, place: int, episode: Episode, now: float) -> None:
        """An episode, new or changed."""
        before = self.found.get(place)
        if before is not None and before.id != episode.id:
            self.flaws.append(f"a second episode {episode.id} beside {before.id}: {episode.message}")
        self.found[place] = episode
        if place == 0 and self.latency is None:
            self.latency = now - self.began
            if self.latency > self.limit and patience() > 1.0:
                self.crowded = os.getloadavg()[0]
            if self.latency > self.limit * patience():
                self.flaws.append(f"late: after {self.latency:.2f} s, allowed are {self.limit:.2f} s")

    @property
    def complete(self) -> bool:
        """Whether all that must come has come."""
        return all(place in self.found for place, wanted in enumerate(self.wanted) if wanted.must)

    @property
    def classes(self) -> set[tuple[str, str]]:
        """(class, target) of what it may bring: none of them is injected there meanwhile."""
        return {(w.class_, "" if w.where == "host" else self.target) for w in self.wanted}

    def judge(self, run_id: str | None) -> None:
        """At the end: right class, device, code, severity and run."""
        for place, wanted in enumerate(self.wanted):
            episode = self.found.get(place)
            if episode is None:
                if wanted.must:
                    self.flaws.append(f"no episode of {wanted.class_}")
                continue
            if wanted.code is not None and wanted.code not in episode.codes:
                self.flaws.append(f"{wanted.class_}: codes {episode.codes}, expected {wanted.code}")
            if wanted.code is None and place == 0 and episode.code is not None:
                self.flaws.append(f"{wanted.class_}: code {episode.code}, expected none")
            if run_id is not None and episode.run_id != run_id:
                self.flaws.append(f"{wanted.class_}: run {episode.run_id}, expected {run_id}")
            if episode.historical or episode.drill:
                self.flaws.append(f"{wanted.class_}: historical or drill")
        own = self.found.get(0)
        if own is not None and own.severity.value != self.case.severity:
            self.flaws.append(f"severity {own.severity.value}, expected {self.case.severity}: {own.message}")
        incidents = {episode.incident for episode in self.found.values()}
        if len(incidents) > 1:
            self.flaws.append(f"{len(incidents)} incidents of one cascade")


def patience() -> float:
    """By how much more than its limit an injection may take just now."""
    return CROWDED_FACTOR if os.getloadavg()[0] > 2 * (os.cpu_count() or 1) else 1.0


def limit_of(case: Case, fleet: Fleet, node: str) -> float:
    """Seconds in which it is to be detected: a second for a line, else two periods of its tier and what is held."""
    source, polls = TIERS[case.tier]
    if case.tier == "kernel":
        return KERNEL_SECONDS
    return 2 * polls * fleet.interval(node, source) + case.held + MARGIN_SECONDS


def gone_limit(case: Case, fleet: Fleet, node: str) -> float:
    """Seconds after its end in which its conditions are to be taken back."""
    source, polls = TIERS[case.tier]
    periods = 2 * polls * fleet.interval(node, source) if polls else 0.0
    return max(case.settles, case.clears or 0.0, periods + MARGIN_SECONDS, 25.0 if case.vendor == "nvidia" else 45.0)


def strike(fleet: Fleet, case: Case, node: str, device: int | None) -> Injection:
    """Injects a case. Raises `ValueError` where it does not fit."""
    state = fleet.hardware.state(node)
    devices = state["nvidia"] or state["ascend"]
    parameters = dict(case.parameters)
    target = str(device) if device is not None else ""
    own = devices[device if device is not None else 0]
    if "text" in parameters:
        process = own["processes"][0] if own["processes"] else {"pid": 4711, "name": "python3"}
        filled = {
            "pci": own["pci"], "number": own.get("phy_id", own["index"]), "pid": process["pid"], "process": process["name"],
        }  # fmt: skip
        parameters["text"] = str(parameters["text"]).format_map(filled)
    if case.where == "switch":
        switch = (device or 0) if case.fault == "sxid" else 0x95
        if case.fault == "sxid":
            parameters["switch"] = switch
        target = f"0000:{5 + switch:02x}:00"
    if case.where == "run":
        (run,) = fleet.runs(node)
        target = f"run {run.run_id} {run.attempt}"
    if case.fault.startswith("rdma"):
        parameters["port"] = device or 0
    simulated = device if case.where == "device" else None
    began = time.monotonic()
    number = None
    if case.fault == "log":
        fleet.write_log(node, str(parameters["text"]))
    else:
        number = fleet.hardware.inject(FaultSpec(fault=case.fault, node=node, device=simulated, parameters=parameters))
    if case.tier == "kernel":  # the simulator writes all nodes first, which is not the agent's time
        written = (fleet.directory / node / "kmsg").stat().st_mtime
        began = max(began, time.monotonic() - (time.time() - written))
    return Injection(
        case=case,
        node=node,
        device=device if case.where != "host" else None,
        number=number,
        began=began,
        target=target if case.where != "host" else "",
        limit=limit_of(case, fleet, node),
        wanted=(Also(case.class_, case.where, code=case.code), *case.also),
    )

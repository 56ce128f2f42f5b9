"""Devices by serial number: from when to when each was in its slot, when it was down, and its episodes.

Faults come at a constant rate while a device is powered and watched: the exponential gaps are drawn over all seconds,
and what falls where nobody watched, or on a device that is down, never was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from quarters.nodes import Node
from quarters.plan import DAY, HOUR, LEMON_CLASS, REPLACED, RUN_ENDING, Plan
from quarters.windows import Windows

OLDEST_DAYS = 700
# A device that goes out healthy, per quarter.
SWAPPED = 0.05
QUIET_DAYS = 10
# Heavy-tailed, as repairs are: medians in seconds, and the spread of their logarithm.
REPAIR = {"device_lost": (3 * HOUR, 1.0)}
OTHER_REPAIR = (20 * 60, 1.2)
STATES = ("powered", "allocated", "busy", "maintenance", "down_planned", "down_unplanned")


@dataclass(frozen=True)
class Episode:
    """`cleared`: when a run-ending one was over; `None` for others, and for those that last."""

    at: int
    class_: str
    planned: bool = False
    cleared: int | None = None


@dataclass
class Life:
    """One serial number in its slot, [first, last). Seconds from the beginning; `installed` may lie before it."""

    node: Node
    device: int
    serial: str
    installed: int
    first: int
    last: int = 0
    failed: bool = False
    down: Windows = field(default_factory=Windows)
    episodes: list[Episode] = field(default_factory=list)

    def seconds(self, start: int, end: int) -> dict[str, int]:
        """Of each of `STATES` in [start, end)."""
        start, end, node = max(start, self.first), min(end, self.last), self.node
        down = [(max(start, s), min(end, e)) for s, e in self.down.spans if s < end and e > start]

        def up(windows: Windows) -> int:
            return windows.within(start, end) - sum(windows.within(*span) for span in down)

        return {
            "powered": up(node.powered),
            "allocated": up(node.allocated),
            "busy": up(node.busy),
            "maintenance": up(node.maintained),
            "down_planned": node.off.within(start, end) + sum(node.maintained.within(*span) for span in down),
            "down_unplanned": sum(node.powered.within(*span) for span in down),
        }

    def identity(self, second: int) -> dict[str, str]:
        """Its labels, as they were at that second."""
        return {
            "node": self.node.name, "vendor": self.node.model.vendor, "device": str(self.device),
            "model": self.node.model.name, "driver": self.node.driver(second), "serial": self.serial,
        }  # fmt: skip


def slot(random: np.random.Generator, plan: Plan, node: Node, device: int, *, lemon: bool) -> list[Life]:
    """The devices that one slot had, one after the other. `lemon`: the first of them is one."""
    found: list[Life] = []
    at, installed = node.first, node.first - int(random.integers(0, OLDEST_DAYS * 24 * HOUR))
    if node.first > 0:
        installed = node.first
    while at < node.last:
        life = Life(node, device, f"{node.model.name}-{node.name}-{device}-{len(found)}", installed, at)
        bad = (lemon and not found) or random.random() < plan.lemon_chance
        _live(random, plan, life, _rates(random, plan, life, bad=bad))
        found.append(life)
        at = installed = life.last
    return found


def _rates(random: np.random.Generator, plan: Plan, life: Life, *, bad: bool) -> dict[str, float]:
    factor = random.gamma(1 / plan.spread, plan.spread) if plan.spread else 1.0
    rates = {class_: plan.rate(life.node.model, class_) * factor for class_ in plan.rates}
    if bad:
        rates[LEMON_CLASS] *= plan.lemon_times
    return rates


def _live(random: np.random.Generator, plan: Plan, life: Life, rates: dict[str, float]) -> None:
    """Its episodes until it is taken out or the quarter ends."""
    node, end, up_again = life.node, life.node.last, life.first
    down: list[tuple[int, int]] = []
    for at, class_ in _arrivals(random, rates, life.first, end):
        if at < up_again or not node.powered.holds(at):
            continue
        out = random.random() < REPLACED.get(class_, 0.0)
        cleared = None
        if class_ in RUN_ENDING:
            median, spread = REPAIR.get(class_, OTHER_REPAIR)
            cleared = at + 1 + int(median * random.lognormal(0, spread))
            if class_ == "device_lost" or out:
                down.append((at, min(cleared, node.last)))
                up_again = cleared
        life.episodes.append(Episode(at, class_, cleared=cleared))
        if out:
            life.failed, end = cleared is not None and cleared < node.last, min(up_again, node.last)
            break
    swapped = _swap(random, life, end)
    if swapped is not None:
        end, life.failed = swapped, False
        life.episodes = [one for one in life.episodes if one.at < end]
    life.last, life.down = end, Windows((start, min(over, end)) for start, over in down)
    # Of a device that is gone nobody says that a fault is over.
    life.episodes = [
        replace(e, cleared=None) if e.cleared is not None and e.cleared > end else e for e in life.episodes
    ]


def _swap(random: np.random.Generator, life: Life, end: int) -> int | None:
    """When it went out healthy, if it did: not soon after a fault for which it might have been taken out."""
    if random.random() >= SWAPPED * (end - life.first) / (90 * DAY):
        return None
    at = int(random.integers(life.first + 1, end + 1))
    suspect = any(one.class_ in RUN_ENDING and at - QUIET_DAYS * DAY < one.at < at for one in life.episodes)
    return None if suspect or at == end else at


def _arrivals(random: np.random.Generator, rates: dict[str, float], start: int, end: int) -> Iterator[tuple[int, str]]:
    classes, mean = list(rates), np.array(list(rates.values()))
    total = float(mean.sum())
    at = start + random.exponential(HOUR / total)
    while at < end:
        yield int(at), classes[random.choice(len(classes), p=mean / total)]
        at += random.exponential(HOUR / total)


def during_maintenance(random: np.random.Generator, plan: Plan, node: Node, lives: list[Life]) -> None:
    """People pull cables and load drivers: faults that are counted apart."""
    mean = sum(plan.rates.values()) * plan.maintenance_times * plan.devices * node.maintained.seconds / HOUR
    for _ in range(random.poisson(mean)):
        at = node.maintained.nth(int(random.integers(node.maintained.seconds)))
        class_ = str(random.choice(list(plan.rates)))
        here = [life for life in lives if life.first <= at < life.last and not life.down.holds(at)]
        if here:
            chosen = here[int(random.integers(len(here)))]
            chosen.episodes.append(Episode(at, class_, planned=True))

"""A node over a quarter: when its devices were powered and had work, were maintained, or when nobody watched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quarters.plan import DAY, HOUR, Model, Plan
from quarters.windows import Span, Windows

# Every so many nodes one comes into the fleet during the quarter, and one leaves it.
JOINS, LEAVES = 5, 6
JOB_HOURS, GAP_HOURS, START_UP_SECONDS = 20.0, 2.0, 300
DRIVER_SHARE = 0.5  # of the nodes: they get the second driver with their first maintenance


@dataclass(frozen=True)
class Node:
    """In seconds from the beginning; what is not `powered`, `maintained` or `off` was watched by nobody."""

    name: str
    model: Model
    first: int
    last: int
    powered: Windows
    allocated: Windows
    busy: Windows
    maintained: Windows  # planned work, devices answer
    off: Windows  # planned work, devices do not
    outages: Windows  # no agent
    upgraded: int | None  # when its driver changed

    def driver(self, second: int) -> str:
        before, after = self.model.drivers
        return before if self.upgraded is None or second < self.upgraded else after


def make(random: np.random.Generator, plan: Plan, model: Model, number: int) -> Node:
    joins, leaves = number % JOINS == JOINS - 1, number % LEAVES == LEAVES - 1
    start, end = plan.window
    first = int(random.integers(start, (start + end) // 2)) if joins else 0
    last = int(random.integers((start + end) // 2, end)) if leaves else plan.span
    share = (last - first) / (90 * DAY)
    planned = _spans(random, plan.maintenances * share, first, last, 1 * HOUR, 9 * HOUR)
    outages = _spans(random, plan.outages * share, first, last, 20 * 60, 12 * HOUR)
    off = Windows(_middle(random, span) for span in planned.spans)
    here = Windows([(first, last)])
    powered = here.minus(planned).minus(outages)
    jobs = list(_jobs(random, first, last))
    allocated = Windows(jobs).minus(planned).minus(outages)
    upgraded = planned.spans[0][1] if planned.spans and random.random() < DRIVER_SHARE else None
    return Node(
        name=f"{model.prefix}-{number + 1:03d}", model=model, first=first, last=last, powered=powered,
        allocated=allocated,
        busy=Windows((s + START_UP_SECONDS, e) for s, e in jobs).minus(planned).minus(outages),
        maintained=planned.minus(off).minus(outages), off=off.minus(outages), outages=outages, upgraded=upgraded,
    )  # fmt: skip


def _spans(random: np.random.Generator, mean: float, first: int, last: int, shortest: int, longest: int) -> Windows:
    found = []
    for _ in range(random.poisson(mean)):
        start = int(random.integers(first, last))
        found.append((start, min(last, start + int(random.integers(shortest, longest)))))
    return Windows(found)


def _middle(random: np.random.Generator, span: Span) -> Span:
    """In half of the maintenances the devices are off for a part of it."""
    length = span[1] - span[0]
    if random.random() < 0.5:
        return span[0], span[0]
    return span[0] + length // 4, span[1] - length // 5


def _jobs(random: np.random.Generator, first: int, last: int) -> list[Span]:
    found, at = [], float(first)
    while at < last:
        at += random.exponential(GAP_HOURS * HOUR)
        end = at + max(START_UP_SECONDS + 1, random.exponential(JOB_HOURS * HOUR))
        found.append((min(last, int(at)), min(last, int(end))))
        at = end + 1
    return found

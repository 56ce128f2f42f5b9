"""How often a report is right over many quarters whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from accelwatch.reliability.counts import read
from accelwatch.reliability.document import document
from quarters import counted, fleet, truth
from quarters.plan import Plan
from quarters.truth import Truth

# Below so many expected events an exact interval holds far more than it says, and would hide what is wrong.
LEAST_EXPECTED = 5.0


@dataclass
class Share:
    """`hits` of `of`."""

    hits: int = 0
    of: int = 0

    def add(self, hit: bool) -> None:
        self.hits += hit
        self.of += 1

    @property
    def value(self) -> float:
        return self.hits / self.of if self.of else math.nan

    def __str__(self) -> str:
        return f"{self.hits:,} of {self.of:,} ({self.value:.1%})"


def least(share: float, of: int) -> float:
    """Less two standard errors of the binomial."""
    return share - 2 * math.sqrt(share * (1 - share) / of)


@dataclass
class Found:
    """Of rates: `exact` are the exact intervals that hold the true one, `bootstrap` those of the bootstrap where it is
    shown, `shown` the one that a reader is to take: the bootstrap's where there is one. Of ratios, class by class, and
    chosen beforehand between models of two vendors: those called different. `events`: both sides' of each of these."""

    exact: Share = field(default_factory=Share)
    bootstrap: Share = field(default_factory=Share)
    shown: Share = field(default_factory=Share)
    of_classes: Share = field(default_factory=Share)
    chosen: Share = field(default_factory=Share)
    events: list[int] = field(default_factory=list)


def through_counts(plan: Plan, seeds: Iterable[int], path: Path) -> Found:
    """Each quarter written to a file, and read as `accelwatch report --counts` reads it."""
    found = Found()
    for seed in seeds:
        one, true = _drawn(plan, seed)
        counted.write(path, one, true)
        _judge(document(read(path)), true, found)
    return found


def through_cells(plan: Plan, seeds: Iterable[int], classes: Container[str]) -> Found:
    """With the nodes and devices of each count, which a file does not have; of these classes alone."""
    found = Found()
    for seed in seeds:
        one, true = _drawn(plan, seed)
        inputs = counted.inputs(one, true)
        cells = [cell for cell in inputs.cells if cell.class_ in classes]
        _judge(document(msgspec.structs.replace(inputs, cells=cells)), true, found)
    return found


def _drawn(plan: Plan, seed: int) -> tuple[fleet.Fleet, Truth]:
    one = fleet.draw(replace(plan, seed=seed))
    return one, truth.of(one)


def _judge(report: dict[str, Any], true: Truth, found: Found) -> None:
    for one in report["rates"]:
        rate = true.rates[one["model"], one["class"]]
        if rate * one["device_hours"] < LEAST_EXPECTED:
            continue
        exact = bool(one["rate_low"] <= rate <= one["rate_high"])
        found.exact.add(exact)
        limits = one.get("bootstrap")
        if limits is None:
            found.shown.add(exact)
        else:
            holds = bool(limits[0] <= rate <= limits[1])
            found.bootstrap.add(holds)
            found.shown.add(holds)
    for one in report["ratios"]:
        found.of_classes.add(one["verdict"] == "different")
    for one in report["primary"]:
        if one["vendor_a"] != one["vendor_b"]:
            found.chosen.add(one["verdict"] == "different")
            found.events.append(one["events"])

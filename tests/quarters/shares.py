"""How often the report is right, over many quarters: what is drawn, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quarters.coverage import Share, least, through_cells, through_counts
from quarters.plan import LEMON_CLASS, Plan

CONFIDENCE, FALSE_DIFFERENCES, POWER = 0.95, 0.05, 0.90
# Nodes of 8 devices over four models: at 20 and a ratio of 3 two models have 58 events in all, on average.
COUNTED = Plan(seed=0, nodes=24)
THREE_TIMES = Plan(seed=0, nodes=20, nvidia_times=3.0)
# What the exact interval does not know of: bad devices, and devices that all differ. Ten nodes a model.
CLUSTERED = {
    "devices alike": Plan(seed=0, nodes=40),
    "one bad device in each model": Plan(seed=0, nodes=40, lemons=1),
    "one device in 80 bad, by chance": Plan(seed=0, nodes=40, lemon_chance=1 / 80),
    "one device in 20 bad, by chance": Plan(seed=0, nodes=40, lemon_chance=1 / 20),
    "rates differ from device to device, variance 4": Plan(seed=0, nodes=40, spread=4.0),
}


@dataclass(frozen=True)
class Line:
    """A figure, and the bound that it has to keep; `None`: it is only stated."""

    words: str
    share: Share
    at_least: float | None = None
    at_most: float | None = None

    @property
    def kept(self) -> bool:
        low, high = self.at_least, self.at_most
        return (
            self.share.of > 0
            and (low is None or self.share.value >= low)
            and (high is None or self.share.value <= high)
        )

    def __str__(self) -> str:
        bound = "" if self.at_least is None else f", at least {self.at_least:.1%}"
        bound += "" if self.at_most is None else f", at most {self.at_most:.1%}"
        return f"{'' if self.kept else 'NOT KEPT: '}{self.words}: {self.share}{bound}"


def equal_rates(quarters: Iterable[int], directory: Path) -> list[Line]:
    found = through_counts(COUNTED, quarters, directory / "counts.csv")
    return [
        Line("95 % intervals that hold the true rate", found.exact, at_least=least(CONFIDENCE, found.exact.of)),
        Line("equal rates called different, class by class", found.of_classes, at_most=FALSE_DIFFERENCES),
        Line("equal rates called different, chosen beforehand", found.chosen, at_most=FALSE_DIFFERENCES),
    ]


def three_times(quarters: Iterable[int], directory: Path) -> list[Line]:
    found = through_counts(THREE_TIMES, quarters, directory / "counts.csv")
    mean = sum(found.events) / max(1, len(found.events))
    words = f"a true ratio of 3 called different, {mean:.0f} events on average"
    return [Line(words, found.chosen, at_least=POWER)]


def clustered(name: str, quarters: Iterable[int]) -> list[Line]:
    """Of the class that bad devices have more of; the truth is the rate of the population that they are drawn from."""
    found = through_cells(CLUSTERED[name], quarters, (LEMON_CLASS,))
    lines = [Line(f"{name}: the exact interval holds it", found.exact)]
    if found.bootstrap.of:
        lines.append(Line(f"{name}: the bootstrap's holds it, where it is shown", found.bootstrap))
    return [
        *lines,
        Line(f"{name}: the bootstrap's where shown, else the exact one", found.shown),
        Line(f"{name}: equal rates called different", found.of_classes),
    ]

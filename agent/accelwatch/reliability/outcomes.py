"""What became of runs, devices and nodes: interruptions by cause, availability, times, survival."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from accelwatch.reliability import availability, durations, survival
from accelwatch.reliability.cells import Cell, Inputs
from accelwatch.reliability.classes import Cause, cause_of
from accelwatch.reliability.comparisons import judge, ratio
from accelwatch.reliability.intervals import rate
from accelwatch.reliability.tally import sums

# All causes together.
ANY = "any"
# A curve of more steps than a picture can show is thinned to so many, its last one kept.
STEPS = 200


def interruptions(inputs: Inputs) -> list[dict[str, Any]]:
    """By group and cause, with the classes that made it up; 0 is said where runs were counted."""
    cells = _interruption_cells(inputs)
    lost: dict[tuple[str, str], float] = sums()
    classes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in inputs.interruptions:
        for cause in (cause_of(one.cause).value, ANY):
            classes[one.group, cause][one.cause] += one.count
            lost[one.group, cause] += one.lost_device_hours or 0.0
    found = []
    for cell in cells:
        of = rate(cell.count, cell.hours, cell.confidence)
        found.append(
            {
                "group": cell.group, "vendor": cell.vendor, "model": cell.model, "cause": cell.class_,
                "count": cell.count, "device_hours": cell.hours, "rate_per_device_hour": of.rate,
                "rate_low": of.low, "rate_high": of.high,
                "lost_device_hours": lost[cell.group, cell.class_], "confidence": cell.confidence,
                "classes": dict(sorted(classes[cell.group, cell.class_].items())),
            }
        )  # fmt: skip
    return found


def interruption_ratios(inputs: Inputs) -> list[dict[str, Any]]:
    """Every pair of groups, cause by cause."""
    by_cause: dict[str, list[Cell]] = defaultdict(list)
    for cell in _interruption_cells(inputs):
        by_cause[cell.class_].append(cell)
    found = []
    for cause, cells in by_cause.items():
        for a, b in itertools.combinations(sorted(cells, key=lambda cell: cell.group), 2):
            # All causes together are no member of the family that each of them is in.
            found.append(ratio(cause, a, b) | ({} if cause == ANY else {"cause": cause}))
    judge(found)
    for one in found:
        one["cause"] = one.pop("class")
    return sorted(found, key=lambda one: (one["a"], one["b"]))


def _interruption_cells(inputs: Inputs) -> list[Cell]:
    """One per group and cause, as if a cause were a class."""
    groups: dict[str, tuple[str, str, float]] = {}
    if inputs.runs_counted:
        groups = {cell.group: (cell.vendor, cell.model, cell.hours) for cell in inputs.cells}
    counts: Counter[tuple[str, str]] = Counter()
    for one in inputs.interruptions:
        groups[one.group] = one.vendor, one.model, one.hours
        counts[one.group, cause_of(one.cause).value] += one.count
        counts[one.group, ANY] += one.count
    return [
        Cell(group=group, vendor=vendor, model=model, class_=cause, count=counts[group, cause], hours=hours)
        for group, (vendor, model, hours) in groups.items()
        for cause in (ANY, *(cause.value for cause in Cause))
    ]


def available(inputs: Inputs) -> list[dict[str, Any]]:
    """Of each group; the limits are a bootstrap over its nodes."""
    found = []
    for fleet in inputs.fleets:
        installed = sum(node.installed for node in fleet.nodes)
        if installed <= 0:
            continue
        of = availability.availability(fleet.nodes, fleet.confidence)
        found.append(
            {
                "group": fleet.group, "vendor": fleet.vendor, "model": fleet.model, "nodes": len(fleet.nodes),
                "availability": of.availability, "low": of.low, "high": of.high, "planned": of.planned,
                "installed_device_hours": installed, "down_device_hours": sum(node.down for node in fleet.nodes),
                "unwatched_device_hours": sum(node.unwatched for node in fleet.nodes),
                "confidence": fleet.confidence,
            }
        )  # fmt: skip
    return found


def times(inputs: Inputs) -> list[dict[str, Any]]:
    """To detect and to repair, in seconds."""
    found = []
    for one in inputs.durations:
        of = durations.summary(one.seconds, one.confidence)
        if of is not None:
            found.append(
                {
                    "group": one.group, "vendor": one.vendor, "measure": one.measure.value, "class": one.class_,
                    "count": of.count, "median_seconds": of.median, "median_low": of.median_low,
                    "median_high": of.median_high, "p90_seconds": of.p90, "mean_seconds": of.mean,
                    "confidence": one.confidence,
                }
            )  # fmt: skip
    return found


def survived(inputs: Inputs) -> list[dict[str, Any]]:
    """Kaplan and Meier's curve of each group, by age in hours, with delayed entry."""
    by_group: dict[str, list[Any]] = defaultdict(list)
    for life in inputs.lifetimes:
        by_group[life.group].append(life)
    found = []
    for group, lives in by_group.items():
        steps = survival.kaplan_meier(
            [life.left for life in lives], [life.failed for life in lives], [life.entered for life in lives]
        )
        found.append(
            {
                "group": group, "vendor": lives[0].vendor, "devices": len(lives),
                "failed": sum(life.failed for life in lives),
                "watched_device_hours": sum(life.left - life.entered for life in lives),
                "youngest_hours": min(life.entered for life in lives),
                "oldest_hours": max(life.left for life in lives),
                "steps": [
                    {
                        "age_hours": step.at, "at_risk": step.at_risk, "failed": step.failed,
                        "survival": step.survival, "low": step.low, "high": step.high,
                    }
                    for step in _thinned(steps)
                ],
            }
        )  # fmt: skip
    return found


def _thinned(steps: Sequence[survival.Step]) -> list[survival.Step]:
    if len(steps) <= STEPS:
        return list(steps)
    every = len(steps) / STEPS
    return [steps[int((number + 1) * every) - 1] for number in range(STEPS)]

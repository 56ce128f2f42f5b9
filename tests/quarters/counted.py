"""The truth of a quarter as a report is given it: a file of counts, or cells with their devices and nodes."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from accelwatch.reliability.cells import Cell, Inputs, Unit
from quarters.fleet import Fleet
from quarters.lives import Life
from quarters.plan import HOUR
from quarters.truth import Truth

COLUMNS = ("study", "cluster", "vendor", "device_model", "device_hours", "fault_class", "count")


def write(path: Path, fleet: Fleet, truth: Truth) -> None:
    """For `accelwatch report --counts`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for model in fleet.models:
            hours = repr(truth.hours(model.name))
            for class_ in fleet.plan.rates:
                count = truth.episodes[model.name, class_]
                writer.writerow(("quarter", fleet.plan.cluster, model.vendor, model.name, hours, class_, count))


def inputs(fleet: Fleet, truth: Truth) -> Inputs:
    """With the units that over-dispersion and the bootstrap stand on."""
    of_model: dict[str, list[Life]] = defaultdict(list)
    for life in truth.lives:
        of_model[life.node.model.name].append(life)
    cells = [
        Cell(
            group=model.name, cluster=fleet.plan.cluster, vendor=model.vendor, model=model.name, class_=class_,
            count=truth.episodes[model.name, class_], hours=truth.hours(model.name),
            by_device=_units(truth, of_model[model.name], class_, lambda life: f"{life.node.name} {life.device}"),
            by_node=_units(truth, of_model[model.name], class_, lambda life: life.node.name),
        )
        for model in fleet.models
        for class_ in fleet.plan.rates
    ]  # fmt: skip
    return Inputs(title="quarter", produced="", origin="drawn", cells=cells)


def _units(truth: Truth, lives: list[Life], class_: str, name: Callable[[Life], str]) -> list[Unit]:
    """Devices that were in a slot one after the other are one unit: one that is taken out for its fault has an event
    over a short time, which says nothing of it."""
    counts: Counter[str] = Counter()
    hours: dict[str, float] = defaultdict(float)
    for life in lives:
        counts[name(life)] += truth.by_serial[life.serial][class_]
        hours[name(life)] += truth.serial_seconds[life.serial]["powered"] / HOUR
    return [Unit(unit, counts[unit], of_unit) for unit, of_unit in hours.items()]

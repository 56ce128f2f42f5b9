"""The truth of a quarter as a report is given it: a file of counts, or cells with their devices and nodes."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
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
            by_device=[
                Unit(life.serial, truth.by_serial[life.serial][class_], _hours(truth, life))
                for life in of_model[model.name]
            ],
            by_node=_by_node(truth, of_model[model.name], class_),
        )
        for model in fleet.models
        for class_ in fleet.plan.rates
    ]  # fmt: skip
    return Inputs(title="quarter", produced="", origin="drawn", cells=cells)


def _hours(truth: Truth, life: Life) -> float:
    return truth.serial_seconds[life.serial]["powered"] / HOUR


def _by_node(truth: Truth, lives: list[Life], class_: str) -> list[Unit]:
    counts: Counter[str] = Counter()
    hours: dict[str, float] = defaultdict(float)
    for life in lives:
        counts[life.node.name] += truth.by_serial[life.serial][class_]
        hours[life.node.name] += _hours(truth, life)
    return [Unit(name, counts[name], of_node) for name, of_node in hours.items()]

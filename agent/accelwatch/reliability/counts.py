"""Counts from a CSV file, with the columns of the published figures: `accelwatch report --counts`."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from accelwatch.reliability.cells import CONFIDENCE, Cell, Inputs, Published, Standing
from accelwatch.reliability.classes import known, observable

REQUIRED = ("study", "cluster", "vendor", "device_model", "fault_class", "count")
OPTIONAL = ("devices", "duration_hours", "device_hours", "confidence", "source")
# What somebody claims, whatever else its line says: shown, never compared.
CLAIM_ENDING = "_claim"


class CountsError(ValueError):
    """Says file, line, column, what stands there, and what was expected."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the file; `None`: its field is empty."""

    line: int
    study: str
    cluster: str
    vendor: str
    model: str
    class_: str
    devices: int | None
    hours: float | None  # device-hours
    count: int | None
    confidence: float
    source: str


class Counted(NamedTuple):
    """A line that has both a count and its exposure in device-hours."""

    row: Row
    events: int
    hours: float


def read(path: Path) -> Inputs:
    """The counts with their exposure, and beside them what can only be shown. Raises `CountsError`, `OSError`."""
    notes: list[str] = []
    rows = list(read_rows(path, notes))
    if not rows:
        raise CountsError(
            f"{path}: no line with counts; expected a header with {', '.join(REQUIRED)} and lines below it"
        )
    shared = defaultdict(set)
    for row in rows:
        shared[row.study, row.cluster].add((row.vendor, row.model))
    counted: dict[tuple[str, str, str], list[Counted]] = defaultdict(list)
    published = []
    for row in rows:
        name = f"{row.study} {row.cluster}".strip()
        group = name if len(shared[row.study, row.cluster]) == 1 else f"{name} {row.model}"
        if row.count is None or row.hours is None or row.class_.endswith(CLAIM_ENDING):
            published.append(as_published(row, group))
        else:
            counted[group, row.model, row.class_].append(Counted(row, row.count, row.hours))
    cells = [_cell(path, group, same, notes) for (group, _, _), same in counted.items()]
    notes += _of_classes(cells)
    if len({cell.group.split(" ", 1)[0] for cell in cells}) > 1:
        notes.append(
            "Groups of several studies: what each counted as one event, and over which window it joined repeats, may "
            "differ; a ratio between studies compares their methods, too."
        )
    notes.append("Counts hold neither run interruptions nor availability: nothing is said of these.")
    return Inputs(
        title=f"Reliability from the counts in {path.name}",
        produced=datetime.now(UTC).isoformat(timespec="seconds"),
        origin=path.name,
        cells=cells,
        published=published,
        notes=notes,
    )


def _cell(path: Path, group: str, counted: list[Counted], notes: list[str]) -> Cell:
    """Lines of one class and one exposure are its causes apart: their counts add, over that exposure once."""
    first, _, first_hours = counted[0]
    for row, _, hours in counted[1:]:
        if (hours, row.confidence) != (first_hours, first.confidence):
            raise CountsError(
                f"{path}:{row.line}: {group}, class {row.class_}: {hours:g} device-hours at confidence "
                f"{row.confidence:g}, but line {first.line} has {first_hours:g} at {first.confidence:g}; "
                "expected the same in all lines of a class, or a study or cluster of its own"
            )
    seen = observable(first.class_, first.vendor)
    if len(counted) > 1:
        lines = ", ".join(str(row.line) for row, _, _ in counted)
        notes.append(
            f"{group}, {first.class_}: the {len(counted)} lines {lines} are one class; their counts are added."
        )
    return Cell(
        group=group,
        cluster=first.cluster,
        vendor=first.vendor,
        model=first.model,
        class_=first.class_,
        count=sum(events for _, events, _ in counted),
        hours=first_hours,
        devices=first.devices,
        observable=seen is not False,
        confidence=first.confidence,
        source=first.source,
    )


def _of_classes(cells: list[Cell]) -> Iterator[str]:
    strangers = sorted({cell.class_ for cell in cells if known(cell.class_) is None})
    if strangers:
        yield f"Not classes of accelwatch, kept as they are named: {', '.join(strangers)}."
    for cell in cells:
        if not cell.observable:
            what = "somebody else's count stands" if cell.count else "its 0 is no rate"
            yield f"{cell.group}: {cell.class_} is not observable on {cell.vendor} by accelwatch; {what}."


def as_published(row: Row, group: str) -> Published:
    """The line as somebody else's figure, a claim among them called one."""
    if row.class_.endswith(CLAIM_ENDING) or "claim" in row.source.lower():
        standing = Standing.CLAIM
    elif row.count is None:
        standing = Standing.FIGURE
    else:
        standing = Standing.COUNT if row.hours is None else Standing.COUNTED
    return Published(
        group=group, vendor=row.vendor, model=row.model, class_=row.class_, standing=standing,
        count=row.count, hours=row.hours, source=row.source,
    )  # fmt: skip


def read_rows(path: Path, notes: list[str]) -> Iterator[Row]:
    """The lines one by one. `notes` gets what was passed over. Raises `CountsError`, `OSError`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file, strict=True)
            header = [name.strip() for name in reader.fieldnames or ()]
            missing = [name for name in REQUIRED if name not in header]
            if missing:
                raise CountsError(
                    f"{path}:1: no column {', '.join(missing)}; expected {', '.join((*REQUIRED, *OPTIONAL))}"
                )
            reader.fieldnames = header
            foreign = [name for name in header if name not in REQUIRED + OPTIONAL]
            if foreign:
                notes.append(f"Columns that are not read: {', '.join(foreign)}.")
            for fields in reader:
                yield _row(path, reader.line_num, fields)
        except csv.Error as error:
            raise CountsError(f"{path}:{reader.line_num}: not CSV: {error}") from error
        except UnicodeDecodeError as error:
            raise CountsError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error


def _row(path: Path, line: int, fields: dict[str, str | list[str] | None]) -> Row:
    if None in fields or None in fields.values():
        raise CountsError(f"{path}:{line}: more or fewer fields than the header has; expected one for each column")
    texts = {name: str(value).strip() for name, value in fields.items()}
    where = f"{path}:{line}"
    for name in ("study", "vendor", "device_model", "fault_class"):
        if not texts[name]:
            raise CountsError(f"{where}: column {name}: empty; expected a name")
    devices = _whole(where, "devices", texts)
    hours, duration = _positive(where, "device_hours", texts), _positive(where, "duration_hours", texts)
    if hours is None and devices and duration is not None:
        hours = devices * duration
    confidence = _positive(where, "confidence", texts)
    if confidence is not None and confidence >= 1:
        raise CountsError(f"{where}: column confidence: {confidence:g}; expected between 0 and 1, such as 0.95")
    return Row(
        line=line, study=texts["study"], cluster=texts["cluster"], vendor=texts["vendor"], model=texts["device_model"],
        class_=texts["fault_class"], devices=devices, hours=hours, count=_whole(where, "count", texts),
        confidence=CONFIDENCE if confidence is None else confidence, source=texts.get("source", ""),
    )  # fmt: skip


def _whole(where: str, column: str, texts: dict[str, str]) -> int | None:
    text = texts.get(column, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise CountsError(f"{where}: column {column}: {text!r}; expected a whole number, 0 or more, or nothing")
    return int(text)


def _positive(where: str, column: str, texts: dict[str, str]) -> float | None:
    text = texts.get(column, "")
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise CountsError(f"{where}: column {column}: {text!r}; expected a number above 0, or nothing")
    return number

"""What the journal holds of a fault: it, its incident, its device's past, the run that it struck, and counters."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from accelwatch.faults.episode import Episode
from accelwatch.journal import loaded, reading, schema
from accelwatch.journal.rows import CounterRow, DeviceRow, JournalError
from accelwatch.runs.model import RunRecord

# A vendor asks whether it was the first time.
PAST_SECONDS = 90 * 86400.0
PAST_LIMIT = 500


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `row`: the device, where the fault is of one that the inventory knows."""

    fault: Episode
    incident: tuple[Episode, ...]
    past: tuple[Episode, ...]
    run: RunRecord | None
    row: DeviceRow | None
    rows: tuple[DeviceRow, ...]
    counters: tuple[CounterRow, ...]
    problems: tuple[str, ...] = ()


def kept_of(directory: Path, number: int) -> Kept:
    """Raises `JournalError`, also where there is no such fault."""
    return reading.read(directory, lambda db: _read(db, number))


def _read(db: sqlite3.Connection, number: int) -> Kept:
    if schema.version(db) < 2:
        raise JournalError("the journal is of a version without faults: start the agent once, which migrates it")
    fault = _fault(db, number)
    problems: list[str] = []
    near = loaded.episodes(db, fault.first_wall - PAST_SECONDS, problems, limit=20 * PAST_LIMIT)
    incident = [e for e in near if e.incident == fault.incident and e.id != number]
    past = [e for e in near if e.key == fault.key or (fault.owner is not None and e.owner == fault.owner)]
    known = {number, *(e.id for e in incident)}
    rows = loaded.devices(db, problems)
    row = next((r for r in rows if _is_of(r, fault)), None)
    runs = [] if fault.run_id is None else loaded.runs(db, fault.first_wall - 86400.0, problems)
    counters = [CounterRow(*r) for r in db.execute("SELECT owner, name, labels, total, raw FROM counters")]
    return Kept(
        fault=fault,
        incident=tuple(incident[-PAST_LIMIT:]),
        past=tuple([e for e in past if e.id not in known][-PAST_LIMIT:]),
        run=next((r for r in runs if (r.run_id, r.attempt) == (fault.run_id, fault.attempt or "0")), None),
        row=row,
        rows=tuple(rows),
        counters=tuple(c for c in counters if fault.owner is None or c.owner in (fault.owner, "host")),
        problems=tuple(problems),
    )


def _fault(db: sqlite3.Connection, number: int) -> Episode:
    found = db.execute("SELECT record FROM episodes WHERE id = ?", (number,)).fetchone()
    if found is None:
        latest = [str(row[0]) for row in db.execute("SELECT id FROM episodes ORDER BY id DESC LIMIT 5")]
        known = f"the latest are {', '.join(latest)}" if latest else "it has none"
        raise JournalError(f"no fault with id {number} in this node's journal: {known}; `accelwatch faults` lists them")
    try:
        return msgspec.json.decode(found[0], type=Episode)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JournalError(f"fault {number}: its record cannot be read: {error}") from error


def _is_of(row: DeviceRow, fault: Episode) -> bool:
    if row.identity.key.vendor.value != fault.vendor:
        return False
    if fault.device is not None:
        return row.label == fault.device
    return fault.place is not None and row.identity.pci is not None and row.identity.pci.startswith(fault.place)

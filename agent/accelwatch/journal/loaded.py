"""Rows out of an open journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from accelwatch.clock import Kept
from accelwatch.faults.episode import Episode
from accelwatch.journal.changes import Changes
from accelwatch.journal.rows import CounterRow, DeviceRow
from accelwatch.journal.schema import version
from accelwatch.readings.identity import Identity
from accelwatch.remediation.record import Remediation
from accelwatch.runs.model import RunRecord

# Three drops of a link in a day, and a class that comes again after a repair, are told from what was before; a
# week of it and a day more is what detectors ask for. Runs are on the page for 24 h after their end.
EPISODES_SECONDS = 8 * 86400.0
# Of a node with a storm of faults the latest ones, beside those that are active: so many fit into the agent's memory.
EPISODES_LIMIT = 2000
RUNS_SECONDS = 25 * 3600.0

# The latest decisions on the site's command, beside those on incidents that are still active.
REMEDIATIONS_LIMIT = 2000

_Record = TypeVar("_Record", Episode, RunRecord, Remediation)


class Loaded(msgspec.Struct, kw_only=True):
    """What the agent goes on with. `problems`: rows that could not be read and are left out."""

    devices: list[DeviceRow] = []
    counters: list[CounterRow] = []
    links_seen_up: list[tuple[str, str]] = []  # (owner, link)
    episodes: list[Episode] = []  # active, or the latest that were seen or cleared in the last 8 days; by id
    runs: list[RunRecord] = []  # open, or ended in the last 25 h
    states: dict[str, bytes] = {}
    cursors: dict[str, str] = {}
    clock: Kept | None = None
    next_episode_id: int = 1
    remediations: list[Remediation] = []  # the latest, and those on active incidents; by id
    next_remediation_id: int = 1
    first_start: bool = True  # nothing was ever written here
    problems: list[str] = []
    read: bool = True  # False: there is a file, and it could not be read

    def going_on(self) -> Changes:
        """As it would be written; of episodes and runs those that are not over."""
        return Changes(
            devices=self.devices,
            counters=self.counters,
            links=self.links_seen_up,
            episodes=[episode for episode in self.episodes if episode.active],
            runs=[run for run in self.runs if run.ended is None],
            states=self.states,
            cursors=self.cursors,
            clock=self.clock,
            remediations=self.remediations,
        )


def load(db: sqlite3.Connection, now: float) -> Loaded:
    """All that the agent needs at wall time `now`, also of an older schema. Raises `sqlite3.Error`."""
    problems: list[str] = []
    loaded = Loaded(
        devices=devices(db, problems),
        counters=[CounterRow(*row) for row in db.execute("SELECT owner, name, labels, total, raw FROM counters")],
        links_seen_up=[(row[0], row[1]) for row in db.execute("SELECT owner, link FROM links_seen_up")],
        problems=problems,
    )
    if version(db) >= 2:
        loaded.episodes = episodes(db, now - EPISODES_SECONDS, problems, EPISODES_LIMIT)
        loaded.runs = runs(db, now - RUNS_SECONDS, problems)
        loaded.states = {name: bytes(state) for name, state in db.execute("SELECT name, state FROM states")}
        loaded.cursors = dict(db.execute("SELECT source, cursor FROM cursors"))
        for (record,) in db.execute("SELECT record FROM clock"):
            try:
                loaded.clock = msgspec.json.decode(record, type=Kept)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                problems.append(f"clock: {error}")
        loaded.next_episode_id = _next_id(db, "episodes")
    if version(db) >= 3:
        active = {episode.incident for episode in loaded.episodes if episode.active}
        loaded.remediations = remediations(db, problems, active)
        loaded.next_remediation_id = _next_id(db, "remediations")
    loaded.first_start = not (
        loaded.devices
        or loaded.counters
        or loaded.states
        or loaded.cursors
        or loaded.runs
        or loaded.next_episode_id > 1
        or problems
    )
    return loaded


def devices(db: sqlite3.Connection, problems: list[str]) -> list[DeviceRow]:
    """Every device ever seen on this node."""
    result = []
    for identity, label, up, first_seen in db.execute(
        "SELECT identity, label, up, first_seen FROM devices ORDER BY first_seen, label"
    ):
        try:
            result.append(DeviceRow(msgspec.json.decode(identity, type=Identity), label, bool(up), first_seen))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            problems.append(f"device {label}: {error}")
    return result


def episodes(db: sqlite3.Connection, since: float, problems: list[str], limit: int = -1) -> list[Episode]:
    """Those that are active, or were seen or cleared at wall time `since` or later; by id.

    `limit`: at most so many of the latter, the latest; -1: all.
    """
    rows = db.execute(
        "SELECT id, record FROM episodes WHERE id IN "
        "(SELECT id FROM episodes WHERE active UNION SELECT id FROM "
        "(SELECT id FROM episodes WHERE changed >= ? ORDER BY changed DESC LIMIT ?)) ORDER BY id",
        (since, limit),
    )
    return _records(rows, Episode, problems)


def runs(db: sqlite3.Connection, since: float, problems: list[str]) -> list[RunRecord]:
    """Those that are open, or ended at wall time `since` or later; by their start."""
    rows = db.execute(
        "SELECT run_id || ' attempt ' || attempt, record FROM runs WHERE until IS NULL OR until >= ? "
        "ORDER BY started, run_id, attempt",
        (since,),
    )
    return _records(rows, RunRecord, problems)


def remediations(db: sqlite3.Connection, problems: list[str], incidents: Iterable[str] = ()) -> list[Remediation]:
    """The latest decisions, and those on the given incidents; by id."""
    latest = "SELECT id, record FROM remediations ORDER BY id DESC LIMIT ?"
    rows: dict[int, str] = dict(db.execute(latest, (REMEDIATIONS_LIMIT,)))
    for incident in incidents:
        rows.update(db.execute("SELECT id, record FROM remediations WHERE incident = ?", (incident,)))
    return _records(sorted(rows.items()), Remediation, problems)


def remediations_since(db: sqlite3.Connection, since: float, problems: list[str]) -> list[Remediation]:
    """Decisions at wall time `since` or later; by id."""
    rows = db.execute("SELECT id, record FROM remediations WHERE at >= ? ORDER BY id", (since,))
    return _records(rows, Remediation, problems)


def _next_id(db: sqlite3.Connection, table: str) -> int:
    highest = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 1 + (int(highest[0]) if highest else 0)


def _records(rows: Iterable[tuple[object, str]], kind: type[_Record], problems: list[str]) -> list[_Record]:
    decoder = msgspec.json.Decoder(kind)
    result = []
    for key, record in rows:
        try:
            result.append(decoder.decode(record))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            problems.append(f"{kind.__name__.lower()} {key}: {error}")
    return result

"""The journal's file: schema, and rows in and out of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from accelwatch.readings.identity import Identity

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE devices (
    vendor TEXT NOT NULL, native TEXT NOT NULL, label TEXT NOT NULL, identity TEXT NOT NULL,
    up INTEGER NOT NULL, first_seen REAL NOT NULL,
    PRIMARY KEY (vendor, native));
CREATE TABLE counters (
    owner TEXT NOT NULL, name TEXT NOT NULL, labels TEXT NOT NULL, total REAL NOT NULL, raw REAL,
    PRIMARY KEY (owner, name, labels));
CREATE TABLE links_seen_up (owner TEXT NOT NULL, link TEXT NOT NULL, PRIMARY KEY (owner, link));
"""


class JournalError(Exception):
    """The journal cannot be used: the message says which file, why, and what to do."""


class DeviceRow(msgspec.Struct, frozen=True):
    """A device of the inventory. `up` is the last verdict that a source gave."""

    identity: Identity
    label: str
    up: bool
    first_seen: float  # seconds since the epoch


class CounterRow(msgspec.Struct, frozen=True):
    """A counter that never falls: `total` is what is served, `raw` the device's own count that it stands for."""

    owner: str
    name: str
    labels: str
    total: float
    raw: float | None


class Store:
    """One open journal. Not for several threads at once."""

    def __init__(self, directory: Path) -> None:
        """Opens or creates `directory/journal.db`. Raises `JournalError`."""
        self.path = directory / "journal.db"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._db = sqlite3.connect(self.path, timeout=2.0, isolation_level=None, check_same_thread=False)
            os.chmod(self.path, 0o640)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._migrate()
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{self.path}: {error}; expected a writable directory with free space") from error

    def _migrate(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"{self.path}: written by a newer accelwatch (schema {version}, this one knows {SCHEMA_VERSION}); "
                "install that version again, or move the file aside to start anew"
            )
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")

    @staticmethod
    def read_devices(directory: Path) -> list[DeviceRow]:
        """The inventory of an agent that may be running or gone, without writing; empty where there is none."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{directory / 'journal.db'}?mode=ro", uri=True)) as db:
                return _devices(db)
        except sqlite3.Error:
            return []

    def devices(self) -> list[DeviceRow]:
        """Every device ever seen on this node."""
        return _devices(self._db)

    def counters(self) -> list[CounterRow]:
        """Every counter."""
        return [CounterRow(*row) for row in self._db.execute("SELECT owner, name, labels, total, raw FROM counters")]

    def links_seen_up(self) -> list[tuple[str, str]]:
        """(owner, link) of each port that was up once."""
        return [(row[0], row[1]) for row in self._db.execute("SELECT owner, link FROM links_seen_up")]

    def write(
        self, devices: Iterable[DeviceRow], counters: Iterable[CounterRow], links: Iterable[tuple[str, str]]
    ) -> None:
        """Commits all of it in one transaction. Raises `JournalError`, and then nothing of it is written."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (
                            row.identity.key.vendor.value,
                            row.identity.key.native,
                            row.label,
                            msgspec.json.encode(row.identity).decode(),
                            int(row.up),
                            row.first_seen,
                        )
                        for row in devices
                    ],
                )
                self._db.executemany(
                    "INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?, ?)",
                    [(row.owner, row.name, row.labels, row.total, row.raw) for row in counters],
                )
                self._db.executemany("INSERT OR IGNORE INTO links_seen_up VALUES (?, ?)", links)
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}; what is not written yet is kept in memory") from error

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


def _devices(db: sqlite3.Connection) -> list[DeviceRow]:
    rows = db.execute("SELECT identity, label, up, first_seen FROM devices ORDER BY first_seen, label")
    return [DeviceRow(msgspec.json.decode(row[0], type=Identity), row[1], bool(row[2]), row[3]) for row in rows]

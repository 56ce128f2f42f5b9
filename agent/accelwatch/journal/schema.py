"""Tables of the journal, and the way from each older version to this one."""

from __future__ import annotations

import contextlib
import sqlite3

from accelwatch.journal.rows import NewerSchema

SCHEMA_VERSION = 3

_VERSION_1 = """
CREATE TABLE devices (
    vendor TEXT NOT NULL, native TEXT NOT NULL, label TEXT NOT NULL, identity TEXT NOT NULL,
    up INTEGER NOT NULL, first_seen REAL NOT NULL,
    PRIMARY KEY (vendor, native));
CREATE TABLE counters (
    owner TEXT NOT NULL, name TEXT NOT NULL, labels TEXT NOT NULL, total REAL NOT NULL, raw REAL,
    PRIMARY KEY (owner, name, labels));
CREATE TABLE links_seen_up (owner TEXT NOT NULL, link TEXT NOT NULL, PRIMARY KEY (owner, link));
"""

# `changed`: when the episode was last seen or was cleared, `until`: when the run ended; seconds since the epoch.
# AUTOINCREMENT: the number of an episode is never given again, whatever retention has deleted.
_VERSION_2 = """
CREATE TABLE episodes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, class TEXT NOT NULL, active INTEGER NOT NULL, changed REAL NOT NULL,
    record TEXT NOT NULL);
CREATE INDEX episodes_changed ON episodes (changed);
CREATE INDEX episodes_active ON episodes (id) WHERE active;
CREATE INDEX episodes_class ON episodes (class, changed);
CREATE TABLE runs (
    run_id TEXT NOT NULL, attempt TEXT NOT NULL, started REAL NOT NULL, until REAL, record TEXT NOT NULL,
    PRIMARY KEY (run_id, attempt));
CREATE INDEX runs_until ON runs (until);
CREATE TABLE states (name TEXT PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL);
CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), record TEXT NOT NULL);
"""

# Decisions on the site's command for run-ending faults; `at` in seconds since the epoch.
_VERSION_3 = """
CREATE TABLE remediations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident TEXT NOT NULL, at REAL NOT NULL, record TEXT NOT NULL);
CREATE INDEX remediations_incident ON remediations (incident);
CREATE INDEX remediations_at ON remediations (at);
"""

# From the version that is the key to the next.
_STEPS = {0: _VERSION_1, 1: _VERSION_2, 2: _VERSION_3}


def version(db: sqlite3.Connection) -> int:
    """The schema of an open file; 0: it is new."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(found: int, path: object) -> None:
    """Raises `NewerSchema` for a file of a later version."""
    if found > SCHEMA_VERSION:
        raise NewerSchema(
            f"{path}: written by a newer accelwatch (schema {found}, this one knows {SCHEMA_VERSION}); "
            "install that version again, or move the file aside to start anew"
        )


def migrate(db: sqlite3.Connection, path: object) -> None:
    """Brings the file to this version, keeping its rows. Raises `NewerSchema`, `sqlite3.Error`."""
    found = version(db)
    refuse_newer(found, path)
    if found == SCHEMA_VERSION:
        return
    if found == 0:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only before the first table
    steps = " ".join(_STEPS[step] for step in range(found, SCHEMA_VERSION))
    try:
        db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if found == 1:
        # Version 1 could not give pages back. Not worth failing for: the file is small, and then stays as it is.
        with contextlib.suppress(sqlite3.Error):
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            db.execute("VACUUM")

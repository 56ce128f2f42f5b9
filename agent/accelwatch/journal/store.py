"""The journal's file: changes in, and all that is needed at a start out of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from accelwatch.journal import loaded, reading, retention, schema, wal_check
from accelwatch.journal.changes import Changes
from accelwatch.journal.loaded import Loaded
from accelwatch.journal.rows import CounterRow, Damaged, DeviceRow, JournalError, NewerSchema

__all__ = ["CounterRow", "Damaged", "DeviceRow", "JournalError", "Loaded", "NewerSchema", "Store"]

FILE_NAME = reading.FILE_NAME
BUSY_SECONDS = 2.0
# The file beside the journal that holds what was committed last is cut back to this once it is copied over.
_WAL_KEPT_BYTES = 4 << 20
# A file that goes on being damaged, on a dying disk, must not fill it with what was moved aside.
DAMAGED_KEPT = 3
_CORRUPT, _NOT_A_DATABASE, _LOGIC = 11, 26, 1
_MAGIC = b"SQLite format 3\0"
_SIDE_FILES = ("", "-wal", "-shm")


class Store:
    """One open journal. Not for several threads at once, and the only one that writes."""

    def __init__(self, directory: Path) -> None:
        """Opens or creates `directory/journal.db`. Raises `Damaged`, `NewerSchema`, else `JournalError`."""
        self.path = directory / FILE_NAME
        self._db: sqlite3.Connection | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            _begins_like_a_database(self.path)
            durable = _durable_frames(self.path)
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            os.chmod(self.path, 0o640)
            self._inode = self.path.stat().st_ino
            self.new = schema.version(self._db) == 0
            if durable and wal_check.read_frames(self.path) < durable:
                raise Damaged(f"{self.path}-wal: commits that were on the disk are not what was written")
            if self.new:
                self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only in an empty file
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(f"PRAGMA journal_size_limit={_WAL_KEPT_BYTES}")
            schema.migrate(self._db, self.path)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._failure(error, "expected a writable directory with free space", opening=True) from error
        except JournalError:
            self.close()
            raise

    @staticmethod
    def read_devices(directory: Path) -> list[DeviceRow]:
        """The inventory of an agent that may be running or gone, without writing; empty where there is none."""
        try:
            return reading.read_devices(directory)
        except JournalError:
            return []

    def load(self, now: float | None = None) -> Loaded:
        """What the agent goes on with at wall time `now`. Raises `Damaged`, `JournalError`."""
        try:
            return loaded.load(self._open, time.time() if now is None else now)
        except sqlite3.Error as error:
            raise self._failure(error, "expected a readable journal", opening=True) from error

    def write(self, changes: Changes) -> None:
        """Commits all of it in one transaction. Raises `Damaged`, `JournalError`, and then nothing of it is written."""
        with self._transaction("what is not written yet is kept in memory") as db:
            db.executemany(
                "DELETE FROM devices WHERE vendor = ? AND native = ?",
                [(key.vendor.value, key.native) for key in changes.forget],
            )
            db.executemany(
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        row.identity.key.vendor.value,
                        row.identity.key.native,
                        row.label,
                        _json(row.identity),
                        int(row.up),
                        row.first_seen,
                    )
                    for row in changes.devices
                ],
            )
            # What was served once is never lower again, whatever comes in which order.
            db.executemany(
                "INSERT INTO counters VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET total = max(total, excluded.total), raw = excluded.raw",
                [(row.owner, row.name, row.labels, row.total, row.raw) for row in changes.counters],
            )
            db.executemany("INSERT OR IGNORE INTO links_seen_up VALUES (?, ?)", changes.links)
            db.executemany(
                "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?)",
                [
                    (e.id, e.class_, int(e.active), max(e.last_wall, e.cleared_wall or e.last_wall), _json(e))
                    for e in changes.episodes
                ],
            )
            db.executemany(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
                [(run.run_id, run.attempt, run.started, run.ended, _json(run)) for run in changes.runs],
            )
            db.executemany(
                "INSERT OR REPLACE INTO remediations VALUES (?, ?, ?, ?)",
                [(row.id, row.incident, row.wall, _json(row)) for row in changes.remediations],
            )
            db.executemany("INSERT OR REPLACE INTO states VALUES (?, ?)", changes.states.items())
            db.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", changes.cursors.items())
            if changes.clock is not None:
                db.execute("INSERT OR REPLACE INTO clock VALUES (1, ?)", (_json(changes.clock),))

    def trim(self, now: float, keep_seconds: float, limit_bytes: int) -> bool:
        """One short step of retention; true while there is more to do. Raises `Damaged`, `JournalError`."""
        with self._transaction("old rows stay until it can be written") as db:
            more = retention.delete(db, now, keep_seconds, limit_bytes)
        try:
            return retention.give_back(self._open) or more
        except sqlite3.Error as error:
            raise self._failure(error, "the file is not made smaller") from error

    def close(self) -> None:
        """Closes the file."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    @property
    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise JournalError(f"{self.path}: closed")
        return self._db

    @contextlib.contextmanager
    def _transaction(self, otherwise: str) -> Iterator[sqlite3.Connection]:
        db = self._open
        try:
            if self.path.stat().st_ino != self._inode:
                raise FileNotFoundError("another file has its name now")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error, otherwise) from error

    def _failure(self, error: Exception, otherwise: str, opening: bool = False) -> JournalError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        damage = {_CORRUPT, _NOT_A_DATABASE} | ({_LOGIC} if opening else set())  # tables are not as they were made
        return (Damaged if code in damage else JournalError)(f"{self.path}: {error}; {otherwise}")


def set_aside(directory: Path, wall: float) -> Path:
    """Moves a damaged journal with its side files away; gives its new name. Raises `JournalError`."""
    path = directory / FILE_NAME
    target = directory / f"{FILE_NAME}.damaged-{int(wall)}"
    try:
        for end in reversed(_SIDE_FILES):  # the file itself last: until then the next start sees the damage again
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{end}", f"{target}{end}")
        kept = sorted(directory.glob(f"{FILE_NAME}.damaged-*[0-9]"), key=lambda old: old.stat().st_mtime)
        for old in kept[:-DAMAGED_KEPT]:
            for end in _SIDE_FILES:
                Path(f"{old}{end}").unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(f"{path}: damaged, and cannot be moved aside: {error}") from error
    return target


def _begins_like_a_database(path: Path) -> None:
    """Makes the file where there is none. Raises `Damaged`: SQLite would delete the side files of such a file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        head = os.read(descriptor, len(_MAGIC))
    finally:
        os.close(descriptor)
    if head and head != _MAGIC:
        raise Damaged(f"{path}: it does not begin like a SQLite database")


def _durable_frames(path: Path) -> int:
    try:
        return wal_check.durable_frames(path)
    except ValueError as error:
        raise Damaged(str(error)) from error


def _json(record: msgspec.Struct) -> str:
    return msgspec.json.encode(record).decode()

"""Reading the journal while an agent writes it, or after it: nothing is created, and no right to write is needed.

A WAL file is read through its index, `journal.db-shm`, which a reader may not be able to make. While an agent runs, it
is there and is opened read-only. Where it is not, nobody writes: then the file is read as it is, or, when commits wait
beside it in `journal.db-wal`, as a copy. That nobody wrote meanwhile is checked, else it is read again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from accelwatch.clock import Kept
from accelwatch.faults.episode import Episode
from accelwatch.journal import loaded, schema
from accelwatch.journal.rows import DeviceRow, JournalError
from accelwatch.remediation.record import Remediation
from accelwatch.runs.model import RunRecord

FILE_NAME = "journal.db"
BUSY_SECONDS = 2.0
_ATTEMPTS, _LIVE_ATTEMPTS, _AGAIN_SECONDS = 6, 3, 0.05
# Bytes 18 and 19 of the file: 2 where it is in WAL mode (sqlite.org/fileformat.html, section 1.3).
_MODE_OFFSET, _MODE_WAL = 18, 2

_Result = TypeVar("_Result")


def read_faults(directory: Path, since_wall: float) -> list[Episode]:
    """Episodes that are active, or were seen or cleared since; by id. Raises `JournalError`."""
    return read(directory, lambda db: loaded.episodes(db, since_wall, []) if schema.version(db) >= 2 else [])


def read_runs(directory: Path, since_wall: float) -> list[RunRecord]:
    """Runs that are open, or ended since; by their start. Raises `JournalError`."""
    return read(directory, lambda db: loaded.runs(db, since_wall, []) if schema.version(db) >= 2 else [])


def read_remediations(directory: Path, since_wall: float) -> list[Remediation]:
    """Decisions on the site's command since; by id. Raises `JournalError`."""

    def query(db: sqlite3.Connection) -> list[Remediation]:
        return loaded.remediations_since(db, since_wall, []) if schema.version(db) >= 3 else []

    return read(directory, query)


def read_devices(directory: Path) -> list[DeviceRow]:
    """The inventory. Raises `JournalError`."""
    return read(directory, lambda db: loaded.devices(db, []))


def read_states(directory: Path) -> tuple[dict[str, bytes], Kept | None]:
    """States by their names, and the clock that their times are of. Raises `JournalError`."""

    def query(db: sqlite3.Connection) -> tuple[dict[str, bytes], Kept | None]:
        if schema.version(db) < 2:
            return {}, None
        states = {name: bytes(state) for name, state in db.execute("SELECT name, state FROM states")}
        clock = db.execute("SELECT record FROM clock").fetchone()
        with contextlib.suppress(msgspec.MsgspecError):
            return states, msgspec.json.decode(clock[0], type=Kept) if clock is not None else None
        return states, None

    return read(directory, query)


def read(directory: Path, query: Callable[[sqlite3.Connection], _Result]) -> _Result:
    """What `query` gives on the journal as it stands. Raises `JournalError`, `NewerSchema`."""
    path = directory / FILE_NAME
    problem = "an agent writes it all the time"
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_AGAIN_SECONDS)
        try:
            # An index that cannot be used, as on a read-only file system after a crash, is done without.
            live = attempt < _LIVE_ATTEMPTS and _has_index(path)
            before = _stamp(path)
            with (_live if live else _at_rest)(path) as db:
                schema.refuse_newer(schema.version(db), path)
                result = query(db)
            if live or _stamp(path) == before:
                return result
        except FileNotFoundError as error:
            raise JournalError(f"{path}: there is none: has an agent run on this node, with this state_dir?") from error
        except PermissionError as error:
            hint = "run this as root or in the agent's group"
            raise JournalError(f"{path}: cannot be read: {error.strerror}; {hint}") from error
        except (sqlite3.Error, OSError) as error:
            problem = str(error)
    raise JournalError(f"{path}: cannot be read: {problem}")


def _has_index(path: Path) -> bool:
    """Whether an index is there, or none is needed."""
    with path.open("rb") as file:
        head = file.read(_MODE_OFFSET + 1)
    if len(head) <= _MODE_OFFSET or head[_MODE_OFFSET] != _MODE_WAL:
        return True
    return Path(f"{path}-shm").exists() and Path(f"{path}-wal").exists()


@contextlib.contextmanager
def _live(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(_connect(path, "mode=ro&readonly_shm=1")) as db:
        yield db


@contextlib.contextmanager
def _at_rest(path: Path) -> Iterator[sqlite3.Connection]:
    wal = Path(f"{path}-wal")
    if not wal.exists() or not wal.stat().st_size:
        with contextlib.closing(_connect(path, "mode=ro&immutable=1")) as db:
            yield db
        return
    with tempfile.TemporaryDirectory(prefix="accelwatch-") as scratch:
        copy = Path(scratch, FILE_NAME)
        shutil.copyfile(path, copy)
        shutil.copyfile(wal, f"{copy}-wal")
        with contextlib.closing(_connect(copy, "mode=rw")) as db:
            yield db


def _connect(path: Path, options: str) -> sqlite3.Connection:
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{quoted}?{options}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _stamp(path: Path) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_stamp_of(f"{path}{end}") for end in ("", "-wal"))


def _stamp_of(name: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(name)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns

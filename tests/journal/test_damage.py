"""A journal whose bytes are not what was written: moved aside at the start and said, never gone on from in part."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from accelwatch.journal import wal_check
from accelwatch.journal.changes import Changes
from accelwatch.journal.rows import CounterRow
from accelwatch.journal.store import Store
from accelwatch.journal.writer import Writer
from journal_rows import WALL, episode

FRAME = 24 + 4096
COMMITS = 30
Damage = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an agent leaves that was killed: half of its commits in the file, half in the WAL only."""
    store = Store(tmp_path_factory.mktemp("open"))
    for number in range(1, COMMITS + 1):
        counters = [CounterRow("GPU-1", "ecc", "hbm", float(number), None)]
        store.write(Changes(episodes=[episode(number, message="m" * 2000)], counters=counters))
        if number == COMMITS // 2:
            store._open.execute("PRAGMA wal_checkpoint(RESTART)")
    left = tmp_path_factory.mktemp("killed") / "state"
    shutil.copytree(store.path.parent, left)
    store.close()
    return left


def overwritten(path: Path, at: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(random.Random(at).randbytes(length))


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def frames(wal: Path) -> list[bool]:
    """Of each frame since the WAL was last begun at its start: whether it ends a commit."""
    data = wal.read_bytes()
    found = []
    for at in range(32, len(data), FRAME):
        if data[at + 8 : at + 16] != data[16:24]:
            break
        found.append(data[at + 4 : at + 8] != bytes(4))
    return found


DAMAGES: dict[str, Damage] = {
    "the header": lambda db, _wal: overwritten(db, 0, 100),
    "the middle": lambda db, _wal: overwritten(db, db.stat().st_size // 2 // 4096 * 4096, 8192),
    "cut at a page": lambda db, _wal: cut(db, 3 * 4096),
    "cut within a page": lambda db, _wal: cut(db, 3 * 4096 + 77),
    "cut to nothing": lambda db, _wal: cut(db, 0),
    "the WAL's header": lambda _db, wal: overwritten(wal, 0, 32),
    "one word of the WAL's header": lambda _db, wal: overwritten(wal, 16, 4),
    "the WAL's first frame": lambda _db, wal: overwritten(wal, 32, 24),
    "one byte in the WAL": lambda _db, wal: overwritten(wal, 32 + 3 * FRAME + 1000, 1),
    "a page of the WAL": lambda _db, wal: overwritten(wal, 32 + 5 * FRAME, FRAME),
}


@pytest.mark.parametrize("damage", list(DAMAGES.values()), ids=list(DAMAGES))
def test_a_damaged_journal_is_moved_aside_whole_and_begun_anew(killed: Path, tmp_path: Path, damage: Damage) -> None:
    """A counter begins at 0 or goes on where it was: between the two it would have fallen."""
    state = tmp_path / "state"
    shutil.copytree(killed, state)
    damage(state / "journal.db", state / "journal.db-wal")
    said: list[str | None] = []
    writer = Writer(state, said.append, wall=lambda: WALL)
    loaded = writer.open()
    assert (loaded.episodes, loaded.counters, loaded.first_start) == ([], [], True)
    assert writer.begun_anew
    assert len(said) == 1
    assert "journal.db.damaged-" in str(said[0])
    (_,) = state.glob("journal.db.damaged-*[0-9]")
    writer.start()
    assert writer.put(Changes(episodes=[episode(1)])).wait(5.0)
    writer.close()
    assert [e.id for e in Store(state).load(WALL).episodes] == [1]


@pytest.mark.parametrize("at", [16, 40])
def test_damage_of_a_page_that_the_wal_has_anew_costs_nothing(killed: Path, tmp_path: Path, at: int) -> None:
    """The first page, which each commit that takes more room writes."""
    state = tmp_path / "state"
    shutil.copytree(killed, state)
    overwritten(state / "journal.db", at, 4096 - at)
    said: list[str | None] = []
    writer = Writer(state, said.append, wall=lambda: WALL)
    loaded = writer.open()
    assert ([row.total for row in loaded.counters], len(loaded.episodes), said) == ([float(COMMITS)], COMMITS, [])
    assert not writer.begun_anew


def test_what_an_agent_leaves_that_was_killed_is_no_damage(killed: Path, tmp_path: Path) -> None:
    assert sum(frames(killed / "journal.db-wal")) == COMMITS - COMMITS // 2
    assert wal_check.durable_frames(killed / "journal.db") > COMMITS // 2 - 2
    state = tmp_path / "state"
    shutil.copytree(killed, state)
    assert len(Store(state).load(WALL).episodes) == COMMITS


def test_a_wal_that_ends_in_the_middle_of_a_commit_is_no_damage(killed: Path, tmp_path: Path) -> None:
    """Power failed while it was written: nobody was told that this commit is on the disk."""
    ends = [number for number, commit in enumerate(frames(killed / "journal.db-wal")) if commit]
    for number in range(ends[-2] + 1, ends[-1] + 1):  # pages of the last commit that never came to the disk
        for harm in (
            lambda wal, at: overwritten(wal, at + 24, 4096),
            lambda wal, at: cut(wal, at + 100),
        ):
            state = tmp_path / "state"
            shutil.copytree(killed, state)
            harm(state / "journal.db-wal", 32 + number * FRAME)
            store = Store(state)
            assert len(store.load(WALL).episodes) == COMMITS - 1
            store.close()
            shutil.rmtree(state)


def test_without_a_wal_and_with_one_that_was_only_made_longer_there_is_no_damage(tmp_path: Path) -> None:
    database = tmp_path / "journal.db"
    assert wal_check.durable_frames(database) == 0
    database.write_bytes(b"")
    assert wal_check.durable_frames(database) == 0
    database.write_bytes(b"SQLite format 3\0")
    for size in (0, 32, 32 + FRAME):
        (tmp_path / "journal.db-wal").write_bytes(bytes(size))
        assert wal_check.durable_frames(database) == 0

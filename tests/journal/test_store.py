"""The journal's file: what is written is there, older files are taken over, windows and numbers."""

import sqlite3
from pathlib import Path

import pytest

from accelwatch.clock import Kept
from accelwatch.journal import reading
from accelwatch.journal.changes import Changes
from accelwatch.journal.inventory import Inventory
from accelwatch.journal.rows import Damaged, NewerSchema
from accelwatch.journal.store import CounterRow, JournalError, Store
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from journal_rows import VERSION_1, WALL, cleared, ended, episode, remediation, run

DAY = 86400.0
KEPT = Kept("boot", 5.0, 1005.0, WALL)


def full() -> Changes:
    """A row of every kind."""
    inventory = Inventory()
    inventory.learn(Identity(key=DeviceKey(Vendor.NVIDIA, "0000:01:00.0"), index=0, uuid="GPU-1"), True, WALL)
    return Changes(
        devices=inventory.take_changes(),
        counters=[CounterRow("GPU-1", "ecc", "hbm", 3.0, 4.0)],
        links=[("GPU-1", "nvlink0")],
        episodes=[episode(1), cleared(2)],
        runs=[run("r1"), ended("r0", 5.0)],
        states={"memory": b'{"last": 3}'},
        cursors={"kernel_log": "boot 17"},
        clock=KEPT,
        remediations=[remediation(4), remediation(9)],
    )


def test_what_was_written_is_loaded(tmp_path: Path) -> None:
    """Every kind of row, to the last field; and it is no first start any more."""
    store = Store(tmp_path)
    assert store.load(WALL).first_start
    changes = full()
    store.write(changes)
    store.close()
    loaded = Store(tmp_path).load(WALL)
    assert (loaded.devices, loaded.counters, loaded.links_seen_up) == (
        changes.devices,
        changes.counters,
        changes.links,
    )
    assert (loaded.episodes, loaded.runs) == (changes.episodes, [ended("r0", 5.0), run("r1")])
    assert (loaded.states, loaded.cursors, loaded.clock) == (changes.states, changes.cursors, KEPT)
    assert (loaded.next_episode_id, loaded.first_start, loaded.problems) == (3, False, [])
    assert (loaded.remediations, loaded.next_remediation_id) == (changes.remediations, 10)


def test_a_row_replaces_the_one_with_its_key(tmp_path: Path) -> None:
    """An episode that is cleared is one episode."""
    store = Store(tmp_path)
    store.write(full())
    store.write(Changes(episodes=[cleared(1, count=7)], runs=[ended("r1", 9.0)], states={"memory": b"{}"}))
    loaded = store.load(WALL)
    assert [(e.id, e.active, e.count) for e in loaded.episodes] == [(1, False, 7), (2, False, 1)]
    assert [(r.run_id, r.ended) for r in loaded.runs] == [("r0", WALL + 5), ("r1", WALL + 9)]
    assert loaded.states == {"memory": b"{}"}


def test_a_counter_is_never_lowered(tmp_path: Path) -> None:
    """Rows that come late do not take back what was served."""
    store = Store(tmp_path)
    for total in (5.0, 3.0):
        store.write(Changes(counters=[CounterRow("g", "ecc", "hbm", total, total)]))
    assert store.load().counters[0].total == 5.0


def test_a_transaction_is_whole_or_not_there(tmp_path: Path) -> None:
    """A row that the file refuses takes the others with it."""
    store = Store(tmp_path)
    changes = full()
    changes.states["bad"] = None  # type: ignore[assignment]
    with pytest.raises(JournalError, match="NOT NULL"):
        store.write(changes)
    assert store.load(WALL).first_start
    store.write(full())
    assert len(store.load(WALL).episodes) == 2


def test_a_journal_of_version_1_is_taken_over_with_its_rows(tmp_path: Path) -> None:
    """An update of the agent loses neither labels nor counters, and is no first start."""
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.executescript(f"PRAGMA journal_mode=WAL; {VERSION_1} PRAGMA user_version=1;")
        identity = '{"key":{"vendor":"nvidia","native":"0000:01:00.0"},"index":0}'
        db.execute("INSERT INTO devices VALUES ('nvidia', '0000:01:00.0', '0', ?, 1, 5.0)", (identity,))
        db.execute("INSERT INTO counters VALUES ('GPU-1', 'ecc', 'hbm', 3.0, 4.0)")
        db.execute("INSERT INTO links_seen_up VALUES ('GPU-1', 'nvlink0')")
    db.close()
    store = Store(tmp_path)
    loaded = store.load()
    assert [(row.label, row.first_seen) for row in loaded.devices] == [("0", 5.0)]
    assert loaded.counters == [CounterRow("GPU-1", "ecc", "hbm", 3.0, 4.0)]
    assert (loaded.links_seen_up, loaded.first_start, loaded.next_episode_id) == ([("GPU-1", "nvlink0")], False, 1)
    store.write(full())
    store.close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "auto_vacuum")] == [3, 2]
    db.close()


def test_a_journal_of_version_2_gets_the_table_of_remediations(tmp_path: Path) -> None:
    """Its episodes stay; the first decision has number 1."""
    store = Store(tmp_path)
    store.write(Changes(episodes=[episode(1)]))
    store._open.executescript("DROP TABLE remediations; PRAGMA user_version=2;")
    store.close()
    assert reading.read_remediations(tmp_path, 0.0) == []
    store = Store(tmp_path)
    loaded = store.load(WALL)
    assert ([e.id for e in loaded.episodes], loaded.remediations, loaded.next_remediation_id) == ([1], [], 1)
    store.write(Changes(remediations=[remediation(1)]))
    assert reading.read_remediations(tmp_path, WALL) == [remediation(1)]
    assert reading.read_remediations(tmp_path, WALL + 2) == []


def test_a_newer_journal_is_refused_with_a_message(tmp_path: Path) -> None:
    """A downgrade does not destroy what it cannot read."""
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(NewerSchema, match="newer accelwatch"):
        Store(tmp_path)


def test_old_episodes_and_runs_stay_in_the_file_but_are_not_loaded_unless_they_go_on(tmp_path: Path) -> None:
    """A start costs no more after a year than after a week."""
    store = Store(tmp_path)
    store.write(
        Changes(
            episodes=[episode(1), cleared(2), cleared(3, cleared_wall=WALL + 2 * DAY)],
            runs=[run("open"), ended("old", 0.0), ended("new", DAY)],
        )
    )
    loaded = store.load(WALL + 9 * DAY)
    assert [e.id for e in loaded.episodes] == [1, 3]
    assert [r.run_id for r in loaded.runs] == ["open"]
    assert [r.run_id for r in store.load(WALL + 1.9 * DAY).runs] == ["new", "open"]


def test_a_number_is_not_given_twice_after_its_episode_was_deleted(tmp_path: Path) -> None:
    """`accelwatch clear 7` means one fault for ever."""
    store = Store(tmp_path)
    store.write(Changes(episodes=[cleared(1), cleared(7)]))
    while store.trim(WALL + 500 * DAY, 400 * DAY, 1 << 30):
        pass
    store.close()
    loaded = Store(tmp_path).load(WALL)
    assert (loaded.episodes, loaded.next_episode_id, loaded.first_start) == ([], 8, False)


def test_a_row_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    """One broken record does not keep the agent from the others."""
    store = Store(tmp_path)
    store.write(full())
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("""UPDATE episodes SET record = '{"id": 1}' WHERE id = 1""")
    db.close()
    loaded = store.load(WALL)
    assert [e.id for e in loaded.episodes] == [2]
    assert len(loaded.problems) == 1
    assert "episode 1" in loaded.problems[0]


def test_bytes_that_are_no_text_are_left_out_and_told(tmp_path: Path) -> None:
    """A bad sector may make anything of a record."""
    store = Store(tmp_path)
    store.write(full())
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("UPDATE episodes SET record = x'7B226964FF223A' WHERE id = 1")
        db.execute("UPDATE clock SET record = x'22FF22'")
    db.close()
    loaded = store.load(WALL)
    assert [e.id for e in loaded.episodes] == [2]
    assert loaded.clock is None
    assert {problem.partition(":")[0] for problem in loaded.problems} == {"episode 1", "clock"}


@pytest.mark.parametrize("what", [b"this is no database, whatever its name says" * 99, b"SQLite format 3\0" * 400])
def test_a_file_that_is_no_database_is_damaged(tmp_path: Path, what: bytes) -> None:
    """Told apart from a disk that fails: it can be moved aside."""
    (tmp_path / "journal.db").write_bytes(what)
    with pytest.raises(Damaged, match=r"journal\.db"):
        Store(tmp_path)


def test_the_file_is_for_owner_and_group_alone(tmp_path: Path) -> None:
    """Run ids and process names are nobody else's; the group may run `accelwatch faults`."""
    store = Store(tmp_path / "state")
    store.write(full())
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "state").iterdir()}
    assert modes == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm"), "0o640")


def test_a_file_that_was_deleted_under_the_agent_is_not_written_any_more(tmp_path: Path) -> None:
    """What goes into a file without a name is lost, whatever SQLite says."""
    store = Store(tmp_path)
    (tmp_path / "journal.db").unlink()
    with pytest.raises(JournalError):
        store.write(full())

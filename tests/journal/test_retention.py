"""The journal does not grow without bound, and trimming it holds no commit up."""

import time
from pathlib import Path

import pytest

from accelwatch.journal import writer as module
from accelwatch.journal.changes import Changes
from accelwatch.journal.rows import CounterRow
from accelwatch.journal.store import Store
from accelwatch.journal.writer import Writer
from journal_rows import WALL, cleared, ended, episode, remediation, run

DAY = 86400.0


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def trim(store: Store, now: float, keep: float, limit: int) -> float:
    """Trims to the end; gives the longest step in seconds of the processor: the machine may be busy otherwise."""
    longest = 0.0
    for _ in range(10_000):
        started = time.process_time()
        more = store.trim(now, keep, limit)
        longest = max(longest, time.process_time() - started)
        if not more:
            return longest
    raise AssertionError("it does not end")


def test_what_is_older_than_the_time_kept_goes(tmp_path: Path) -> None:
    """Cleared episodes and ended runs; what is active, open or counted stays for ever."""
    store = Store(tmp_path)
    store.write(
        Changes(
            episodes=[episode(1), cleared(2), cleared(3, cleared_wall=WALL + 300 * DAY)],
            runs=[run("open"), ended("old", 0.0), ended("new", 300 * DAY)],
            counters=[CounterRow("g", "ecc", "hbm", 1.0, 1.0)],
        )
    )
    trim(store, WALL + 500 * DAY, 400 * DAY, 1 << 30)
    loaded = store.load(WALL)
    assert [e.id for e in loaded.episodes] == [1, 3]
    assert [r.run_id for r in loaded.runs] == ["new", "open"]
    assert len(loaded.counters) == 1


def test_a_file_that_is_too_large_loses_its_oldest_and_gets_smaller(tmp_path: Path) -> None:
    """Step by step, none of which would hold a commit up; the disk gets its room back."""
    store = Store(tmp_path)
    store.write(Changes(episodes=[episode(n) for n in range(1, 11)], runs=[ended("first", 0.0)]))
    for begin in range(11, 4011, 1000):
        store.write(Changes(episodes=[cleared(n, message="m" * 600) for n in range(begin, begin + 1000)]))
    store.close()
    before = size(tmp_path)
    store = Store(tmp_path)
    limit = 2 << 20
    longest = trim(store, WALL, 400 * DAY, limit)
    store.close()
    assert before > 2 * limit
    assert size(tmp_path) < 1.7 * limit
    loaded = Store(tmp_path).load(0.0)
    ids = [e.id for e in loaded.episodes]
    assert ids[:10] == list(range(1, 11))
    assert ids[10:] == list(range(ids[10], 4011))
    assert len(ids) > 500
    assert loaded.runs == []
    assert longest < 0.1


def test_what_is_committed_is_copied_over_and_the_file_beside_does_not_grow(tmp_path: Path) -> None:
    """Neither by many small commits nor after one large one, such as when a disk has come back."""
    store = Store(tmp_path)
    wal = tmp_path / "journal.db-wal"
    store.write(Changes(episodes=[cleared(n, message="m" * 600) for n in range(1, 5_001)]))
    assert wal.stat().st_size > 6 << 20
    largest = 0
    for number in range(5_001, 6_200):
        store.write(Changes(episodes=[cleared(number)]))
        largest = max(largest, wal.stat().st_size)
    assert largest < 5 << 20


def test_active_episodes_alone_are_never_trimmed(tmp_path: Path) -> None:
    """A limit that cannot be kept ends the trimming, not the faults."""
    store = Store(tmp_path)
    store.write(Changes(episodes=[episode(n) for n in range(1, 500)]))
    trim(store, WALL + 900 * DAY, 400 * DAY, 1)
    assert len(store.load(WALL).episodes) == 499


def test_the_writer_trims_between_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, soon after the start; a commit that comes meanwhile is not kept waiting."""
    store = Store(tmp_path)
    store.write(Changes(episodes=[cleared(n) for n in range(1, 2001)]))
    store.close()
    monkeypatch.setattr(module, "FIRST_TRIM_SECONDS", 0.0)
    writer = Writer(tmp_path, lambda _: None, wall=lambda: WALL + 500 * DAY)
    writer.open()
    writer.start()
    waits = []
    for number in range(7000, 7030):
        started = time.monotonic()
        assert writer.put(Changes(episodes=[episode(number)])).wait(5.0)
        waits.append(time.monotonic() - started)
    deadline = time.monotonic() + 10
    while writer._next_trim < time.monotonic() and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.close()
    assert [e.id for e in Store(tmp_path).load(0.0).episodes] == list(range(7000, 7030))
    assert sorted(waits)[15] < 0.1


def test_decisions_on_commands_go_with_the_years_but_the_latest_stay(tmp_path: Path) -> None:
    """What is still active must not be decided on anew, however old the decision is."""
    store = Store(tmp_path)
    store.write(Changes(remediations=[remediation(n) for n in range(1, 2301)]))
    trim(store, WALL + 500 * DAY, 400 * DAY, 1 << 30)
    assert [row.id for row in store.load(WALL).remediations] == list(range(301, 2301))
    store.write(Changes(remediations=[remediation(n, message="m" * 900) for n in range(2301, 5001)]))
    trim(store, WALL, 400 * DAY, 1)
    assert [row.id for row in store.load(WALL).remediations] == list(range(3001, 5001))

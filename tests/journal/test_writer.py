"""The writer's thread on disks that are well, slow, full, read-only, away, or give back rubbish."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accelwatch.clock import Kept
from accelwatch.journal import writer as module
from accelwatch.journal.changes import Changes
from accelwatch.journal.loaded import Loaded
from accelwatch.journal.reading import read_faults
from accelwatch.journal.rows import CounterRow, JournalError, NewerSchema
from accelwatch.journal.store import Store
from accelwatch.journal.writer import Writer
from journal_rows import WALL, cleared, episode, run


class Rig:
    """Writers that are ended after the test, and what they said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: list[str | None] = []
        self._writers: list[Writer] = []

    def start(self) -> tuple[Writer, Loaded]:
        writer = Writer(self.directory, self.said.append, wall=lambda: WALL + 60)
        loaded = writer.open()
        writer.start()
        self._writers.append(writer)
        return writer, loaded

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    def ids(self) -> list[int]:
        return [e.id for e in read_faults(self.directory, 0.0)]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "RETRY_LIMIT_SECONDS", 0.05)
    made = Rig(tmp_path / "state")
    yield made
    made.close()


def faults(*numbers: int) -> Changes:
    return Changes(episodes=[episode(n) for n in numbers])


def counter(total: float, raw: float | None = None) -> Changes:
    return Changes(counters=[CounterRow("GPU-1", "ecc", "hbm", total, raw)])


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "not within 5 s"
        time.sleep(0.01)


def totals(directory: Path) -> list[tuple[float, float | None]]:
    return [(row.total, row.raw) for row in Store(directory).load(WALL).counters]


def test_a_ticket_is_true_once_its_changes_are_in_the_file(rig: Rig) -> None:
    """Not before: another reader sees them."""
    writer, loaded = rig.start()
    assert loaded.first_start
    for number in range(1, 30):
        assert writer.put(faults(number)).wait(5.0)
        assert rig.ids()[-1] == number
    assert (writer.degraded, rig.said) == (False, [])


def test_nothing_to_write_waits_for_nothing(rig: Rig) -> None:
    """An empty change is on disk with those before it."""
    writer, _ = rig.start()
    assert writer.put(Changes()).wait(0.0)


def test_closing_writes_what_is_left(rig: Rig) -> None:
    """The last exposure of an agent that is stopped."""
    writer, _ = rig.start()
    for number in range(1, 200):
        writer.put(faults(number))
    writer.close()
    assert rig.ids() == list(range(1, 200))


class Gate:
    """Stands in `Store.write`, and lets nothing pass while it is shut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.opened.set()
        self.error: Exception | None = None
        self.commits = 0
        original = Store.write

        def write(store: Store, changes: Changes) -> None:
            self.opened.wait()
            if self.error is not None:
                raise self.error
            original(store, changes)
            self.commits += 1

        monkeypatch.setattr(Store, "write", write)


def test_a_slow_disk_holds_nobody_up_and_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes gather in memory, the newest row of each key stands, and one commit takes them all."""
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.1)
    gate = Gate(monkeypatch)
    writer, _ = rig.start()
    gate.opened.clear()
    first = writer.put(faults(1))
    soon(lambda: writer.degraded)
    started = time.monotonic()
    tickets = [writer.put(Changes(episodes=[episode(2, count=n)])) for n in range(100)]
    assert time.monotonic() - started < 0.1
    assert not first.wait(0.01)
    assert len(rig.said) == 1
    assert "under way for more than" in str(rig.said[0])
    gate.opened.set()
    assert all(ticket.wait(5.0) for ticket in (first, *tickets))
    assert [(e.id, e.count) for e in read_faults(rig.directory, 0.0)] == [(1, 1), (2, 99)]
    assert gate.commits == 2
    soon(lambda: rig.said[-1] is None)
    assert not writer.degraded


def test_a_failing_disk_is_known_at_once_and_what_was_held_is_written_in_one_commit(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault goes out unjournalled without waiting its half second; its ticket is true in the end."""
    gate = Gate(monkeypatch)
    writer, _ = rig.start()
    gate.error = JournalError("disk I/O error")
    started = time.monotonic()
    ticket = writer.put(faults(1).merge(counter(1.0)))
    assert not ticket.wait(5.0)
    assert time.monotonic() - started < 1.0
    assert writer.degraded
    for number in range(2, 50):
        writer.put(faults(number).merge(counter(float(number))))
    assert (gate.commits, len(rig.said)) == (0, 1)
    gate.error = None
    soon(lambda: not writer.degraded)
    assert ticket.wait(0.0)
    assert rig.ids() == list(range(1, 50))
    assert totals(rig.directory) == [(49.0, None)]
    assert (gate.commits, rig.said[-1]) == (1, None)


def test_what_is_held_has_a_bound_and_what_was_dropped_is_counted_and_never_said_to_be_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest cleared episodes go; active ones stay."""
    monkeypatch.setattr(module, "PENDING_EPISODES", 100)
    gate = Gate(monkeypatch)
    writer, _ = rig.start()
    assert writer.put(faults(1)).wait(5.0)
    before = writer.put(Changes())
    gate.error = JournalError("no space left on device")
    lost = writer.put(Changes(episodes=[cleared(n) for n in range(2, 62)]))
    soon(lambda: writer.degraded)
    writer.put(Changes(episodes=[episode(n) for n in range(62, 122)]))
    soon(lambda: writer.dropped == 20)
    gate.error = None
    soon(lambda: not writer.degraded)
    assert writer.put(faults(500)).wait(5.0)
    assert rig.ids() == [1, *range(22, 122), 500]
    assert (before.wait(0.0), lost.wait(0.0)) == (True, False)


def test_a_row_that_cannot_be_written_stops_no_other(rig: Rig) -> None:
    """Our own flaw is told, costs itself alone, and is not in the way again should the file be begun anew."""
    writer, _ = rig.start()
    poisoned = writer.put(
        Changes(
            episodes=[episode(1), episode(2, process="\ud800"), episode(3, pid=1 << 70)],
            cursors={"hccl_log": "\ud800", "kernel_log": "boot 17"},
            counters=counter(3.0).counters,
        )
    )
    assert not poisoned.wait(0.3)
    assert "a flaw in accelwatch" in str(rig.said[0])
    assert writer.dropped == 1
    assert writer.put(faults(4)).wait(5.0)
    assert (rig.ids(), totals(rig.directory)) == ([1, 3, 4], [(3.0, None)])
    for path in rig.directory.iterdir():
        path.unlink()
    ticket = writer.put(faults(5))
    soon(lambda: ticket.wait(0.0))
    assert rig.ids() == [1, 3, 4, 5]


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)
    return filler


def test_a_disk_that_gets_full_is_written_again_when_there_is_room(small_disk: Path, rig: Rig) -> None:
    """Real ENOSPC; not one acknowledged or held episode is missing."""
    rig.directory = small_disk / "state"
    writer, _ = rig.start()
    assert writer.put(faults(1)).wait(5.0)
    filler = fill(small_disk)
    numbers = range(2, 302)
    tickets = [writer.put(Changes(episodes=[episode(n, message="m" * 400)])) for n in numbers]
    assert not tickets[-1].wait(5.0)
    assert writer.degraded
    assert "full" in str(rig.said[0])
    filler.unlink()
    soon(lambda: not writer.degraded)
    assert tickets[-1].wait(5.0)
    assert rig.ids() == [1, *numbers]


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_an_agent_that_starts_on_a_disk_it_cannot_write_goes_on_from_what_it_can_read(
    small_disk: Path, rig: Rig, how: str
) -> None:
    """Counters do not begin at 0, numbers are not given twice, and the rows follow when the disk returns."""
    rig.directory = small_disk / "state"
    writer, _ = rig.start()
    assert writer.put(faults(7).merge(counter(5.0, 9.0))).wait(5.0)
    writer.close()
    filler = None
    if how == "full":
        filler = fill(small_disk)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    writer, loaded = rig.start()
    assert writer.degraded
    assert (loaded.next_episode_id, [e.id for e in loaded.episodes], loaded.first_start) == (8, [7], False)
    assert loaded.counters == [CounterRow("GPU-1", "ecc", "hbm", 5.0, 9.0)]
    ticket = writer.put(faults(8).merge(counter(6.0, 10.0)))
    assert not ticket.wait(0.1)
    if filler is not None:
        filler.unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    soon(lambda: ticket.wait(0.0))
    assert rig.ids() == [7, 8]
    assert totals(rig.directory) == [(6.0, 10.0)]


def away(rig: Rig) -> Path:
    """Takes the state directory away, with what is in it."""
    hidden = rig.directory.with_name("hidden")
    rig.directory.rename(hidden)
    rig.directory.write_text("a file where the directory should be")
    return hidden


def test_a_journal_that_turns_up_after_the_start_is_added_to_not_overwritten(rig: Rig) -> None:
    """Counters are summed, with what the device counted in between; episodes, labels and time keep apart."""
    store = Store(rig.directory)
    store.write(
        Changes(
            counters=[CounterRow("GPU-1", "ecc", "hbm", 5.0, 9.0), CounterRow("host", "ended", "x", 2.0, None)],
            episodes=[episode(7)],
            runs=[run("r1", started=WALL - 500)],
            states={"memory": b"{}"},
            clock=Kept("boot", 1000.0, 1500.0, WALL),
        )
    )
    store.close()
    hidden = away(rig)
    writer, loaded = rig.start()
    assert (loaded.counters, loaded.first_start, writer.degraded) == ([], True, True)
    first = loaded.next_episode_id
    assert first > 7
    writer.put(
        Changes(
            counters=[CounterRow("GPU-1", "ecc", "hbm", 1.0, 12.0), CounterRow("host", "ended", "x", 1.0, None)],
            episodes=[episode(first)],
            runs=[run("r1"), run("r2")],
            states={"memory": b'{"at": 3}'},
            clock=Kept("boot", 0.0, 600.0, WALL + 100),
        )
    )
    rig.directory.unlink()
    hidden.rename(rig.directory)
    soon(lambda: not writer.degraded)
    assert writer.put(counter(4.0, 15.0)).wait(5.0)
    writer.close()
    now = Store(rig.directory).load(WALL)
    # 5 before, 2 between 9 and 11 where our own count began, 4 since.
    assert {row.name: (row.total, row.raw) for row in now.counters} == {"ecc": (11.0, 15.0), "ended": (3.0, None)}
    assert [e.id for e in now.episodes] == [7, first]
    assert now.episodes[1].first_at == episode(first).first_at + 1000.0
    assert [(r.run_id, r.started) for r in now.runs] == [("r1", WALL - 500), ("r2", WALL)]
    assert now.states == {"memory": b"{}"}
    assert now.clock == Kept("boot", 1000.0, 1600.0, WALL + 100)


def test_an_agent_that_started_without_a_disk_writes_all_when_there_is_one(rig: Rig) -> None:
    """A state directory that cannot be made yet."""
    rig.directory.write_text("a file where the directory should be")
    writer, loaded = rig.start()
    assert loaded.first_start
    writer.put(counter(3.0, 4.0).merge(faults(loaded.next_episode_id)))
    rig.directory.unlink()
    soon(lambda: not writer.degraded)
    assert (rig.ids(), totals(rig.directory)) == ([loaded.next_episode_id], [(3.0, 4.0)])
    assert (len(rig.said), rig.said[-1]) == (2, None)


def test_a_damaged_file_is_moved_aside_at_the_start_and_said(rig: Rig) -> None:
    """The agent runs, and somebody can look at the file."""
    rig.directory.mkdir()
    for end in ("", "-wal", "-shm"):
        (rig.directory / f"journal.db{end}").write_bytes(b"rubbish " * 1000)
    writer, loaded = rig.start()
    assert loaded.first_start
    assert writer.put(faults(1)).wait(5.0)
    aside = f"journal.db.damaged-{int(WALL) + 60}"
    assert {f"{aside}{end}" for end in ("", "-wal", "-shm")} <= {path.name for path in rig.directory.iterdir()}
    assert aside in str(rig.said[0])
    assert rig.ids() == [1]


def test_a_file_that_breaks_while_the_agent_runs_is_begun_anew_with_all_that_goes_on(rig: Rig) -> None:
    """Counters, devices' states and active faults are in memory, so they are in the new file, changed or not."""
    writer, _ = rig.start()
    assert writer.put(
        Changes(
            counters=counter(5.0, 9.0).counters,
            episodes=[episode(1), cleared(2)],
            states={"memory": b"{}"},
            cursors={"kernel_log": "boot 17"},
            links=[("GPU-1", "nvlink0")],
        )
    ).wait(5.0)
    store = writer._store
    assert store is not None
    store._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = rig.directory / "journal.db"
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (path.stat().st_size - 100))
    store._open.execute("PRAGMA shrink_memory")
    assert writer.put(Changes(episodes=[episode(3)])).wait(5.0)
    writer.close()
    loaded = Store(rig.directory).load(WALL)
    assert [e.id for e in loaded.episodes] == [1, 3]
    assert [row.total for row in loaded.counters] == [5.0]
    assert (loaded.states, loaded.cursors) == ({"memory": b"{}"}, {"kernel_log": "boot 17"})
    assert loaded.links_seen_up == [("GPU-1", "nvlink0")]
    assert "journal.db.damaged-" in str(rig.said[0])


def test_a_file_that_somebody_deleted_is_made_again(rig: Rig) -> None:
    """With all that goes on; nothing is written into a file that has no name any more."""
    writer, _ = rig.start()
    assert writer.put(counter(5.0, 9.0).merge(faults(1))).wait(5.0)
    for path in rig.directory.iterdir():
        path.unlink()
    ticket = writer.put(faults(2))
    soon(lambda: ticket.wait(0.0))
    assert (rig.ids(), totals(rig.directory)) == ([1, 2], [(5.0, 9.0)])


def test_only_the_newest_damaged_files_are_kept(rig: Rig) -> None:
    """A dying disk must not be filled with copies."""
    rig.directory.mkdir()
    for number in range(6):
        (rig.directory / f"journal.db.damaged-{number}").write_bytes(b"old")
        (rig.directory / f"journal.db.damaged-{number}-wal").write_bytes(b"old")
    (rig.directory / "journal.db").write_bytes(b"rubbish " * 1000)
    rig.start()
    assert len(list(rig.directory.glob("journal.db.damaged-*[0-9]"))) == 3
    assert len(list(rig.directory.glob("journal.db.damaged-*-wal"))) <= 3


def test_a_newer_schema_is_refused(rig: Rig) -> None:
    """The agent does not start, and the file is as it was."""
    store = Store(rig.directory)
    store._open.execute("PRAGMA user_version=9")
    store.close()
    with pytest.raises(NewerSchema):
        rig.start()

"""Reading beside the writer: any state of the file, as anybody who may read it, without leaving a trace."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.journal.changes import Changes
from accelwatch.journal.reading import read_devices, read_faults, read_runs
from accelwatch.journal.rows import JournalError, NewerSchema
from accelwatch.journal.store import Store
from journal_rows import VERSION_1, WALL, cleared, ended, episode, run

READ = "import json, sys, pathlib; from accelwatch.journal.reading import read_faults; " + (
    "print(json.dumps([e.id for e in read_faults(pathlib.Path(sys.argv[1]), 0.0)]))"
)
OTHER_USER = 65534


def ids(directory: Path) -> list[int]:
    return [e.id for e in read_faults(directory, 0.0)]


def written(directory: Path) -> Store:
    store = Store(directory)
    store.write(Changes(episodes=[episode(1), cleared(2)], runs=[run("open"), ended("over", 5.0)]))
    return store


def files(directory: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in directory.iterdir()}


def as_other_user(directory: Path, group: int) -> list[int]:
    """What somebody reads who may write nothing of it."""
    done = subprocess.run(
        [
            "setpriv",
            f"--reuid={OTHER_USER}",
            f"--regid={group}",
            "--clear-groups",
            sys.executable,
            "-c",
            READ,
            str(directory),
        ],
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "agent"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: list[int] = json.loads(done.stdout)
    return result


def test_only_what_is_active_or_of_the_time_asked_for(tmp_path: Path) -> None:
    """`--since` leaves out what was over before."""
    written(tmp_path)
    assert [e.id for e in read_faults(tmp_path, WALL + 3)] == [1, 2]
    assert [e.id for e in read_faults(tmp_path, WALL + 4)] == [1]
    assert [r.run_id for r in read_runs(tmp_path, WALL + 6)] == ["open"]
    assert [r.run_id for r in read_runs(tmp_path, WALL)] == ["open", "over"]


def test_each_read_sees_whole_commits_while_the_agent_writes(tmp_path: Path) -> None:
    """Two episodes of one commit are there together, and no reader ever fails or holds the writer up."""
    store = written(tmp_path)
    stop = threading.Event()
    failures: list[str] = []

    def read_on() -> None:
        while not stop.is_set():
            found = set(ids(tmp_path))
            failures.extend(f"{n} without {n + 1}" for n in found if n % 2 and n > 2 and n + 1 not in found)

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(3, 203, 2):
        store.write(Changes(episodes=[episode(number), episode(number + 1)]))
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert ids(tmp_path) == list(range(1, 203))


def test_an_agent_that_has_ended_is_read_and_nothing_is_made(tmp_path: Path) -> None:
    """The side files of a WAL journal are not created by a reader, who may be root where the agent is not."""
    written(tmp_path).close()
    before = files(tmp_path)
    assert set(before) == {"journal.db"}
    assert ids(tmp_path) == [1, 2]
    assert files(tmp_path) == before


def test_an_agent_that_was_killed_is_read_with_what_it_committed_last(tmp_path: Path) -> None:
    """The last commits are in the WAL only, with or without its index."""
    store = written(tmp_path / "live")
    for with_index in (True, False):
        dead = tmp_path / f"dead-{with_index}"
        shutil.copytree(tmp_path / "live", dead)
        if not with_index:
            (dead / "journal.db-shm").unlink()
        before = files(dead)
        assert ids(dead) == [1, 2]
        assert files(dead) == before
    store.close()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A state directory that a group may read; the way to it is open."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user")
    base = Path("/tmp") / f"accelwatch-test-{os.getpid()}"
    base.mkdir(mode=0o755)
    yield base / "state"
    shutil.rmtree(base)


@pytest.mark.parametrize("state", ["running", "ended", "killed"])
def test_a_user_of_the_agents_group_reads_it(shared: Path, state: str) -> None:
    """Who may read but not write, whatever the agent does at that time; others may not."""
    store = written(shared)
    if state == "ended":
        store.close()
    elif state == "killed":
        (shared / "journal.db-shm").unlink()
    for path in (shared, *shared.iterdir()):
        os.chown(path, 0, OTHER_USER)
    if not os.access(sys.executable, os.X_OK) or not _can_run_python():
        pytest.skip("another user cannot run this Python")
    assert as_other_user(shared, OTHER_USER) == [1, 2]
    with pytest.raises(AssertionError, match="run this as root or in the agent's group"):
        as_other_user(shared, OTHER_USER - 1)


def _can_run_python() -> bool:
    agent = str(Path(__file__).parents[2] / "agent")
    command = ["setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups", sys.executable, "-c"]
    done = subprocess.run([*command, "import accelwatch, msgspec"], env={"PYTHONPATH": agent}, check=False, timeout=30)
    return done.returncode == 0


@pytest.mark.parametrize("state", ["ended", "killed", "killed without index"])
def test_a_read_only_file_system_is_read(small_disk: Path, tmp_path: Path, state: str) -> None:
    """A disk that the kernel has remounted read-only is when somebody asks."""
    store = written(tmp_path / "live")
    if state == "ended":
        store.close()
    shutil.copytree(tmp_path / "live", small_disk / "state")
    if state == "killed without index":
        (small_disk / "state/journal.db-shm").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert ids(small_disk / "state") == [1, 2]


def test_the_journal_of_an_older_agent_has_devices_and_no_faults(tmp_path: Path) -> None:
    """An update of the commands comes before the agent's restart."""
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.executescript(f"{VERSION_1} PRAGMA user_version=1;")
    db.close()
    assert (ids(tmp_path), read_runs(tmp_path, 0.0), read_devices(tmp_path)) == ([], [], [])


def test_a_journal_that_is_not_there_or_newer_is_said(tmp_path: Path) -> None:
    """No journal is not the same as no faults."""
    with pytest.raises(JournalError, match="has an agent run on this node"):
        ids(tmp_path)
    assert list(tmp_path.iterdir()) == []
    store = Store(tmp_path)
    store._open.execute("PRAGMA user_version=9")
    with pytest.raises(NewerSchema):
        ids(tmp_path)


def test_a_path_with_signs_of_an_address_is_a_path(tmp_path: Path) -> None:
    """The file is opened by a URI."""
    directory = tmp_path / "a?b#c%20d"
    written(directory).close()
    assert ids(directory) == [1, 2]

"""Log files are followed from their end, over rotation, truncation and restarts; nothing is read twice or skipped."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelwatch.config import parse
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources import hccl_log
from accelwatch.sources.base import Presence
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.hccl_log import HcclLog
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.registry import BUILDERS, Surroundings
from support import FakeClock


def line(rank: int) -> str:
    """A line whose rank tells it from others."""
    return (
        f"[rank{rank}]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum={rank}, OpType=ALLREDUCE, "
        "Timeout(ms)=600000) ran for 600020 milliseconds before timing out.\n"
    )


class Follower:
    """A source with the memory of a journal: `restart` gives back the last cursor."""

    def __init__(self, *paths: object) -> None:
        self.paths = tuple(map(str, paths))
        self.cursor: str | None = None
        self.source = HcclLog(paths=self.paths, clock=FakeClock())

    def poll(self) -> Snapshot:
        snapshot = self.source.poll()
        self.cursor = snapshot.cursor if snapshot.cursor is not None else self.cursor
        return snapshot

    def ranks(self) -> list[int | None]:
        return [event.rank for event in self.poll().events]

    def restart(self) -> None:
        self.source.close()
        self.source = HcclLog(paths=self.paths, clock=FakeClock(), cursor=self.cursor)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_what_was_there_before_is_not_told(tmp_path: Path) -> None:
    """A file that exists at the first start is followed from its end, one that appears later from its start."""
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    old.write_text(line(1))
    follower = Follower(tmp_path / "*.log")
    assert follower.ranks() == []
    append(old, line(2))
    new.write_text(line(3))
    assert sorted(follower.ranks()) == [2, 3]
    assert follower.ranks() == []


def test_an_event_has_its_file_time_and_process(tmp_path: Path) -> None:
    """The pid of a plog stands in its name where the line has none."""
    follower = Follower(tmp_path / "**" / "plog-*.log")
    follower.poll()
    path = tmp_path / "rank0" / "debug" / "plog" / "plog-4242_20260318103352113.log"
    path.parent.mkdir(parents=True)
    path.write_text(
        "[ERROR] HCCL(77,python3):2026-03-18-10:33:52.113.403 [a.cc:1] [1][Heartbeat]cqe err status[12], ip:[1.1.1.1]\n"
        "[rank3]: RuntimeError: EI0002: The wait execution of the Notify register times out\n"
    )
    first, second = follower.poll().events
    assert (first.kind, first.pid, first.process, first.file) == ("hccl_cqe", 77, "python3", str(path))
    assert first.wall == pytest.approx(time.mktime((2026, 3, 18, 10, 33, 52, 0, 0, -1)) + 0.113)
    assert (second.code, second.pid, second.wall) == ("EI0002", 4242, None)


def test_a_line_waits_for_its_end(tmp_path: Path) -> None:
    """Writers write in pieces."""
    path = tmp_path / "a.log"
    path.write_text("")
    follower = Follower(path)
    follower.poll()
    text = line(5)
    append(path, text[:40])
    assert follower.ranks() == []
    follower.restart()
    append(path, text[40:-1])
    assert follower.ranks() == []
    append(path, "\n")
    assert follower.ranks() == [5]


def test_over_a_restart_nothing_is_read_twice_or_skipped(tmp_path: Path) -> None:
    """Files that appeared meanwhile are read from their start."""
    path, later = tmp_path / "a.log", tmp_path / "b.log"
    path.write_text(line(1))
    follower = Follower(tmp_path / "*.log")
    follower.poll()
    append(path, line(2))
    assert follower.ranks() == [2]
    follower.restart()
    assert follower.ranks() == []
    follower.restart()
    append(path, line(3))
    later.write_text(line(4))
    assert sorted(follower.ranks()) == [3, 4]
    follower.restart()
    assert follower.ranks() == []


def test_a_rotated_file_is_read_to_its_end(tmp_path: Path) -> None:
    """Its writer goes on in it for a while; under its new name it is not read again."""
    for pattern in ("a.log", "a.log*"):
        folder = tmp_path / pattern.replace("*", "x")
        folder.mkdir()
        path = folder / "a.log"
        path.write_text("begin\n" + line(1))
        follower = Follower(folder / pattern)
        follower.poll()
        append(path, line(2))
        assert follower.ranks() == [2]
        with path.open("a") as writer:
            path.rename(folder / "a.log.1")
            path.write_text(line(3))
            writer.write(line(4))
            writer.flush()
            assert sorted(follower.ranks()) == [3, 4]
            writer.write(line(5))
        assert follower.ranks() == [5]
        append(path, line(6))
        assert follower.ranks() == [6]


def test_a_file_that_was_rotated_while_the_agent_was_down_is_known_again(tmp_path: Path) -> None:
    """By its inode."""
    path = tmp_path / "a.log"
    path.write_text(line(1))
    follower = Follower(tmp_path / "a.log*")
    follower.poll()
    append(path, line(2))
    path.rename(tmp_path / "a.log.1")
    path.write_text(line(3))
    follower.restart()
    assert sorted(follower.ranks()) == [2, 3]


def test_a_truncated_file_is_read_from_its_start(tmp_path: Path) -> None:
    """Also when it has grown beyond its former length by the next poll."""
    path = tmp_path / "a.log"
    path.write_text("x" * 100 + "\n" + line(1))
    follower = Follower(path)
    follower.poll()
    path.write_text(line(2))
    assert follower.ranks() == [2]
    path.write_text("other\n" + line(3) * 10)
    assert follower.ranks() == [3] * 10


def test_a_copy_that_a_rotation_leaves_is_not_read_again(tmp_path: Path) -> None:
    """logrotate's copytruncate copies the file, then empties it."""
    path = tmp_path / "a.log"
    path.write_text("the head of this log\n" * 20 + line(1))
    follower = Follower(tmp_path / "a.log*")
    follower.poll()
    append(path, line(2))
    assert follower.ranks() == [2]
    shutil.copy(path, tmp_path / "a.log.1")
    path.write_text("")
    assert follower.ranks() == []
    append(path, line(3))
    assert follower.ranks() == [3]


def test_a_new_file_with_the_same_banner_is_no_copy(tmp_path: Path) -> None:
    """All ranks of a job begin their logs alike."""
    banner = "the banner of a training framework\n" * 20
    (tmp_path / "rank0.log").write_text(banner)
    follower = Follower(tmp_path / "*.log")
    follower.poll()
    append(tmp_path / "rank0.log", "step 1\n" * 100 + line(0))
    assert follower.ranks() == [0]
    (tmp_path / "rank1.log").write_text(banner + "step 1\n" * 100 + line(1) + "step 2\n" * 100)
    assert follower.ranks() == [1]


def test_a_deleted_file_is_read_to_its_end_and_let_go(tmp_path: Path) -> None:
    """Its space is the disk's again."""
    path = tmp_path / "a.log"
    path.write_text("")
    follower = Follower(path)
    append(path, line(1))
    follower.poll()
    append(path, line(2))
    follower.poll()
    append(path, line(3))
    path.unlink()
    assert follower.ranks() == [3]
    for _ in range(hccl_log.GONE_POLLS + 1):
        assert follower.ranks() == []
    held = {os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if _is_link(number)}
    assert not any(str(path) in target for target in held)
    path.write_text(line(4))
    assert follower.ranks() == [4]


def _is_link(number: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{number}")


def test_an_inode_used_again_is_another_file(tmp_path: Path) -> None:
    """File systems reuse them at once: the first bytes tell."""
    path = tmp_path / "a.log"
    path.write_text("first job\n" + line(1) * 3)
    follower = Follower(path)
    follower.poll()
    follower.source.close()
    path.unlink()
    path.write_text("second job\n" + line(2) * 9)
    follower.restart()
    assert follower.ranks() == [2] * 9


def test_endless_lines_and_rubbish_are_bounded(tmp_path: Path) -> None:
    """A line beyond the limit is passed over, its successor is read."""
    path = tmp_path / "a.log"
    path.write_text("")
    follower = Follower(path)
    follower.poll()
    with path.open("ab") as file:
        file.write(b"\0\xff" * (3 << 20) + line(1).encode() + b"\r50%\r" + line(2).encode())
    ranks: list[int | None] = []
    for _ in range(10):
        ranks += follower.ranks()
    assert ranks == [2]


def test_a_flood_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll has a bound; what is left comes with the next, over a restart too."""
    monkeypatch.setattr(hccl_log, "POLL_EVENTS", 10)
    path = tmp_path / "a.log"
    path.write_text("")
    follower = Follower(path)
    follower.poll()
    append(path, "".join(line(number) for number in range(95)))
    ranks: list[int | None] = []
    for _ in range(12):
        got = follower.ranks()
        assert len(got) <= 11
        ranks += got
        follower.restart()
    assert ranks == list(range(95))


def test_thousands_of_files_cost_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are held open, an idle poll reads none, and none is forgotten."""
    monkeypatch.setattr(hccl_log, "OPEN_LIMIT", 8)
    monkeypatch.setattr(hccl_log, "FILES_LIMIT", 300)
    for number in range(250):
        (tmp_path / f"plog-{number}_1.log").write_text(f"job {number}\n")
    follower = Follower(tmp_path / "plog-*.log")
    before = len(os.listdir("/proc/self/fd"))
    follower.poll()
    opened: list[object] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda *arguments, **named: opened.append(arguments) or real(*arguments, **named))
    assert follower.poll().cursor is None
    assert opened == []
    for number in range(250):
        append(tmp_path / f"plog-{number}_1.log", line(number))
    assert sorted(rank for rank in follower.ranks() if rank is not None) == list(range(250))
    assert len(os.listdir("/proc/self/fd")) - before <= 9
    for number in range(250, 500):  # more than are taken in: the newest are, and no position is lost
        (tmp_path / f"plog-{number}_1.log").write_text(line(number))
    follower.poll()
    follower.poll()
    append(tmp_path / "plog-7_1.log", line(7))
    assert 7 in follower.ranks()
    assert follower.ranks() == []


def test_what_cannot_be_read_is_a_problem_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first file's name and reason."""
    bad, good = tmp_path / "bad.log", tmp_path / "good.log"
    bad.write_text("")
    good.write_text("")
    follower = Follower(tmp_path / "*.log")
    follower.poll()
    real = os.open

    def refuse(path: str, *arguments: int) -> int:
        if "bad" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments)

    follower.source.close()
    monkeypatch.setattr(os, "open", refuse)
    append(bad, line(1))
    append(good, line(2))
    snapshot = follower.poll()
    assert [event.rank for event in snapshot.events] == [2]
    assert snapshot.problems == (f"1 log files cannot be read, first {bad}: Permission denied",)
    monkeypatch.setattr(os, "open", real)
    assert follower.ranks() == [1]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A FIFO would block, a folder is none, packed ones are of the past."""
    os.mkfifo(tmp_path / "a.log")
    (tmp_path / "b.log").mkdir()
    follower = Follower(tmp_path / "*")
    follower.poll()
    (tmp_path / "c.log.gz").write_text(line(1))
    (tmp_path / "d.log").symlink_to(tmp_path / "nowhere")
    snapshot = follower.poll()
    assert (snapshot.events, snapshot.problems) == ((), ())


@pytest.mark.parametrize("cursor", ["", "rubbish", "[[1,2]]", '{"a":1}', "[]"])
def test_a_cursor_of_another_version_is_none(tmp_path: Path, cursor: str) -> None:
    """It is a first start again, not an error."""
    path = tmp_path / "a.log"
    path.write_text(line(1))
    source = HcclLog(paths=[str(path)], clock=FakeClock(), cursor=cursor)
    assert len(source.poll().events) == (1 if cursor == "[]" else 0)


def test_the_source_is_there_when_patterns_are_configured() -> None:
    """The files may come later."""
    assert HcclLog(paths=[], clock=FakeClock()).presence() is Presence.ABSENT
    assert HcclLog(paths=["/nowhere/*.log"], clock=FakeClock()).presence() is Presence.PRESENT
    assert HcclLog(paths=["/nowhere/*.log"], clock=FakeClock()).poll() == Snapshot(cursor="[]")
    assert parse("sources: {hccl_log: {paths: [/a/*.log]}}", "x").sources.hccl_log.paths == ("/a/*.log",)


def test_the_agent_gives_back_its_cursor(tmp_path: Path) -> None:
    """As the journal kept it."""
    path = tmp_path / "a.log"
    path.write_text("")
    follower = Follower(path)
    follower.poll()
    append(path, line(1))
    cursors = {"hccl_log": follower.cursor or ""}
    runner = ToolRunner()
    around = Surroundings(FakeClock(), runner, LocalReads(runner), list, lambda _records: None, cursors=cursors)
    source = BUILDERS["hccl_log"](parse(f"sources: {{hccl_log: {{paths: [{path}]}}}}", "x").sources, around)
    assert [event.rank for event in source.poll().events] == [1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["write", "part", "poll", "restart", "rotate", "new"]), max_size=40))
def test_every_line_is_told_exactly_once(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """In any order of writing, polling, restarting and rotating."""
    folder = tmp_path_factory.mktemp("logs")
    follower = Follower(folder / "*.log*")
    follower.poll()
    path = folder / "0.log"
    path.write_text("head 0\n")
    written, got, pending = 0, [], ""
    for number, step in enumerate(steps, 1):
        if step == "write":
            append(path, pending + line(written))
            pending, written = "", written + 1
        elif step == "part" and not pending:
            text = line(written)
            append(path, text[:50])
            pending, written = text[50:], written + 1
        elif step == "poll":
            got += follower.ranks()
        elif step == "restart":
            follower.restart()
        elif step in ("rotate", "new"):
            append(path, pending)
            pending = ""
            if step == "rotate":
                path.rename(folder / f"{path.name}.{number}")
            else:
                path = folder / f"{number}.log"
            path.write_text(f"head {number}\n")
    append(path, pending)
    got += follower.ranks()
    follower.source.close()
    assert sorted(rank for rank in got if rank is not None) == list(range(written))

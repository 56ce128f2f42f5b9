"""How a vendor tool is started: what it inherits, and which lock its turn is."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest

from accelwatch.sources.base import SourceTimeout
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.tool_child import ToolChild


def output_of(argv: list[str], environment: dict[bytes, bytes]) -> tuple[str, int | None]:
    child = ToolChild(argv, environment)
    try:
        assert child.wait(10)
        return os.read(child.streams[0], 1 << 16).decode(), child.status
    finally:
        child.close()


def test_a_tool_has_three_descriptors_the_default_signals_and_a_session_of_its_own() -> None:
    held = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(held, True)  # as what the agent was started with is
    script = "readlink /proc/$$/fd/0; grep SigIgn /proc/$$/status; ps -o sid= -p $$; echo $$"
    try:
        descriptors, _ = output_of(["/bin/ls", "/proc/self/fd"], {})
        text, status = output_of(["/bin/sh", "-c", script], {b"PATH": os.environb[b"PATH"], b"A": b"b"})
    finally:
        os.close(held)
    stdin, ignored, session, pid = text.splitlines()
    assert descriptors.split() == ["0", "1", "2", "3"]  # the last is the folder
    assert stdin == "/dev/null"
    python = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    assert int(ignored.split()[1], 16) & python == 0
    assert session.strip() == pid
    assert status == 0


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("kill -9 $$", -9)])
def test_how_it_ended_is_told(script: str, status: int) -> None:
    assert output_of(["/bin/sh", "-c", script], {}) == ("", status)


def test_where_sigchld_is_ignored_its_output_is_still_had() -> None:
    """As whoever started us may have set it: ignored signals outlive an exec."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert output_of(["/bin/echo", "x"], {}) == ("x\n", 0)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_one_that_cannot_be_started_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        ToolChild([str(tmp_path / "nothing")], {})
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_second_pipe_that_cannot_be_had_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each call would bring an agent that is short of descriptors nearer to its end."""
    pipe, before, made = os.pipe, len(os.listdir("/proc/self/fd")), []

    def once() -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(pipe())
        return made[0]

    monkeypatch.setattr(os, "pipe", once)
    with pytest.raises(OSError, match="Too many open files"):
        ToolChild(["/bin/echo"], {})
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_lock_is_that_of_the_file_a_link_leads_to_now(tmp_path: Path) -> None:
    """An upgrade moves the link; whoever starts afterwards takes the new tool's lock, and so must we."""
    for name in ("old", "new"):
        (tmp_path / name).write_text("#!/bin/sh\necho $0\n")
        (tmp_path / name).chmod(0o755)
    link, locks = tmp_path / "npu-smi", tmp_path / "locks"
    locks.mkdir()
    link.symlink_to("old")
    runner = ToolRunner(locks)
    for _ in range(2):
        runner.run([str(link)], 10)
    (old,) = locks.iterdir()
    (tmp_path / "moved").symlink_to("new")
    (tmp_path / "moved").rename(link)
    ToolRunner(locks).run([str(link)], 10)
    (new,) = set(locks.iterdir()) - {old}
    with new.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SourceTimeout, match="another process on this host kept using it"):
            runner.run([str(link)], 0.1)


def test_a_lock_that_was_swept_away_is_made_again(tmp_path: Path) -> None:
    runner = ToolRunner(tmp_path)
    for _ in range(2):
        assert runner.run(["/bin/echo", "x"], 10).stdout == "x\n"
        (lock,) = tmp_path.iterdir()
        lock.unlink()

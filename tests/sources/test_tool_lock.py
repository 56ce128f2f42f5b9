"""The lock file of a vendor tool lies where everybody may write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from accelwatch.sources.commands import ToolRunner


def test_a_file_that_another_user_puts_there_meanwhile_keeps_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to a file of root's, say, between the look for the lock and its making; the tool runs under it."""
    opened = os.open
    put: list[Path] = []

    def put_before_it_is_made(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and not put:
            put.append(Path(path))
            os.close(opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", put_before_it_is_made)
    assert ToolRunner(tmp_path).run(["/bin/echo", "ran"], 20.0).stdout == "ran\n"
    assert [stat.S_IMODE(path.stat().st_mode) for path in put] == [0o600]


def test_one_that_it_makes_is_for_everybody(tmp_path: Path) -> None:
    ToolRunner(tmp_path).run(["/bin/echo"], 20.0)
    (lock,) = tmp_path.iterdir()
    assert stat.S_IMODE(lock.stat().st_mode) == 0o666

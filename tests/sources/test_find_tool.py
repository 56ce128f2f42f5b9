"""Where a vendor tool is looked for, and how often."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from accelwatch.sources import commands
from accelwatch.sources.commands import find_tool


def tool(directory: Path) -> str:
    directory.mkdir(exist_ok=True)
    path = directory / "hccn_tool"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_as_configured_else_on_the_path_else_as_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "a"))
    installed = str(tmp_path / "b" / "hccn_tool")
    assert find_tool("hccn_tool", "/own/hccn_tool", [installed]) == "/own/hccn_tool"
    assert find_tool("hccn_tool", None, [installed]) is None
    monkeypatch.setenv("PATH", str(tmp_path / "c"))
    tool(tmp_path / "b")
    assert find_tool("hccn_tool", None, [installed]) == installed
    on_path = tool(tmp_path / "c")
    monkeypatch.setenv("PATH", f"{tmp_path / 'a'}:{tmp_path / 'c'}")
    assert find_tool("hccn_tool", None, [installed]) == on_path


def test_it_is_looked_for_once_in_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes, goes or is replaced is seen then."""
    now, looked, which = [1000.0], [], shutil.which
    monkeypatch.setattr(commands.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(shutil, "which", lambda name: looked.append(name) or which(name))
    monkeypatch.setenv("PATH", str(tmp_path / "a"))
    monkeypatch.setattr(commands, "_found", {})
    assert [find_tool("hccn_tool", None, []) for _ in range(3)] == [None] * 3
    path = tool(tmp_path / "a")
    now[0] += commands.FOUND_SECONDS + 0.1
    assert [find_tool("hccn_tool", None, []) for _ in range(3)] == [path] * 3
    assert len(looked) == 2
    assert find_tool("npu-smi", None, []) is None, "another tool is looked for by itself"
    Path(path).unlink()
    now[0] += commands.FOUND_SECONDS + 0.1
    assert find_tool("hccn_tool", None, []) is None

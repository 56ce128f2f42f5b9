"""One command: what it is given, how it ends, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from accelwatch.remediation.child import OUTPUT_LIMIT_BYTES, ChildRunner, Ended
from accelwatch.remediation.trust import problem


def script(directory: Path, text: str, name: str = "hook") -> str:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def run(directory: Path, text: str, document: bytes = b"{}\n", seconds: float = 20.0) -> Ended:
    return ChildRunner().run([script(directory, text), "a b", "$HOME"], document, seconds, lambda: False)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"


def test_it_gets_the_fault_its_arguments_and_a_bare_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell reads the arguments; nothing of the agent's environment is in its own; the whole of a long document."""
    monkeypatch.setenv("ACCELWATCH_HELPER", "/run/x.sock")
    document = json.dumps({"message": "m" * 200_000}).encode()
    out = tmp_path / "out"
    ended = run(tmp_path, f'cat > {out}.json; printf "%s|" "$@" > {out}.args; env > {out}.env; pwd >&2', document)
    assert ended == Ended(status=0, stderr="/")
    assert Path(f"{out}.json").read_bytes() == document
    assert Path(f"{out}.args").read_text() == "a b|$HOME|"
    names = {line.partition("=")[0] for line in Path(f"{out}.env").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "LC_ALL", "HOME"}


def test_a_status_and_the_end_of_what_it_said_are_kept(tmp_path: Path) -> None:
    ended = run(tmp_path, "seq 1 2000 >&2; echo 'slurm_update error: Invalid user id' >&2; exit 3")
    assert (ended.status, ended.error, ended.timed_out) == (3, "exit status 3", False)
    assert ended.stderr.endswith("2000\nslurm_update error: Invalid user id")
    assert len(ended.stderr) <= 2000
    assert run(tmp_path, "kill -9 $$").error == "ended by signal 9"


def test_what_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    ended = run(tmp_path, f"sleep 100 & echo $$ $! > {pids}; trap '' TERM; echo waiting >&2; wait", seconds=0.5)
    assert (ended.timed_out, ended.error, ended.stderr) == (True, "no end within 0.5 s, killed", "waiting")
    assert time.monotonic() - began < 10
    deadline = time.monotonic() + 5
    while any(alive(int(pid)) for pid in pids.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(alive(int(pid)) for pid in pids.read_text().split())


def test_what_it_leaves_behind_is_not_waited_for_and_killed(tmp_path: Path) -> None:
    """A child of it that holds the pipe open."""
    pid = tmp_path / "pid"
    began = time.monotonic()
    assert run(tmp_path, f"sleep 100 & echo $! > {pid}").status == 0
    assert time.monotonic() - began < 10
    deadline = time.monotonic() + 5
    while alive(int(pid.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(int(pid.read_text()))


def test_a_flood_ends_it(tmp_path: Path) -> None:
    ended = run(tmp_path, "while :; do echo a long line of nothing at all; done >&2")
    assert ended.error == f"printed more than {OUTPUT_LIMIT_BYTES} bytes, killed"
    assert len(ended.stderr) <= 2000


def test_an_agent_that_ends_takes_it_along(tmp_path: Path) -> None:
    ended = ChildRunner().run([script(tmp_path, "exec sleep 100")], b"", 60, lambda: True)
    assert ended.error == "the agent was stopped, killed"
    assert ended.status == -9


def test_one_that_closes_its_errors_and_goes_on_is_waited_for(tmp_path: Path) -> None:
    assert run(tmp_path, "exec 2>&-; sleep 0.3; exit 4").status == 4


# --- what is not run at all


def test_what_is_wrong_with_a_file_is_said_and_it_is_not_run(tmp_path: Path) -> None:
    good = Path(script(tmp_path, f"touch {tmp_path}/ran"))
    assert problem(str(good)) is None
    good.chmod(0o644)
    assert "not executable" in (problem(str(good)) or "")
    good.chmod(0o775)
    assert "writable by others" in (problem(str(good)) or "")
    good.chmod(0o757)
    ended = ChildRunner().run([str(good)], b"", 5, lambda: False)
    assert (ended.status, "writable by others" in (ended.error or "")) == (None, True)
    good.chmod(0o755)
    assert "No such file" in (problem(str(tmp_path / "none")) or "")
    assert "no regular file" in (problem(str(tmp_path)) or "")
    tmp_path.chmod(0o777)
    assert f"{tmp_path} is writable by everybody" in (problem(str(good)) or "")
    tmp_path.chmod(0o700)
    assert not (tmp_path / "ran").exists()
    link = tmp_path / "link"
    link.symlink_to(good)
    good.chmod(0o777)
    assert "writable by others" in (problem(str(link)) or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_run(tmp_path: Path) -> None:
    good = script(tmp_path, "true")
    os.chown(good, 12345, 0)
    assert "belongs to user 12345" in (problem(good) or "")


def test_what_cannot_be_executed_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("no program")
    broken.chmod(0o755)
    ended = ChildRunner().run([str(broken)], b"", 5, lambda: False)
    assert ended.status is None
    assert ended.error == f"{broken}: cannot be started: Exec format error"

"""The shipped examples: what slurm-drain asks of a scontrol that only notes it, and the way over a root unit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from accelwatch.faults.shown import shown
from journal_rows import episode

EXAMPLES = Path(__file__).parents[2] / "systemd" / "examples"
SINFO = """#!/bin/sh
echo "sinfo $*" >> {calls}
[ -e {down} ] && {{ echo "slurm_load_node: Unable to contact slurm controller" >&2; exit 1; }}
cat {drained}
"""
SCONTROL = """#!/bin/sh
printf 'scontrol' >> {calls}
printf ' [%s]' "$@" >> {calls}
echo >> {calls}
[ -e {refuse} ] && {{ echo "slurm_update error: Invalid user id" >&2; exit 1; }}
exit 0
"""


class Slurm:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        names = {name: str(directory / name) for name in ("calls", "down", "drained", "refuse")}
        (directory / "drained").touch()
        for name, text in (("sinfo", SINFO), ("scontrol", SCONTROL)):
            (directory / name).write_text(text.format(**names))
            (directory / name).chmod(0o755)

    def drained(self, *lines: str) -> None:
        (self.directory / "drained").write_text("".join(f"{line}\n" for line in lines))

    def calls(self, tool: str = "scontrol") -> list[str]:
        path = self.directory / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(tool)]

    def drain(self, document: bytes | dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        argv = [str(EXAMPLES / "slurm-drain"), "-n", "gpu-007", *arguments]
        path = {"PATH": f"{self.directory}:{Path(sys.executable).parent}:/usr/bin:/bin", "LC_ALL": "C"}
        done = subprocess.run(argv, input=text, capture_output=True, env=path, check=False, timeout=60)
        return subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


def fault(**changes: Any) -> dict[str, Any]:
    """As the command gets it."""
    return {**msgspec.to_builtins(shown(episode(12))), "node": "gpu-007.example", "id": 12, **changes}


def test_a_fault_drains_the_node_with_its_reason(slurm: Slurm) -> None:
    done = slurm.drain(fault())
    assert (done.returncode, done.stdout) == (0, "")
    reason = "accelwatch: mem_uncorrectable nvidia 3 code 48 (fault 12)"
    assert slurm.calls() == [f"scontrol [update] [NodeName=gpu-007] [State=DRAIN] [Reason={reason}]"]
    assert done.stderr == f"drained gpu-007: {reason}\n"
    (asked,) = slurm.calls("sinfo")
    assert "--states=drain" in asked


def test_what_others_wrote_gives_no_other_argument_and_no_other_node(slurm: Slurm) -> None:
    words = {"code": "48\nNodeName=ALL State=DOWN $(reboot) ;'\"", "device": None, "node": "all"}
    assert slurm.drain(fault(**words)).returncode == 0
    (call,) = slurm.calls()
    assert call.startswith("scontrol [update] [NodeName=gpu-007] [State=DRAIN] [Reason=accelwatch: ")
    assert re.fullmatch(r"[A-Za-z0-9 ._:()/?=\[\]-]+", call)
    assert "NodeName?ALL" in call


def test_a_drill_drains_nothing_and_asks_whether_slurm_answers(slurm: Slurm) -> None:
    done = slurm.drain(fault(drill=True))
    assert (done.returncode, slurm.calls()) == (0, ["scontrol [show] [node] [gpu-007]"])
    assert done.stderr.startswith("drill: would drain gpu-007: ")


def test_a_node_that_is_drained_already_keeps_its_reason(slurm: Slurm) -> None:
    slurm.drained("gpu-0071 accelwatch: x", "gpu-007 waits for a new board")
    done = slurm.drain(fault())
    assert (done.returncode, slurm.calls(), done.stderr) == (0, [], "gpu-007 is drained already\n")


def test_the_fleets_breaker_counts_what_accelwatch_has_drained(slurm: Slurm) -> None:
    """A node in two partitions is one; what others have drained is none."""
    slurm.drained("a accelwatch: 1", "b accelwatch: 2", "b accelwatch: 2", "c not accelwatch: by hand", "d")
    done = slurm.drain(fault(), "-m", "2")
    assert (done.returncode, slurm.calls()) == (75, [])
    assert "2 nodes are drained by accelwatch already, 2 at most" in done.stderr
    assert slurm.drain(fault(), "-m", "3").returncode == 0


def test_without_an_answer_of_slurm_nothing_is_drained_and_a_refusal_is_told(slurm: Slurm) -> None:
    (slurm.directory / "down").touch()
    done = slurm.drain(fault())
    assert done.returncode != 0
    assert (slurm.calls(), "Unable to contact" in done.stderr) == ([], True)
    (slurm.directory / "down").unlink()
    (slurm.directory / "refuse").touch()
    done = slurm.drain(fault())
    assert (done.returncode, "Invalid user id" in done.stderr) == (1, True)


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"root:x:0:0", b'{"class": 1, "id": "x"}'], ids=repr)
def test_what_is_no_fault_drains_nothing_and_is_not_repeated(slurm: Slurm, document: bytes) -> None:
    """The root unit reads what the agent's user wrote: perhaps a link to what only root may read."""
    done = slurm.drain(document)
    assert done.returncode != 0
    assert (slurm.calls(), slurm.calls("sinfo")) == ([], [])
    assert done.stderr.startswith("standard input is no fault of accelwatch: ")
    assert "root:x" not in done.stderr


# --- over a root unit


def unit(file: Path, status: Path, ends: str) -> list[bytes]:
    """Does what accelwatch-drain.path and its service do."""
    got: list[bytes] = []

    def serve() -> None:
        deadline = time.monotonic() + 20
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        got.append(file.read_bytes())
        status.write_text(f"{ends}\n")
        file.unlink()

    threading.Thread(target=serve, daemon=True).start()
    return got


@pytest.mark.parametrize(("ends", "expected"), [("0", 0), ("75", 1), ("TERM", 1)])
def test_hand_over_ends_as_the_unit_does(tmp_path: Path, ends: str, expected: int) -> None:
    file, status = tmp_path / "drain.json", tmp_path / "status"
    got = unit(file, status, ends)
    argv = [str(EXAMPLES / "hand-over"), str(file), str(status)]
    done = subprocess.run(argv, input=b'{"id": 12}\n', capture_output=True, check=False, timeout=60)
    assert (done.returncode, got) == (expected, [b'{"id": 12}\n'])
    assert (b"ended with " + ends.encode() in done.stderr) is bool(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["status"]


def test_the_units_name_the_files_that_hand_over_uses() -> None:
    script = (EXAMPLES / "hand-over").read_text()
    service = (EXAMPLES / "accelwatch-drain.service").read_text()
    file, status = "/var/lib/accelwatch/drain.json", "/run/accelwatch-drain/status"
    assert f"${{1:-{file}}}" in script
    assert f"${{2:-{status}}}" in script
    assert f"PathExists={file}\n" in (EXAMPLES / "accelwatch-drain.path").read_text()
    assert f"StandardInput=file:{file}\n" in service
    assert f">{status}'" in service
    assert f"rm -f {file}\n" in service

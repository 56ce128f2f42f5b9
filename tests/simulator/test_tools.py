"""The simulated executables, run as programs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accelwatch.simulator import npu_smi, tools
from accelwatch.simulator.answer import FLOOD_BYTES
from accelwatch.simulator.state import AscendDevice, Link, Node, ToolTrouble

SOON = 5.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A longer path than the kernel lets a socket have."""
    home = tmp_path / ("long" * 25)
    home.mkdir()
    return home


@pytest.fixture
def node() -> Node:
    device = AscendDevice(index=0, model="910B2C", pci="0000:5a:00.0", roce=Link(0))
    return Node("n", "ascend", "24.1.rc1", "24.1.rc1", "910B", ascend=[device])


@pytest.fixture
def server(home: Path, node: Node) -> Iterator[tools.Server]:
    tools.install(home)
    server = tools.Server(home / tools.SOCKET, lambda: node)
    server.start()
    yield server
    server.close()


def run(home: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    tool, *argv = line.split()
    return subprocess.run([home / tool, *argv], capture_output=True, timeout=SOON, check=False)


def begin(home: Path, line: str) -> subprocess.Popen[bytes]:
    tool, *argv = line.split()
    return subprocess.Popen([home / tool, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_tool_prints_what_its_node_shows(home: Path, node: Node, server: tools.Server) -> None:
    """Both streams and the status are the answer's."""
    result = run(home, "npu-smi info")
    assert (result.stdout.decode(), result.stderr, result.returncode) == (npu_smi.answer(node, ["info"]).stdout, b"", 0)
    node.ascend[0].present = False
    assert run(home, "npu-smi info -t health -i 0").returncode == 208
    result = run(home, "hccn_tool -i 0 -link -g")
    assert (result.stdout, result.stderr, result.returncode) == (b"", b"The device is not exist!\n", 1)


def test_calls_are_counted_by_their_arguments(home: Path, server: tools.Server) -> None:
    """By tool and arguments; calls one after the other do not overlap."""
    for line in ("npu-smi info", "npu-smi info", "hccn_tool -i 0 -link -g"):
        run(home, line)
    assert server.calls == {("npu-smi", "info"): 2, ("hccn_tool", "-i", "0", "-link", "-g"): 1}
    assert not server.overlaps


def test_an_argument_arrives_as_it_was_given(home: Path, server: tools.Server) -> None:
    """With blanks, newlines and bytes that are no UTF-8."""
    strange = b"a b\n\xff"
    subprocess.run([os.fsencode(home / "npu-smi"), strange, b""], capture_output=True, timeout=SOON, check=False)
    assert list(server.calls) == [("npu-smi", os.fsdecode(strange), "")]


def test_a_blocked_call_waits_until_it_is_released(home: Path, node: Node, server: tools.Server) -> None:
    """Then it prints what the node shows by then."""
    node.npu_smi_trouble = [ToolTrouble("block")]
    child = begin(home, "npu-smi info")
    until(lambda: bool(server.calls))
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    node.ascend[0].model, node.npu_smi_trouble = "910B4", []
    stdout, _ = child.communicate(timeout=SOON)
    assert b"910B4" in stdout
    assert child.returncode == 0


def test_two_calls_at_once_are_an_overlap_of_their_tool(home: Path, node: Node, server: tools.Server) -> None:
    """hccn_tool beside npu-smi is none; a caller that was killed does not count any more."""
    node.npu_smi_trouble = [ToolTrouble("block", "ecc")]
    blocked = begin(home, "npu-smi info -t ecc -i 0")
    until(lambda: bool(server.calls))
    run(home, "hccn_tool -i 0 -link -g")
    assert not server.overlaps
    run(home, "npu-smi info")
    assert server.overlaps == {"npu-smi": 1}
    blocked.kill()
    blocked.communicate()
    run(home, "npu-smi info")
    assert server.overlaps == {"npu-smi": 1}


def test_a_slow_call_takes_its_time(home: Path, node: Node, server: tools.Server) -> None:
    """And then answers as a healthy one."""
    node.npu_smi_trouble = [ToolTrouble("slow", seconds=0.3)]
    began = time.monotonic()
    assert run(home, "npu-smi info").stdout
    assert time.monotonic() - began >= 0.3


def test_a_flood_arrives_whole_and_garbage_is_no_text(home: Path, node: Node, server: tools.Server) -> None:
    """10 MB, and bytes that are not UTF-8; a reader that goes away ends the tool."""
    node.npu_smi_trouble = [ToolTrouble("flood")]
    assert len(run(home, "npu-smi info").stdout) == FLOOD_BYTES
    child = begin(home, "npu-smi info")
    assert child.stdout is not None
    assert child.stdout.read(1)
    child.stdout.close()
    assert child.wait(SOON) == 141
    assert child.stderr is not None
    child.stderr.close()
    node.npu_smi_trouble = [ToolTrouble("garbage")]
    with pytest.raises(UnicodeDecodeError):
        run(home, "npu-smi info").stdout.decode()


def test_without_the_simulator_the_tool_says_so(home: Path, server: tools.Server, node: Node) -> None:
    """Status 1 and a message on standard error; so do calls that were waiting when it ended."""
    node.npu_smi_trouble = [ToolTrouble("block")]
    waiting = begin(home, "npu-smi info")
    until(lambda: bool(server.calls))
    server.close()
    _, stderr = waiting.communicate(timeout=SOON)
    assert (waiting.returncode, b"it ended before it answered" in stderr) == (1, True)
    result = run(home, "hccn_tool -i 0 -link -g")
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"hccn_tool (simulated): the simulator at ")

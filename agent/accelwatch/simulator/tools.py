"""The executables `npu-smi` and `hccn_tool` of a simulated node: they print its state file in the true layouts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from accelwatch.simulator import hccn_tool, npu_smi
from accelwatch.simulator.state import Node, ToolTrouble

STATE = "state.json"
_FLOOD_BYTES = 10 << 20


def install(directory: Path) -> None:
    """Writes both executables into a node's directory."""
    for name in ("npu-smi", "hccn_tool"):
        path = directory / name
        path.write_text(
            f"#!{sys.executable} -E\nfrom accelwatch.simulator.tools import main\nmain({name!r}, {str(directory)!r})\n"
        )
        path.chmod(0o755)


def write(directory: Path, node: Node) -> None:
    """Shows the node's present state, whole or not at all."""
    scratch = directory / f".{STATE}.new"
    scratch.write_bytes(msgspec.json.encode(node))
    scratch.replace(directory / STATE)


def main(name: str, directory: str) -> None:
    """One call of a tool; ends the process with the tool's status."""
    argv = sys.argv[1:]
    node = _node(directory)
    trouble = _trouble(node, name, argv)
    while trouble is not None and trouble.kind == "block":
        time.sleep(0.1)
        node = _node(directory)
        trouble = _trouble(node, name, argv)
    if trouble is not None and trouble.kind == "slow":
        time.sleep(trouble.seconds)
    answer = (npu_smi if name == "npu-smi" else hccn_tool).answer(node, argv)
    if trouble is not None:
        answer = troubled(answer, trouble)
    sys.stdout.write(answer.stdout)
    sys.stdout.flush()
    sys.stderr.write(answer.stderr)
    os._exit(answer.status)


def troubled(answer: npu_smi.Answer, trouble: ToolTrouble) -> npu_smi.Answer:
    """The answer as a sick tool gives it."""
    text = answer.stdout
    return {
        "garbage": npu_smi.Answer("\x7fELF\x01\x02 \x00@@@ %%% 0x5a5a5a5a\n" * 3, 0),
        "truncate": npu_smi.Answer(text[: int(len(text) * 0.62)], 0),
        "empty": npu_smi.Answer("", 0),
        "flood": npu_smi.Answer("x" * _FLOOD_BYTES, 0),
        "language": npu_smi.Answer("查询设备信息失败，请检查驱动是否正常运行。\n", 0),
        "error_8005": npu_smi.Answer(
            "DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005\n", 187
        ),
    }.get(trouble.kind, answer)


def _node(directory: str) -> Node:
    return msgspec.json.decode(Path(directory, STATE).read_bytes(), type=Node)


def _trouble(node: Node, name: str, argv: Sequence[str]) -> ToolTrouble | None:
    troubles = node.npu_smi_trouble if name == "npu-smi" else node.hccn_tool_trouble
    line = " ".join(argv)
    return next((trouble for trouble in troubles if trouble.match in line), None)

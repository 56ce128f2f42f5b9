"""What several tests share: a clock that is set, a runner of simulated tools, and a node of each family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from accelwatch.simulator import hccn_tool, npu_smi
from accelwatch.simulator.scenario import NodeSpec, Scenario
from accelwatch.simulator.state import Node
from accelwatch.simulator.world import World
from accelwatch.sources.commands import Output

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_790_000_000.0 + self.now


class SimulatedTools:
    """Answers `npu-smi` and `hccn_tool` from a node's state, and notes the calls."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.calls: list[str] = []
        self.answer: Callable[[str], Output | None] = lambda _line: None

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        line = " ".join(argv[1:])
        self.calls.append(line)
        special = self.answer(line)
        if special is not None:
            return special
        tool = hccn_tool if argv[0].endswith("hccn_tool") else npu_smi
        printed = tool.answer(self.node, list(argv[1:]))
        return Output(printed.status, printed.stdout, printed.stderr)


def node_of(family: str, devices: int = 2, driver: str | None = None) -> Node:
    """A node in training, ten minutes into its scenario."""
    vendor = "nvidia" if family in ("ampere", "hopper", "blackwell") else "ascend"
    spec = NodeSpec(name="n", vendor=vendor, family=family, devices=devices, driver=driver)
    return World(Scenario(nodes=(spec,)), 1_790_000_000.0).node("n", 600.0)


def corpus(*parts: str) -> str:
    """The text of a capture; skips the test where the corpus is not beside the project."""
    path = CORPUS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the corpus of captures is not here ({path.name})")
    return path.read_text()

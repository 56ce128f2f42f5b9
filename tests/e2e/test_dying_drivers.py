"""Drivers that die under a real agent; all the ways: `make dying`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dying.node import Node
from dying.play import HEAD, play
from dying.scenes import SCENES, Scene, Unavailable

pytestmark = pytest.mark.e2e
# One call that blocks in a worker, a tool that no signal ends, and everything together.
SHORT = ("every NVML call blocks", "npu-smi in state D", "all drivers of both vendors at once")


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.name in SHORT], ids=lambda scene: scene.name)
def test_a_dying_driver_costs_its_own_values_alone(tmp_path: Path, scene: Scene) -> None:
    """Told within two deadlines, scraped in 50 ms, the kernel log followed and its fault paged, nothing left behind."""
    node = Node(tmp_path, scene.vendors)
    try:
        print(HEAD, play(node, scene).row(), sep="\n")
    except Unavailable as why:
        pytest.skip(str(why))
    finally:
        node.close()

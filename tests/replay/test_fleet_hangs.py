"""A run on four nodes hangs without any fault: the device that is the odd one out is named, or none."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from accelwatch.simulator.scenario import FaultSpec
from replay.fleet import Fleet
from replay.fleet_rules import expect, judge
from replay.four_nodes import CULPRIT, NODES, STALLED, STRUCK, VENDORS, fault, four_nodes, of_run, waits

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
DEVICES = [(node, device) for node in NODES for device in (0, 1)]
FAMILIES = pytest.mark.parametrize("family", ["hopper", "910B"])


def hangs(scratch: Path, family: str, faults: Sequence[FaultSpec], **culprit: str) -> None:
    """Warned within 200 s and flagged within 330 s of the onset, with the culprit of these labels from then on."""
    fleet = Fleet(scratch, four_nodes(family, faults, launcher="mpi"))
    fleet.run(960)
    judge(
        scratch,
        fleet,
        expect(STRUCK - 7, STALLED, of_run(0)),
        expect(765, STALLED, of_run(0)),
        expect(STRUCK + 198, STALLED, of_run(1)),
        expect(STRUCK + 328, STALLED, of_run(2)),
        expect(STRUCK + 328, CULPRIT, of_run(1, **culprit)),
        expect(960, CULPRIT, of_run(1, **culprit)),
    )


@FAMILIES
def test_the_one_device_that_waits_otherwise_is_the_culprit(tmp_path: Path, family: str) -> None:
    """It left the collective while the others spin in it, or still computes where waiting is quiet."""
    odd, others = ("quiet", "spin") if family == "hopper" else ("spin", "quiet")
    faults = [
        fault("hang", node, STRUCK, device, kind=odd if (node, device) == ("n2", 1) else others)
        for node, device in DEVICES
    ]
    hangs(tmp_path, family, faults, rule="minority", node="n2", device="1", vendor=VENDORS[family])


@FAMILIES
def test_all_alike_and_at_once_are_not_located(tmp_path: Path, family: str) -> None:
    hangs(tmp_path, family, waits(), rule="unlocated")


@FAMILIES
def test_two_odd_ones_of_eight_are_not_located(tmp_path: Path, family: str) -> None:
    """More than a fifth of the devices, on different nodes: either may be the one."""
    odd, others = ("quiet", "spin") if family == "hopper" else ("spin", "quiet")
    faults = [
        fault("hang", node, STRUCK, device, kind=odd if (node, device) in (("n2", 1), ("n4", 0)) else others)
        for node, device in DEVICES
    ]
    hangs(tmp_path, family, faults, rule="unlocated")


def test_the_device_that_stopped_first_is_the_culprit(tmp_path: Path) -> None:
    """NVIDIA, read each second: by 20 s."""
    faults = [
        fault("hang", node, STRUCK - 20 if (node, device) == ("n4", 0) else STRUCK, device) for node, device in DEVICES
    ]
    hangs(tmp_path, "hopper", faults, rule="earliest", node="n4", device="0", vendor="nvidia")


def test_a_device_that_stopped_first_by_less_than_two_readings_is_not(tmp_path: Path) -> None:
    """Ascend, read every 10 s: 10 s tell nothing."""
    faults = [
        fault("hang", node, STRUCK - 10 if (node, device) == ("n4", 0) else STRUCK, device) for node, device in DEVICES
    ]
    hangs(tmp_path, "910B", faults, rule="unlocated")


@FAMILIES
def test_the_node_that_stopped_first_is_the_culprit(tmp_path: Path, family: str) -> None:
    """Both of its devices, 40 s before the others."""
    faults = [fault("hang", node, STRUCK - 40 if node == "n4" else STRUCK, device) for node, device in DEVICES]
    hangs(tmp_path, family, faults, rule="earliest", node="n4")

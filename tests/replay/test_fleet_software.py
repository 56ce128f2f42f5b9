"""What ends a run without hardware is not counted as hardware, and two runs on the same nodes do not mix."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from accelwatch.config import Duration
from accelwatch.simulator.scenario import FaultSpec, Phase
from accelwatch.simulator.state import Node
from replay.fleet import Fleet
from replay.fleet_rules import expect, judge
from replay.four_nodes import (
    ABORT,
    CAUSE,
    COUNTED,
    END,
    KILL,
    LOST,
    NODES,
    SEGFAULT,
    STRUCK,
    TERM,
    cause,
    counted,
    die,
    dies,
    fault,
    four_nodes,
    of_run,
)

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
OOM = (
    "Out of memory: Killed process 20000 (python3) total-vm:123456789kB, anon-rss:98765432kB, file-rss:0kB, "
    "shmem-rss:0kB, UID:1000 pgtables:1234kB oom_score_adj:0"
)
# The rank of node 2's first device ends, then its neighbour, then all others by their launchers.
OTHERS = [dies("n2", 609, 1, signal=TERM), *die(610, "n1", "n3", "n4", signal=TERM)]
# All eight devices, read at work a second before their share ended: node 2's ends with its second rank.
LOST_OF_ALL = 8 * 1


def played(scratch: Path, family: str, faults: Sequence[FaultSpec]) -> Fleet:
    launcher = "slurm" if family == "hopper" else "mindx"
    fleet = Fleet(scratch, four_nodes(family, faults, launcher=launcher))
    fleet.run(630)
    fleet.run(3660, 15)
    return fleet


@pytest.mark.parametrize("family", ["hopper", "910B"])
def test_a_run_that_completes_is_no_interruption(tmp_path: Path, family: str) -> None:
    fleet = Fleet(tmp_path, four_nodes(family, (), then=(Phase(at=Duration(900), phase="idle"),)))
    fleet.run(930)
    fleet.run(3660, 15)
    assert {(record.outcome, record.cause) for node in NODES for record in fleet.ended(node)} == {("completed", None)}
    judge(tmp_path, fleet, expect(1500, CAUSE), expect(1500, END), expect(1500, LOST), expect(3660, COUNTED))


@pytest.mark.parametrize("family", ["hopper", "910B"])
def test_a_run_that_its_user_cancels_is_no_hardware(tmp_path: Path, family: str) -> None:
    """Nobody can see whose wish it was: the outcome stays, the cause is unknown."""
    fleet = played(tmp_path, family, die(608, *NODES, signal=TERM))
    judge(
        tmp_path,
        fleet,
        expect(1500, CAUSE, cause(family, "unknown", 608, "killed")),
        expect(3660, COUNTED, counted(family, "unknown", "killed")),
    )


def test_a_segmentation_fault_is_the_jobs(tmp_path: Path) -> None:
    """It is said when the causes are final: a fault may still be read."""
    fleet = played(tmp_path, "hopper", [dies("n2", 608, 0, signal=SEGFAULT), *OTHERS])
    judge(
        tmp_path,
        fleet,
        expect(630, CAUSE, cause("hopper", "unknown", 609, "failed")),
        expect(1500, CAUSE, cause("hopper", "software_job", 609, "failed", "n2")),
        expect(1500, LOST, of_run(LOST_OF_ALL)),
        expect(3660, COUNTED, counted("hopper", "software_job", "failed")),
    )


def test_a_process_that_the_kernel_kills_for_want_of_memory_is_the_jobs(tmp_path: Path) -> None:
    faults = [fault("kernel_line", "n2", STRUCK, text=OOM), dies("n2", 608, 0, signal=KILL), *OTHERS]
    fleet = played(tmp_path, "hopper", faults)
    found = cause("hopper", "software_job", STRUCK, "killed", "n2", "0")
    judge(
        tmp_path,
        fleet,
        expect(630, CAUSE, found),
        expect(1500, CAUSE, found),
        expect(3660, COUNTED, counted("hopper", "software_job", "killed")),
    )


@pytest.mark.parametrize("everywhere", [False, True])
def test_an_illegal_access_is_the_applications(tmp_path: Path, everywhere: bool) -> None:
    """Xid 31 on one device, or on all of the run at once."""
    devices = [(node, device) for node in NODES for device in (0, 1)] if everywhere else [("n2", 0)]
    faults = [fault("xid", node, STRUCK, device, xid=31) for node, device in devices]
    faults += die(608, *NODES, signal=ABORT) if everywhere else [dies("n2", 608, 0, signal=ABORT), *OTHERS]
    fleet = played(tmp_path, "hopper", faults)
    judge(
        tmp_path,
        fleet,
        expect(
            1500, f"sum by (class, outcome) ({CAUSE})", ({"class": "app_device_exception", "outcome": "failed"}, 607)
        ),
        expect(3660, COUNTED, counted("hopper", "app_device_exception", "failed")),
    )


@pytest.mark.parametrize("family", ["hopper", "910B"])
def test_what_nothing_explains_is_unknown(tmp_path: Path, family: str) -> None:
    fleet = played(tmp_path, family, [dies("n2", 608, 0, code=1), *OTHERS])
    found = cause(family, "unknown", 609, "failed")
    judge(
        tmp_path,
        fleet,
        expect(630, CAUSE, found),
        expect(1500, CAUSE, found),
        expect(3660, COUNTED, counted(family, "unknown", "failed")),
    )


def two_runs(node: Node) -> None:
    """Devices 2 and 3 of each node are of another run, 5000."""
    for device in node.nvidia[2:]:
        for process in device.processes:
            process.pid, process.parent = process.pid + 10_000, process.parent + 10_000
            process.environ = {**process.environ, "SLURM_JOB_ID": "5000"}
    for end in node.ends:
        if end.pid % 100 >= 2:
            end.pid += 10_000


def test_two_runs_on_the_same_nodes_at_once_do_not_mix(tmp_path: Path) -> None:
    """One dies of an error on node 3; the other goes on there, and ends by its own fault 400 s later."""
    faults = [
        fault("ecc_uncorrected", "n3", STRUCK, 1, cascade=1), *die(609, *NODES, signal=ABORT),
        dies("n2", 1007, 2, signal=SEGFAULT), dies("n2", 1008, 3, signal=TERM),
        *(dies(node, 1009, device, signal=TERM) for node in ("n1", "n3", "n4") for device in (2, 3)),
    ]  # fmt: skip
    fleet = Fleet(tmp_path, four_nodes("hopper", faults, devices=4), alter=two_runs)
    fleet.run(1030)
    fleet.run(7215, 15)
    first = cause("hopper", "mem_uncorrectable", STRUCK, "failed", "n3", "1")
    second = cause("hopper", "software_job", 1008, "failed", "n2", run="5000")
    judge(
        tmp_path,
        fleet,
        expect(700, CAUSE, first),
        expect(1500, CAUSE, first, second),
        # Of the first, all eight devices from 608 to 609; of the second, node 2's stopped one by one.
        expect(1500, LOST, of_run(8 * 1), of_run(4 * 2, run="5000")),
        expect(
            7215, COUNTED, counted("hopper", "mem_uncorrectable", "failed"), counted("hopper", "software_job", "failed")
        ),
    )

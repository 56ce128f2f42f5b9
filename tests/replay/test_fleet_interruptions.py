"""A hardware fault ends a run on four nodes: real cores, pages and rules make one interruption of it, with its culprit.

Every figure is counted by hand. A run's last progress is the last reading that finds its devices at work: on NVIDIA
they are read each second, so it lies at 606 where the work stops at 607; on Ascend every ten seconds, at another second
of each on every node.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from replay.fleet import Fleet, LogLine
from replay.fleet_rules import expect, judge
from replay.four_nodes import (
    ABORT,
    CAUSE,
    COUNTED,
    CULPRIT,
    END,
    LOST,
    NODES,
    STALLED,
    STRUCK,
    TERM,
    cause,
    counted,
    die,
    dies,
    fault,
    four_nodes,
    of_run,
    waits,
)

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
NCCL = (
    "[rank{rank}]:[E ProcessGroupNCCL.cpp:632] [Rank {rank}] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=812, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600018 milliseconds "
    "before timing out."
)
HCCL = (
    "EI0002: [PID: {pid}] 2026-11-24-10:00:00.000.000 The wait execution of the Notify register times out. Reason: "
    "The Notify register has not received the Notify record from remote rank [unknown]. timeout:[1836s]."
)


def culprit(node: str, device: str, vendor: str, rule: str = "cause") -> tuple[dict[str, str], float]:
    labels = {"cluster": "c", "run_id": "4711", "attempt": "0", "rule": rule}
    return labels | {"node": node, "device": device, "vendor": vendor}, 1


def test_an_ecc_error_that_ends_all_ranks_within_seconds(tmp_path: Path) -> None:
    """NVIDIA: a kernel line and a counter on node 3; its rank aborts, the launchers end the others."""
    faults = [
        fault("ecc_uncorrected", "n3", STRUCK, 1, cascade=1), *waits(), dies("n3", 609, 1, signal=ABORT),
        dies("n3", 610, 0, signal=TERM), *die(612, "n1", "n2", "n4", signal=TERM),
    ]  # fmt: skip
    fleet = Fleet(tmp_path, four_nodes("hopper", faults))
    fleet.run(630)
    fleet.run(3660, 15)
    found = cause("hopper", "mem_uncorrectable", STRUCK, "failed", "n3", "1")
    # Node 3: 2 devices from 606 to 610. The others: 2 from 606 to 612 each.
    lost = 2 * 4 + 3 * 2 * 6
    judge(
        tmp_path,
        fleet,
        expect(600, CAUSE),
        expect(615, CAUSE, found),
        expect(1000, CAUSE, found),  # the others' causes are final, and change nothing
        expect(1000, END, of_run(610, outcome="failed")),
        expect(1000, LOST, of_run(lost)),
        expect(3660, COUNTED, counted("hopper", "mem_uncorrectable", "failed")),
    )
    assert {fleet.ended(node)[0].cause for node in ("n1", "n2", "n4")} == {"unknown"}


def test_an_ecc_error_on_ascend(tmp_path: Path) -> None:
    """Its code and its counters are read within a minute, after the rank has died of it."""
    faults = [
        fault("ecc_uncorrected", "n3", STRUCK, 1), *waits(), dies("n3", 609, 1, code=1), dies("n3", 610, 0, signal=TERM),
        *die(612, "n1", "n2", "n4", signal=TERM),
    ]  # fmt: skip
    fleet = Fleet(tmp_path, four_nodes("910B", faults, launcher="mindx"))
    fleet.run(700)
    fleet.run(3660, 15)
    (record,) = fleet.ended("n3")
    assert (record.cause, record.cause_device, record.cause_code) == ("mem_uncorrectable", "1", "80E01801")
    assert record.cause_wall is not None
    assert STRUCK <= record.cause_wall <= STRUCK + 60
    # Last read at work at 600, 599, 598, 597 by the node's turn.
    lost = 2 * (612 - 600) + 2 * (612 - 599) + 2 * (610 - 598) + 2 * (612 - 597)
    judge(
        tmp_path,
        fleet,
        expect(1000, CAUSE, cause("910B", "mem_uncorrectable", record.cause_wall, "failed", "n3", "1")),
        expect(1000, LOST, of_run(lost)),
        expect(3660, COUNTED, counted("910B", "mem_uncorrectable", "failed")),
    )


def timed_out(node: str, dark: float | None, scratch: Path) -> Fleet:
    """Node 3 holds rank 0; the others wait for it until NCCL's time-out, and abort one node after the other."""
    ranks = ("n3", "n1", "n2", "n4")
    faults = [fault("ecc_uncorrected", "n3", STRUCK, 1, cascade=1), *waits()]
    for number, name in enumerate(ranks):
        faults += die(1208 + number, name, signal=ABORT)
    lines = [LogLine(1207, name, NCCL.format(rank=2 * number)) for number, name in enumerate(ranks)]
    fleet = Fleet(
        scratch, four_nodes("hopper", faults, ranks=ranks), lines=lines, dark=None if dark is None else {node: dark}
    )
    fleet.run(1230)
    fleet.run(4500, 15)
    return fleet


def test_an_ecc_error_whose_run_waits_for_the_time_out(tmp_path: Path) -> None:
    """The hang is told within a minute, ten minutes before NCCL does."""
    fleet = timed_out("n3", None, tmp_path)
    found = cause("hopper", "mem_uncorrectable", STRUCK, "hung", "n3", "1")
    judge(
        tmp_path,
        fleet,
        expect(600, STALLED, of_run(0)),
        expect(660, STALLED, of_run(2)),
        expect(660, CULPRIT, culprit("n3", "1", "nvidia")),
        expect(1200, CULPRIT, culprit("n3", "1", "nvidia")),
        expect(1230, CAUSE, found),
        expect(1800, CAUSE, found),
        # Each node's two devices from 606 until its own end.
        expect(1800, LOST, of_run(2 * (602 + 603 + 604 + 605))),
        expect(4500, COUNTED, counted("hopper", "mem_uncorrectable", "hung")),
    )


def test_the_same_when_node_3_goes_dark_right_after_the_fault(tmp_path: Path) -> None:
    """It was scraped once more, at 615, and never said that its run had ended."""
    fleet = timed_out("n3", 620, tmp_path)
    found = cause("hopper", "mem_uncorrectable", 615, "hung", "n3", "1")
    judge(
        tmp_path,
        fleet,
        expect(690, STALLED, of_run(2)),
        expect(690, CULPRIT, culprit("n3", "1", "nvidia")),
        expect(1230, CAUSE, found),
        expect(1800, CAUSE, found),
        expect(1800, END, of_run(1209, outcome="hung")),
        # The others' two devices each until their own end, node 3's until the run's.
        expect(1800, LOST, of_run(2 * (603 + 604 + 605) + 2 * (1209 - 606))),
        expect(4500, COUNTED, counted("hopper", "mem_uncorrectable", "hung")),
    )


def test_a_node_that_goes_dark_before_its_fault_was_scraped_is_the_culprit_of_the_hang(tmp_path: Path) -> None:
    """Nothing tells of the fault: the interruption has only its symptom, and no culprit is made up for it."""
    fleet = timed_out("n3", 610, tmp_path)
    dark = {"cluster": "c", "run_id": "4711", "attempt": "0", "rule": "dark", "node": "n3"}, 1
    judge(
        tmp_path,
        fleet,
        expect(930, STALLED, of_run(2)),
        expect(930, CULPRIT, dark),
        expect(1800, CAUSE, cause("hopper", "collective_timeout", 1207, "hung")),
        # Of node 3 the scrape at 600 tells the last progress.
        expect(1800, LOST, of_run(2 * (603 + 604 + 605) + 2 * (1209 - 600))),
        expect(4500, COUNTED, counted("hopper", "collective_timeout", "hung")),
    )


@pytest.mark.parametrize("clear", [None, 40])
@pytest.mark.parametrize("family", ["910B", "A3"])
def test_a_link_drop_whose_time_out_comes_half_an_hour_later(tmp_path: Path, family: str, clear: int | None) -> None:
    """Ascend: the RoCE port of one NPU drops, for good or for 40 s; HCCL gives up 1836 s later on every node."""
    faults = [fault("roce_down", "n2", STRUCK, 1, clear=clear), *waits()]
    for number, name in enumerate(NODES):
        faults += die(2445 + number, name, code=1)
    lines = [LogLine(2443, name, HCCL.format(pid=20_000 + device)) for name in NODES for device in (0, 1)]
    fleet = Fleet(tmp_path, four_nodes(family, faults, launcher="mindx"), lines=lines)
    fleet.run(2460)
    fleet.run(7215, 15)
    found = cause(family, "net_link_down", STRUCK, "hung", "n2", "1")
    # By the fault in force within a minute; where it came back, as any hang: 300 s after the last progress.
    flagged = 675 if clear is None else 930
    # Last read at work at 600, 599, 598, 597 by the node's turn, ended at 2445, 2446, 2447, 2448.
    lost = 2 * sum(2445 + number - (600 - number) for number in range(4))
    judge(
        tmp_path,
        fleet,
        expect(600, STALLED, of_run(0)),
        expect(flagged, STALLED, of_run(2)),
        expect(flagged, CULPRIT, culprit("n2", "1", "ascend")),
        expect(2400, CULPRIT, culprit("n2", "1", "ascend")),
        expect(2460, CAUSE, found),
        expect(3000, CAUSE, found),
        expect(3000, END, of_run(2445, outcome="hung")),
        expect(3000, LOST, of_run(lost)),
        expect(7215, COUNTED, counted(family, "net_link_down", "hung")),
    )


def test_a_link_drop_of_eight_seconds_is_a_suspect_and_the_culprit_of_the_hang(tmp_path: Path) -> None:
    """It was too short to be said to end a run: the cause is the time-out, which accuses nobody."""
    faults = [fault("roce_down", "n2", STRUCK, 1, clear=8), *waits(), *die(2445, *NODES, code=1)]
    lines = [LogLine(2443, name, HCCL.format(pid=20_000)) for name in NODES]
    fleet = Fleet(tmp_path, four_nodes("910B", faults, launcher="mindx"), lines=lines)
    fleet.run(2460)
    fleet.run(3000, 15)
    judge(
        tmp_path,
        fleet,
        expect(930, STALLED, of_run(2)),
        expect(930, CULPRIT, culprit("n2", "1", "ascend")),
        expect(3000, CAUSE, cause("910B", "collective_timeout", 2443, "hung")),
    )
    (record,) = fleet.ended("n2")
    assert [(suspect.class_, suspect.device) for suspect in record.suspects] == [("net_link_down", "1")]


@pytest.mark.parametrize("launcher", ["slurm", "torchrun", "mindx"])
def test_a_second_attempt_of_the_same_job_counts_on_its_own(tmp_path: Path, launcher: str) -> None:
    """As the scheduler requeues it, the launcher restarts its workers, or nobody counts and new ranks come."""
    faults = []
    for at, node, device in ((STRUCK, "n3", 1), (1507, "n2", 0)):
        again = 120 if at == STRUCK else None
        faults.append(fault("ecc_uncorrected", node, at, device))
        faults += waits(at, clear=2)
        faults += [fault("process_death", name, at + 2, signal=ABORT, clear=again) for name in NODES]
    fleet = Fleet(tmp_path, four_nodes("hopper", faults, launcher=launcher))
    fleet.run(1530)
    fleet.run(7215, 15)
    first = cause("hopper", "mem_uncorrectable", STRUCK, "failed", "n3", "1")
    second = cause("hopper", "mem_uncorrectable", 1507, "failed", "n2", "0", attempt="1")
    judge(
        tmp_path,
        fleet,
        expect(1000, CAUSE, first),
        expect(2400, CAUSE, first, second),
        # Two devices on four nodes from 606 to 609, each time; the last one ends a millisecond later.
        expect(2400, f"round({LOST})", of_run(24), of_run(24, attempt="1")),
        expect(7215, COUNTED, counted("hopper", "mem_uncorrectable", "failed", 2)),
    )

"""The true state of simulated nodes over time, and what each fault does to it."""

from __future__ import annotations

from typing import Any

import pytest

from accelwatch.config import Duration
from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Phase, RunSpec, Scenario
from accelwatch.simulator.state import Node
from accelwatch.simulator.world import World, context

START = 1_790_000_000.0
NODES = (
    NodeSpec(name="nv", vendor="nvidia", family="hopper", devices=2),
    NodeSpec(name="as", vendor="ascend", family="910B", devices=2),
)


def fault(name: str, node: str = "nv", at: float = 10, clear: float | None = None, **parameters: Any) -> FaultSpec:
    return FaultSpec(
        fault=name,
        node=node,
        device=parameters.pop("device", 0),
        at=Duration(at),
        clear_after=None if clear is None else Duration(clear),
        parameters=parameters,
    )


def node_at(now: float, *faults: FaultSpec, name: str | None = None, workload: tuple[Phase, ...] = (Phase(),)) -> Node:
    world = World(Scenario(nodes=NODES, workload=workload), START)
    return world.node(name or (faults[0].node if faults else "nv"), now, faults)


def test_the_same_moment_gives_the_same_values() -> None:
    """Two worlds of one scenario agree to the last value at any moment."""
    assert node_at(123.4) == node_at(123.4)
    assert node_at(123.4).nvidia[0].power_watts != node_at(150.0).nvidia[0].power_watts


def test_counters_never_fall_over_phases_and_hangs() -> None:
    """Energy, packets and CPU time only grow while the work changes, hangs and goes on."""
    workload = (
        Phase(at=Duration(0), ramp=Duration(20)),
        Phase(at=Duration(60), phase="save"),
        Phase(at=Duration(80)),
        Phase(at=Duration(200), phase="idle"),
    )
    halt = fault("hang", at=100, clear=30)
    before = (0, 0, 0.0)
    for now in range(1, 240):
        device = node_at(float(now), halt, workload=workload).nvidia[0]
        cpu = device.processes[0].cpu_seconds if device.processes else before[2]
        present = (device.energy_millijoules, device.links[0].packets, cpu)
        assert all(new >= old for new, old in zip(present, before, strict=True)), now
        before = present


def test_power_climbs_over_the_ramp() -> None:
    """Half way up a ramp a device draws half of its training power above idle."""
    workload = (Phase(ramp=Duration(100), noise=0),)
    half, full = (node_at(now, workload=workload).nvidia[0].power_watts for now in (50.0, 150.0))
    assert half == pytest.approx(72 + (700 - 72) * 0.39, abs=0.1)
    assert full == pytest.approx(72 + (700 - 72) * 0.78, abs=0.1)


@pytest.mark.parametrize(
    ("node", "kind", "utilization"), [("nv", None, 100), ("as", None, 0), ("nv", "quiet", 0), ("as", "spin", 100)]
)
def test_a_hang_looks_as_the_vendor_waits(node: str, kind: str | None, utilization: int) -> None:
    """A hang spins at 100 % on NVIDIA and reads 0 % on Ascend, at low power, without traffic, with a live process."""
    halt = fault("hang", node=node, **({} if kind is None else {"kind": kind}))
    first, later = (node_at(now, halt) for now in (60.0, 90.0))
    struck, other = (first.nvidia or first.ascend)[0], (first.nvidia or first.ascend)[1]
    assert struck.utilization_percent == utilization
    assert struck.power_watts is not None
    assert other.power_watts is not None
    assert struck.power_watts < other.power_watts / 2
    assert struck.links[0].packets == (later.nvidia or later.ascend)[0].links[0].packets
    assert struck.processes


def test_a_phase_may_be_of_one_device_only() -> None:
    """A phase with node and device leaves the other devices at work."""
    node = node_at(50.0, workload=(Phase(), Phase(at=Duration(10), phase="idle", node="nv", device=1)))
    assert node.nvidia[0].processes
    assert not node.nvidia[1].processes


def test_ranks_go_on_over_the_nodes_of_a_run() -> None:
    """The second node of a run begins with the rank after the first one's last."""
    runs = (RunSpec(id="j7", nodes=("nv", "as"), launcher="torchrun"),)
    node = World(Scenario(nodes=NODES, runs=runs), START).node("as", 5.0)
    environ = node.ascend[1].processes[0].environ
    assert (environ["TORCHELASTIC_RUN_ID"], environ["RANK"], environ["WORLD_SIZE"]) == ("j7", "3", "4")


def test_lost_gpu() -> None:
    """A lost GPU answers 15 and has left Xid 79, in the driver's own form, in the kernel log."""
    lost = fault("lost", device=1)
    node = node_at(20.0, lost)
    assert [device.status for device in node.nvidia] == [0, 15]
    assert KINDS["lost"].lines(context(node, lost, 20.0)) == [
        f"NVRM: Xid (PCI:{node.nvidia[1].pci[:-2]}): 79, GPU has fallen off the bus."
    ]


def test_counts_stay_when_a_fault_is_over() -> None:
    """Clearing a fault ends its state, not the counts that it made."""
    node = node_at(100.0, fault("ecc_uncorrected", node="as", clear=5, count=2), name="as")
    assert node.ascend[0].ecc == {"hbm_double": 2, "hbm_double_aggregate": 2}
    assert (node.ascend[0].health, node.ascend[0].error_codes) == ("OK", [])


def test_errors_stop_growing_when_a_fault_is_over() -> None:
    """Link errors grow while the fault lasts and then stand still."""
    grows = fault("link_errors", clear=20, per_second=5)
    counts = [node_at(now, grows).nvidia[0].links[0].errors["crc_flit"] for now in (15.0, 25.0, 40.0, 90.0)]
    assert counts == [26, 76, 101, 101]


def test_roce_drop_between_two_polls_is_in_the_history_only() -> None:
    """A RoCE flap leaves the port up, with its drops and times in the history."""
    port = node_at(60.0, fault("roce_flap", node="as", at=50, times=2)).ascend[0].roce
    assert port is not None
    assert (port.up, port.drops, port.ups) == (True, 2, 3)
    assert port.history[1:] == [(50.0, False), (51.0, True), (52.0, False), (53.0, True)]


def test_roce_that_came_back_tells_when() -> None:
    """After a cleared RoCE fault the history holds both ends of the outage."""
    port = node_at(60.0, fault("roce_down", node="as", at=20, clear=7)).ascend[0].roce
    assert port is not None
    assert (port.up, port.history[1:]) == (True, [(20.0, False), (27.0, True)])


def test_a_flapping_link_is_seen_both_ways() -> None:
    """A flapping NVLink is down at the beginning of each period, and counts every drop."""
    flaps = fault("link_flap", at=0, period=10, down=4)
    links = [node_at(now, flaps).nvidia[0].links[0] for now in (1.0, 6.0, 11.0, 19.0)]
    assert [link.up for link in links] == [False, True, False, True]
    assert [link.drops for link in links] == [1, 1, 2, 2]


def test_xids_come_in_the_order_of_their_times() -> None:
    """Event sets get Xids in the order of time, whatever the order of injection."""
    device = node_at(60.0, fault("xid", at=30, xid=94), fault("xid", at=20, xid=48, clear=1)).nvidia[0]
    assert device.xid_events == [48, 94]


def test_sxid_has_the_three_lines_of_one_event() -> None:
    """An SXid writes its event once and then the two lines of detail with the same number."""
    sxid = fault("sxid", device=None, sxid=12028, fatal=0, link=7, text="egress non-posted PRIV error (First)")
    lines = KINDS["sxid"].lines(context(node_at(20.0, sxid), sxid, 20.0))
    head = "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028,"
    assert lines[0] == f"{head} Non-fatal, Link 07 egress non-posted PRIV error (First)"
    assert [line.startswith(head) for line in lines] == [True, True, True]


def test_a_process_that_hangs_can_still_die() -> None:
    """As one does whose collective runs out of time."""
    faults = (fault("hang", at=10), fault("process_death", at=20, signal=6))
    assert node_at(19.0, *faults).nvidia[0].processes
    dead = node_at(21.0, *faults)
    assert (dead.nvidia[0].processes, dead.nvidia[0].utilization_percent) == ([], 0.0)
    assert [(end.signal, end.at) for end in dead.ends] == [(6, 20.0)]


def test_process_death_leaves_the_device_alone() -> None:
    """A dead process takes utilization with it and leaves the device healthy."""
    device = node_at(30.0, fault("process_death")).nvidia[0]
    assert (device.processes, device.utilization_percent, device.status) == ([], 0.0, 0)


def test_rdma_port_down() -> None:
    """An RDMA port that is down counts the drop and says so in the kernel log."""
    down = fault("rdma_down", device=1)
    node = node_at(20.0, down)
    assert [port.up for port in node.rdma[:2]] == [True, False]
    assert node.rdma[1].link_downed == 1
    assert KINDS["rdma_down"].lines(context(node, down, 20.0))[0].endswith("Port: 1 Link DOWN")


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_fault_shows_in_state_or_kernel_log(name: str) -> None:
    """Every fault strikes at least one vendor, and is visible in the state or the kernel log."""
    seen = False
    for node in ("nv", "as"):
        struck = fault(name, node=node)
        try:
            present = node_at(60.0, struck)
            lines = KINDS[name].lines(context(present, struck, 60.0))
        except ValueError:
            continue  # the other vendor's
        seen = seen or bool(lines) or present != node_at(60.0, name=node)
    assert seen


@pytest.mark.parametrize(
    "wrong",
    [fault("roce_down"), fault("reset_required", node="as"), fault("link_down", link=99), fault("lost", device=9)],
)
def test_a_fault_that_does_not_fit_is_refused(wrong: FaultSpec) -> None:
    """A fault of the other vendor, or on what the device has not, raises ValueError."""
    with pytest.raises(ValueError):
        node_at(60.0, wrong)

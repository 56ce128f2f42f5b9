"""What a fleet node is told between two real readings of its tools is what they would have told."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from accelwatch.config import Duration
from accelwatch.readings.snapshot import Snapshot
from accelwatch.runs.identity import identify
from accelwatch.simulator.fleet.ascend_readings import SETTLED_SECONDS, Ascend, key_of
from accelwatch.simulator.fleet.fleet import Fleet
from accelwatch.simulator.fleet.host import Host
from accelwatch.simulator.fleet.plan import HandRun, Plan
from accelwatch.simulator.launch import Place
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, RunSpec, Scenario
from accelwatch.simulator.world import World
from accelwatch.sources.base import AscendDevice, SourceTimeout
from support import FakeClock


def working(family: str) -> Host:
    host = Host(NodeSpec(name="n", vendor="ascend", family=family, devices=4), 1_790_000_000.0)
    for device in range(4):
        host.launch("77", "slurm", device, Place(device, 4, device, 4), master="n", restarted=0, partition="train")
    return host


def tools(host: Host, clock: FakeClock) -> Ascend:
    devices = [AscendDevice(key_of(chip), chip.phy_id, False) for chip in host.state().ascend]
    return Ascend(clock, 5.0, lambda: devices)


@pytest.mark.parametrize("family", ["910B", "A3"])
def test_the_load_in_an_old_answer_is_that_of_a_new_one(family: str) -> None:
    """All of it: sensors, packets, the age of a port's history; and the other families are not read anew."""
    host, clock = working(family), FakeClock()
    host.begin(1, FaultSpec(fault="roce_flap", node="n", device=1, clear_after=Duration(10)))
    kept = tools(host, clock)
    first: Snapshot | None = None
    for now in (0.0, 50.0, 200.0, 205.0, 320.0):
        clock.now += now - host.now
        host.advance(now)
        changed, host.changed = host.changed, False
        chips, ports = kept.npu_smi(host.state(), changed), kept.hccn_tool(host.state(), changed)
        first = chips if now == 200.0 else first
    fresh = tools(host, clock)
    assert chips == fresh.npu_smi(host.state())
    assert ports == fresh.hccn_tool(host.state())
    assert first is not None
    assert first.devices[0].ecc is chips.devices[0].ecc, "the tool was asked again"


def test_a_change_is_read_at_once_and_for_a_while() -> None:
    """A lost chip is gone from the next answer; what detectors ask for twice is read twice."""
    host, clock = working("910B"), FakeClock()
    kept = tools(host, clock)
    for now in (0.0, 200.0, 205.0):
        host.advance(now)
        clock.now += 5
        before = kept.npu_smi(host.state(), now == 0)
    host.begin(1, FaultSpec(fault="lost", node="n", at=Duration(205), device=2))
    after = kept.npu_smi(host.state(), True)
    assert (len(before.devices), len(after.devices)) == (4, 3)
    host.advance(205 + SETTLED_SECONDS / 2)
    again = kept.npu_smi(host.state(), False)
    assert again.devices[0].ecc is not after.devices[0].ecc


def test_a_tool_that_does_not_return_is_a_time_out() -> None:
    """As the runner of the agent says it, without the wait."""
    host, clock = working("910B"), FakeClock()
    host.begin(1, FaultSpec(fault="tool", node="n", parameters={"kind": "block"}))
    with pytest.raises(SourceTimeout, match="npu-smi info: no answer within 10 s"):
        tools(host, clock).npu_smi(host.state())


def test_sums_of_a_host_never_fall() -> None:
    """Neither while a fault is present, nor by its end, nor by the end of a rank; the faults that are over leave no trace
    in what the next reading costs.
    """
    host = Host(NodeSpec(name="n", vendor="nvidia", family="hopper", devices=2), 0.0)
    pid = host.launch("1", "slurm", 0, Place(0, 1, 0, 1), master="n", restarted=0, partition="train")
    seen: list[tuple[int, int, int, int]] = []
    for now in range(0, 600, 10):
        host.advance(float(now))
        if now == 100:
            host.begin(
                1, FaultSpec(fault="link_errors", node="n", at=Duration(100), device=0, clear_after=Duration(60))
            )
        if now == 200:
            host.begin(2, FaultSpec(fault="ecc_uncorrected", node="n", at=Duration(200), device=0))
        if now == 300:
            assert host.end(2)
            host.kill(pid, code=0)
        gpu = host.state().nvidia[0]
        link = gpu.links[0]
        seen.append(
            (
                gpu.energy_millijoules,
                link.packets,
                sum(link.errors.values()),
                gpu.ecc_aggregate.get("hbm_uncorrected", 0),
            )
        )
    for before, after in itertools.pairwise(seen):
        assert all(a >= b for b, a in zip(before, after, strict=True)), (before, after)
    assert seen[-1][2] == 601, "10 a second for a minute, and the first"
    assert seen[-1][3] == 1
    assert not host.faults
    assert host.state() is host.state(), "nothing is copied any more"


def test_a_rank_has_the_place_that_it_was_given() -> None:
    """Its environment says so; the end of the last rank of a run ends its launcher."""
    host = working("910B")
    node = host.state()
    host.advance(1.0)
    environ = node.ascend[2].processes[0].environ
    assert (environ["RANK"], environ["WORLD_SIZE"], environ["SLURM_JOB_ID"]) == ("2", "4", "77")
    assert [process.name for process in node.launchers] == ["slurmstepd"]
    for pid in list(host.ranks):
        host.kill(pid, signal=15)
    assert not host.state().launchers
    assert [end.signal for end in host.ends] == [15] * 4
    assert msgspec.to_builtins(host.state())["ascend"][0]["processes"] != []
    host.advance(2.0)
    assert host.state().ascend[0].processes == []


def test_a_run_of_a_scenario_and_one_of_a_fleet_are_one() -> None:
    """Members on real agents' nodes and on the fleet's tell the same run, size and attempt, and each rank once."""
    nodes = tuple(NodeSpec(name=f"real-{n}", vendor="ascend", family="910B", devices=2) for n in (1, 2))
    run = RunSpec(id="77", nodes=("real-1", "real-2"), world=8)
    world = World(Scenario(nodes=nodes, runs=(run,)), 0.0)
    found = [chip.processes[0].environ for node in nodes for chip in world.node(node.name, 60.0).ascend]
    plan = Plan(nodes=2, devices=2, ascend_share=1.0, step=15.0, faults=False, workload=False,
                runs=(HandRun(id="77", nodes=2, world=8, first_rank=4, master="real-1"),))  # fmt: skip
    fleet = Fleet(plan, FakeClock())
    fleet.begin()
    found += [rank.process.environ for node in fleet.nodes.values() for rank in node.host.ranks.values()]
    told = [identify(environ) for environ in found]
    assert [one.rank for one in told if one] == list(range(8))
    assert {(one.run_id, one.base, one.world_size, one.launcher, one.partition) for one in told if one} == {
        ("77", "0", 8, "slurm", "train")
    }
    assert {environ["MASTER_ADDR"] for environ in found} == {"real-1"}

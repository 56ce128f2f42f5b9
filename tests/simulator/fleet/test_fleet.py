"""A fleet with a clock that is set: its runs, its faults, its orders, and what the shipped rules make of its pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from accelwatch.simulator.fleet import discovery
from accelwatch.simulator.fleet.fleet import Fleet
from accelwatch.simulator.fleet.orders import Orders
from accelwatch.simulator.fleet.plan import HandRun, Plan, hand_run, place
from accelwatch.simulator.scenario import FaultSpec
from replay.fleet_rules import expect, judge
from support import FakeClock


class FromZero(FakeClock):
    """Whose wall time begins at 0, as that of promtool's tests."""

    def time(self) -> float:
        return self.now - 1000.0


def fleet_of(clock: FakeClock, **options: Any) -> Fleet:
    fleet = Fleet(
        Plan(**({"nodes": 4, "devices": 2, "step": 15.0, "faults": False, "workload": False} | options)), clock
    )
    fleet.begin()
    return fleet


def run_on(fleet: Fleet, clock: FakeClock, seconds: float, step: float = 15.0) -> None:
    until = clock.now + seconds
    while clock.now < until:
        clock.now += step
        fleet.advance()


def page(fleet: Fleet, node: str) -> str:
    found = fleet.page(node)
    assert found is not None
    return found.text.decode()


def order(fleet: Fleet, command: str, **rest: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(Orders(fleet).answer(json.dumps({"command": command, **rest}).encode()))
    return answer


def serials(fleet: Fleet) -> list[str | None]:
    return [device.serial for node in fleet.nodes.values() for device in node.host.devices]


def test_the_same_seed_gives_the_same_fleet() -> None:
    """Nodes, racks, families, drivers; and serials, which belong to the node's name."""
    plan = Plan(nodes=40, ascend_share=0.25, rack_nodes=4, seed=3)
    assert place(plan) == place(plan)
    assert place(plan) != place(Plan(nodes=40, ascend_share=0.25, rack_nodes=4, seed=4))
    vendors = [one.spec.vendor for one in place(plan)]
    assert (vendors.count("nvidia"), vendors.count("ascend")) == (30, 10)
    assert len({one.rack for one in place(plan)}) == 10
    again = [serials(fleet_of(FakeClock())) for _ in range(2)]
    assert again[0] == again[1]
    assert len(set(again[0])) == 8


def test_a_run_by_hand_is_part_of_a_larger_one() -> None:
    """Its size and ranks are those of the whole; its attempt and partition as told."""
    clock = FakeClock()
    asked = hand_run("4711:nodes=2,world=64,first_rank=60,partition=big,vendor=ascend,attempt=2,master=real-1")
    assert asked == HandRun(
        id="4711", nodes=2, world=64, first_rank=60, partition="big", vendor="ascend", attempt=2, master="real-1"
    )
    fleet = fleet_of(clock, runs=(asked,))
    run_on(fleet, clock, 60)
    text = page(fleet, "simnpu-0003")
    assert 'accelwatch_run_world_size{run_id="4711",attempt="2"} 64' in text
    assert 'run_info{run_id="4711",attempt="2",launcher="slurm",partition="big",rank0="false"} 1' in text
    assert "4711" not in page(fleet, "simgpu-0001")


@pytest.mark.parametrize("text", ["4711", "4711:", "4711:nodes=x", "4711:nodes=1,cabbage=2", "4711:nodes=1,launcher=x"])
def test_a_run_that_is_none(text: str) -> None:
    """The error names what was given."""
    with pytest.raises(ValueError, match=f"run '{text}'"):
        hand_run(text)


def test_runs_of_many_sizes_come_go_and_begin_anew() -> None:
    """In half an hour a hundred times as fast; counters of the pages never fall, and all that runs hold is held once."""
    clock = FakeClock()
    fleet = fleet_of(clock, nodes=8, devices=8, workload=True, faults=True, accelerate=120.0)
    sizes, attempts, before = set(), set(), -1.0
    for _ in range(100):
        run_on(fleet, clock, 15)
        runs = list(fleet.work.runs.values())
        sizes |= {len(run.devices) for run in runs}
        attempts |= {run.attempt for run in runs}
        held = [place for run in runs for place in run.pids]
        assert len(held) == len(set(held)), "a device is held by two runs"
        text = page(fleet, "simgpu-0001")
        powered = [float(line.rpartition(" ")[2]) for line in text.splitlines() if 'state="powered"' in line]
        assert sum(powered) >= before
        before = sum(powered)
    assert {1, 8, 16} <= sizes
    assert before == pytest.approx(8 * 100 * 15, rel=0.03), "exposure is real time, whatever is accelerated"
    ended = "".join(page(fleet, name) for name in fleet.nodes)
    assert all(f'outcome="{outcome}"' in ended for outcome in ("completed", "failed"))


def test_a_fault_strikes_its_run_which_goes_on_as_the_next_attempt() -> None:
    """Elsewhere, since the node is not usable until it is repaired."""
    clock = FakeClock()
    rates = dict.fromkeys(("nvidia/lost", "nvidia/gsp_timeout", "nvidia/rdma_down", "nvidia/thermal"), 0.0)
    fleet = fleet_of(
        clock, nodes=4, devices=8, ascend_share=0.0, workload=True, faults=True,
        rates={**rates, "nvidia/ecc_uncorrected": 0.2},
    )  # fmt: skip
    for _ in range(400):
        run_on(fleet, clock, 15)
        again = [run for run in fleet.work.runs.values() if run.attempt and run.restart_at is None]
        if again:
            break
    else:
        pytest.fail("no run began anew")
    text = "".join(page(fleet, name) for name in fleet.nodes)
    assert f'run_id="{again[0].id}",attempt="1"' in text
    assert 'class="mem_uncorrectable"' in text.partition("accelwatch_run_cause_timestamp_seconds{")[2], "no cause told"


def test_a_link_drop_and_a_hang_are_told_by_the_rules(tmp_path: Path) -> None:
    """One run over all nodes waits; the recorded culprit is the device whose port went down."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    clock = FromZero()
    fleet = fleet_of(clock, ascend_share=1.0, runs=(HandRun(id="4711", nodes=4),))
    scrapes: list[dict[str, str | None]] = []
    for second in range(0, 1200, 15):
        if second == 600:
            order(fleet, "inject", fault="roce_down", node="simnpu-0003", device=1)
            assert order(fleet, "hang", run="4711") == {"done": True}
        scrapes.append({name: page(fleet, name) for name in fleet.nodes})
        run_on(fleet, clock, 15)
    key = {"cluster": "c", "run_id": "4711", "attempt": "0"}
    culprit = {**key, "node": "simnpu-0003", "vendor": "ascend", "device": "1"}
    found: Any = SimpleNamespace(scrapes=scrapes)
    judge(
        tmp_path, found,
        expect(570, "accelwatch:run:stalled", (key, 0)),
        expect(1140, "accelwatch:run:stalled", (key, 2)),
        expect(1140, "count by (cluster, run_id, attempt, node, vendor, device) (accelwatch:run:culprit)", (culprit, 1)),
    )  # fmt: skip


def test_a_node_that_is_dark_boots_with_its_journal() -> None:
    """Nothing answers meanwhile; afterwards its counters go on, its runs are gone, and its run's others had waited."""
    clock = FakeClock()
    fleet = fleet_of(clock, ascend_share=0.0, runs=(HandRun(id="7", nodes=2),))
    run_on(fleet, clock, 300)
    assert order(fleet, "dark", nodes=["simgpu-0001"]) == {"done": True}
    assert fleet.page("simgpu-0001") is None
    run_on(fleet, clock, 120)
    assert 'state="spin",run_id="7",attempt="0"} 1' in page(fleet, "simgpu-0002")
    assert "error" in order(fleet, "inject", fault="lost", node="simgpu-0001", device=0)
    order(fleet, "back", nodes=["simgpu-0001"])
    run_on(fleet, clock, 60)
    text = page(fleet, "simgpu-0001")
    exposure = next(line for line in text.splitlines() if 'state="powered"' in line and "_seconds_total{" in line)
    assert 300 <= float(exposure.rpartition(" ")[2]) <= 375, "no time is counted that nobody watched"
    assert 'accelwatch_run_devices{run_id="7"' not in text
    assert "accelwatch_run_end_timestamp_seconds{" in text


def test_a_silent_agent_goes_on() -> None:
    """It does not answer; what it saw meanwhile is on the page afterwards."""
    clock = FakeClock()
    fleet = fleet_of(clock)
    order(fleet, "silent", nodes=["simgpu-0001", "simnpu-0003"])
    fleet.inject(FaultSpec(fault="lost", node="simgpu-0001", device=1))
    assert fleet.page("simgpu-0001") is fleet.page("simnpu-0003") is None
    order(fleet, "back", nodes=["simgpu-0001"])
    assert 'class="device_lost"' in page(fleet, "simgpu-0001").partition("accelwatch_fault_active{")[2]
    assert fleet.page("simnpu-0003") is None


def test_a_storm_is_told_whole() -> None:
    """Each fault strikes a device of its own, all within the time, and all are over later."""
    clock = FakeClock()
    fleet = fleet_of(clock, nodes=4, devices=8)
    assert order(fleet, "storm", faults=32, seconds=30, clear_after=300, fault="ecc_uncorrected") == {"faults": 32}
    run_on(fleet, clock, 45, step=1.0)
    assert len({(f["node"], f["device"]) for f in order(fleet, "list")["faults"]}) == 32
    for name in fleet.nodes:
        told = [line for line in page(fleet, name).splitlines() if line.startswith("accelwatch_fault_active{")]
        devices = {line.partition('device="')[2].partition('"')[0] for line in told if "mem_uncorrectable" in line}
        assert devices == set("01234567")
    run_on(fleet, clock, 330)
    assert order(fleet, "list") == {"faults": []}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"command": "cabbage"}, "does not know 'cabbage'"),
        ({"command": "hang", "run": "1"}, "no run '1'"),
        ({"command": "dark", "nodes": ["x"]}, "no node 'x'"),
        ({"command": "inject", "fault": "roce_down", "node": "simgpu-0001", "device": 0}, "needs an Ascend device"),
        ({"command": "inject", "fault": "lost", "node": "simgpu-0001", "device": 9}, "devices 0 to 1, not 9"),
        ({"command": "storm", "faults": 0, "seconds": 1}, "expected one or more"),
        ({"command": "time", "seconds": 5}, "the real one"),
        ({"nothing": 1}, "command"),
    ],
)
def test_an_order_that_cannot_be(request_: dict[str, Any], words: str) -> None:
    """The answer says why, and the fleet goes on."""
    clock = FakeClock()
    fleet = fleet_of(clock)
    assert words in json.loads(Orders(fleet).answer(json.dumps(request_).encode()))["error"]
    run_on(fleet, clock, 15)
    assert not fleet.faults()


def test_discovery_has_the_labels_of_the_shipped_configuration(tmp_path: Path) -> None:
    """One address, a path and an instance for each node."""
    fleet = fleet_of(FakeClock())
    discovery.write(tmp_path, "127.0.0.1:1", "c", [node.placed for node in fleet.nodes.values()])
    groups = json.loads((tmp_path / discovery.TARGETS).read_text())
    assert [group["targets"] for group in groups] == [["127.0.0.1:1"]] * 4
    assert groups[2]["labels"] == {
        "__metrics_path__": "/simnpu-0003/metrics", "cluster": "c", "node": "simnpu-0003", "rack": "r001",
        "instance": "simnpu-0003:9817",
    }  # fmt: skip

"""The simulator's workloads, seen as the agent sees them: each family's hang is found, its pauses are not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from accelwatch.runs import idle, stall
from accelwatch.runs.sample import Sample, Work
from accelwatch.runs.stall import Level, Verdict
from accelwatch.simulator.scenario import NodeSpec, Phase, Scenario
from accelwatch.simulator.state import Node, Process
from accelwatch.simulator.world import World

FAMILIES = pytest.mark.parametrize("family", ["ampere", "hopper", "blackwell", "310P", "910", "910B", "A3", "950"])
STATES = {"R": "running", "S": "sleeping", "D": "disk-sleep", "T": "stopped", "t": "tracing-stop"}


def replay(
    family: str, phases: list[tuple[float, str]], until: float, cause_at: float = math.inf
) -> list[tuple[float, Verdict]]:
    """Four devices, read every 5 s on NVIDIA and every 10 s on Ascend. From `cause_at` a fault is in force on one."""
    vendor = "nvidia" if family in ("ampere", "hopper", "blackwell") else "ascend"
    node = NodeSpec(name="n", vendor=vendor, family=family, devices=4)  # type: ignore[arg-type]
    workload = tuple(Phase(at=at, phase=phase) for at, phase in phases)  # type: ignore[arg-type]
    world = World(Scenario(nodes=(node,), workload=workload), 1_790_000_000.0)
    state, floors, results = None, {}, []
    at, interval = 0.0, 5.0 if vendor == "nvidia" else 10.0
    while at < until:
        at += interval
        seen = world.node("n", at)
        devices = list(seen.nvidia) or list(seen.ascend)
        # Of an NPU npu-smi and hccn_tool count packets once a minute, each at its own time.
        counted = [world.node("n", last_read(at, phase)) for phase in (0.0, 20.0)]
        samples = [
            Sample(
                vendor=vendor,
                device=str(device.index),
                at=at,
                model=device.model,
                # The second die of an A3 has no power of its own.
                power_watts=None if family == "A3" and device.index % 2 else device.power_watts,
                power_limit_watts=getattr(device, "power_limit_watts", None),
                utilization_ratio=device.utilization_percent / 100,
                **traffic(device.index, seen, counted),
                memory_used_bytes=device.memory_used_mib << 20,
            )
            for device in devices
        ]
        floors = idle.observe(floors, samples)
        processes: list[Process] = [process for device in devices for process in device.processes]
        if not processes:
            state = None
            continue
        work = Work(
            at=at,
            pids=tuple(process.pid for process in processes),
            devices=tuple(sample.key for sample in samples),
            world_size=len(devices),
            cpu_seconds=sum(process.cpu_seconds for process in processes),
            read_bytes=sum(process.read_bytes for process in processes),
            written_bytes=sum(process.written_bytes for process in processes),
            states=tuple(STATES[process.state] for process in processes),
        )
        state, verdict = stall.step(state, samples, work, at, floors=floors, active_cause=at >= cause_at)
        results.append((at, verdict))
    return results


def last_read(at: float, phase: float) -> float:
    return max(0.0, (at - phase) // 60 * 60 + phase)


def traffic(device: int, seen: Node, counted: list[Node]) -> dict[str, Any]:
    if not seen.ascend or not seen.ascend[device].links:
        return {}
    parts = tuple(node.ascend[device].links[0].packets for node in counted)
    return {"traffic_packets": sum(parts), "traffic_parts": parts}


def reached(results: list[tuple[float, Verdict]], level: Level) -> float | None:
    return next((at for at, v in results if v.level is not None and v.level >= level), None)


@FAMILIES
def test_a_hang_is_found_in_time(family: str) -> None:
    results = replay(family, [(0, "idle"), (60, "train"), (600, "hang")], 1000)
    warned, flagged = reached(results, Level.WARN), reached(results, Level.HANG)
    assert warned is not None
    assert flagged is not None
    assert 770 <= warned <= 800
    assert 890 <= flagged <= 930


@FAMILIES
def test_a_hang_with_a_cause_is_flagged_within_a_minute(family: str) -> None:
    """What its processes did in the seconds before they stood still is no sign that they read their input."""
    results = replay(family, [(0, "idle"), (60, "train"), (603, "hang")], 700, cause_at=625)
    flagged = reached(results, Level.HANG)
    assert flagged is not None
    assert flagged <= 663


@FAMILIES
def test_saves_validation_and_data_stalls_are_none(family: str) -> None:
    phases = [(0.0, "idle"), (60.0, "train")]
    for number, pause in enumerate(("save", "validate", "stall")):
        phases += [(500.0 + 1100 * number, pause), (1200.0 + 1100 * number, "train")]
    results = replay(family, phases, 4000)
    assert reached(results, Level.WARN) is None
    assert results[-1][1].armed


def test_a_run_seen_first_in_the_middle_of_its_work_is_judged_too() -> None:
    results = replay("hopper", [(0, "train"), (300, "hang")], 700)
    assert reached(results, Level.HANG) is not None

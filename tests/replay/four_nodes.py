"""A run on four nodes with two devices each: what strikes it when, and how its ranks end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accelwatch.config import Duration
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Phase, RunSpec, Scenario

NODES = ("n1", "n2", "n3", "n4")
RUN = "4711"
MODELS = {"hopper": "NVIDIA H100 80GB HBM3", "910B": "910B2C", "A3": "Ascend910"}
VENDORS = {"hopper": "nvidia", "910B": "ascend", "A3": "ascend"}
ABORT, KILL, SEGFAULT, TERM = 6, 9, 11, 15
# Trained from here on; the fault strikes at the second STRUCK.
TRAINS, STRUCK = 30, 607

CAUSE = "accelwatch:run_interruption:cause_timestamp_seconds"
END = "accelwatch:run_interruption:end_timestamp_seconds"
LOST = "accelwatch:run_interruption:lost_device_seconds"
COUNTED = "sum_over_time(accelwatch:run_interruptions:count1h[3h])"
STALLED, CULPRIT = "accelwatch:run:stalled", "accelwatch:run:culprit"


def four_nodes(
    family: str,
    faults: Sequence[FaultSpec],
    *,
    devices: int = 2,
    ranks: Sequence[str] = NODES,
    launcher: str = "slurm",
    then: Sequence[Phase] = (),
) -> Scenario:
    """`ranks`: the nodes in the order of their ranks; `then`: what the run does after training."""
    vendor = VENDORS[family]
    return Scenario(
        nodes=tuple(NodeSpec(name=name, vendor=vendor, family=family, devices=devices) for name in NODES),  # type: ignore[arg-type]
        runs=(RunSpec(id=RUN, nodes=tuple(ranks), launcher=launcher),),  # type: ignore[arg-type]
        workload=(Phase(phase="idle"), Phase(at=Duration(TRAINS), phase="train"), *then),
        faults=tuple(faults),
    )


def fault(
    name: str, node: str, at: float, device: int | None = None, *, clear: float | None = None, **parameters: str | int
) -> FaultSpec:
    """One fault; `clear`: seconds until it is over."""
    return FaultSpec(
        fault=name,
        node=node,
        at=Duration(at),
        device=device,
        clear_after=None if clear is None else Duration(clear),
        parameters=parameters,  # type: ignore[arg-type]
    )


def waits(at: float = STRUCK, clear: float | None = None) -> list[FaultSpec]:
    """All ranks stand in a collective that one of them does not join."""
    return [fault("hang", node, at, clear=clear) for node in NODES]


def dies(node: str, at: float, device: int, **how: int) -> FaultSpec:
    """The rank of a device ends by `signal` or with `code`."""
    return fault("process_death", node, at, device, **how)


def die(at: float, *nodes: str, **how: int) -> list[FaultSpec]:
    """Both ranks of each node end in the same second."""
    return [dies(node, at, device, **how) for node in nodes for device in (0, 1)]


def cause(
    family: str,
    class_: str,
    at: float,
    outcome: str,
    node: str = "",
    device: str = "",
    run: str = RUN,
    attempt: str = "0",
) -> tuple[Mapping[str, str], float]:
    """A series of the interruptions with its culprit, as far as it has one."""
    labels = {
        "cluster": "c", "run_id": run, "attempt": attempt, "class": class_, "outcome": outcome, "node": node,
        "vendor": VENDORS[family], "model": MODELS[family], "device": device,
    }  # fmt: skip
    return {name: value for name, value in labels.items() if value}, at


def of_run(value: float, run: str = RUN, attempt: str = "0", **labels: str) -> tuple[Mapping[str, str], float]:
    """A series of one value per attempt of a run."""
    return {"cluster": "c", "run_id": run, "attempt": attempt, **labels}, value


def counted(family: str, class_: str, outcome: str, value: float = 1) -> tuple[Mapping[str, str], float]:
    """What the fleet counts of a class."""
    labels = {"cluster": "c", "class": class_, "outcome": outcome}
    return {**labels, "vendor": VENDORS[family], "model": MODELS[family]}, value

"""What is to happen on simulated nodes: hardware, work, and faults at times."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from accelwatch.config import Duration, seconds
from accelwatch.simulator.faults import KINDS

FAMILIES = {
    "nvidia": ("ampere", "hopper", "blackwell"),
    "ascend": ("310", "310B", "310P", "910", "910B", "A3", "950"),
}
DRIVERS = {"nvidia": "570.124.06", "ascend": "24.1.rc3"}
DEVICES_AT_MOST = 64  # as many as the shared memory of the simulated NVML holds
SHIPPED = Path(__file__).parent / "scenarios"


class ScenarioError(Exception):
    """The scenario cannot be used; the message names the file and what is wrong."""


class NodeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One node. `devices` counts what the vendor's tool lists: on an A3 dies. `model`: else the family's usual one."""

    name: str
    vendor: Literal["nvidia", "ascend"]
    family: str
    devices: int = 8
    driver: str | None = None
    model: str | None = None


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the devices do from `at` on: all of them, or those of one node, or one.

    `stall`: waiting for data; `hang`: as the vendor's devices wait in a collective that never ends (a spin on NVIDIA,
    quiet on Ascend). Power climbs for `ramp`, swings by a tenth with `period`, and varies by the share `noise`.
    """

    at: Duration = Duration(0)
    phase: Literal["idle", "train", "save", "validate", "stall", "hang", "spin", "quiet"] = "train"
    node: str | None = None
    device: int | None = None
    ramp: Duration = Duration(0)
    period: Duration = Duration(0)
    noise: float = 0.04


class RunSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A training run on whole nodes: rank 0 is the first device of the first one.

    Where the run has members elsewhere, `world` is its size and `first_rank` that of the first device here.
    """

    id: str
    nodes: tuple[str, ...]
    launcher: Literal["slurm", "torchrun", "mpi", "mindx"] = "slurm"
    name: str = "python3"
    first_pid: int = 20_000
    world: int | None = None
    first_rank: int = 0


class FaultSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fault from `at` on, for `clear_after` where given."""

    fault: str
    node: str
    at: Duration = Duration(0)
    device: int | None = None
    clear_after: Duration | None = None
    parameters: dict[str, str | int | float] = {}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. `speed`: scenario seconds per second. `start`: wall time of second 0, else the present one.

    Without `runs` the nodes of each vendor share one.
    """

    nodes: tuple[NodeSpec, ...]
    speed: float = 1.0
    start: datetime | None = None
    runs: tuple[RunSpec, ...] | None = None
    workload: tuple[Phase, ...] = (Phase(),)
    faults: tuple[FaultSpec, ...] = ()


def load(name: str) -> Scenario:
    """A file, or a shipped scenario by its name. Raises `ScenarioError`."""
    path = Path(name)
    if not path.exists():
        path = SHIPPED / f"{name}.yml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        scenario = msgspec.convert(data, Scenario, dec_hook=_decode)
    except FileNotFoundError:
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yml")))
        raise ScenarioError(f"{name}: no such file; shipped scenarios: {shipped}") from None
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    _check(path, scenario)
    return scenario


def _check(path: Path, scenario: Scenario) -> None:
    """What the types do not say."""
    names = [node.name for node in scenario.nodes]
    if scenario.speed <= 0:
        raise ScenarioError(f"{path}: speed {scenario.speed:g}; expected more than 0 scenario seconds per second")
    for node in scenario.nodes:
        if node.family not in FAMILIES[node.vendor]:
            raise ScenarioError(
                f"{path}: node {node.name}: family {node.family!r}; expected one of {FAMILIES[node.vendor]}"
            )
        if names.count(node.name) > 1:
            raise ScenarioError(f"{path}: node {node.name} is named twice")
        if not 0 < node.devices <= DEVICES_AT_MOST:
            raise ScenarioError(f"{path}: node {node.name}: devices {node.devices}; expected 1 to {DEVICES_AT_MOST}")
    _check_plan(path, scenario)


def _check_plan(path: Path, scenario: Scenario) -> None:
    counts = {node.name: node.devices for node in scenario.nodes}
    for phase in scenario.workload:
        if phase.node is not None:
            _check_place(path, f"workload {phase.phase}", phase.node, phase.device, counts)
        elif phase.device is not None:
            raise ScenarioError(f"{path}: workload {phase.phase}: a device without its node")
    for fault in scenario.faults:
        if fault.fault not in KINDS:
            raise ScenarioError(f"{path}: no fault {fault.fault!r}; see `accelwatch simulate faults`")
        _check_place(path, f"fault {fault.fault}", fault.node, fault.device, counts)
    for run in scenario.runs or ():
        for name in run.nodes:
            _check_place(path, f"run {run.id}", name, None, counts)


def _check_place(path: Path, what: str, node: str, device: int | None, counts: dict[str, int]) -> None:
    if node not in counts:
        raise ScenarioError(f"{path}: {what}: no node {node!r}")
    if device is not None and not 0 <= device < counts[node]:
        raise ScenarioError(f"{path}: {what}: node {node} has devices 0 to {counts[node] - 1}, not {device}")


def _decode(wanted: type, value: Any) -> Any:
    if wanted is Duration:
        return Duration(0) if value in (0, "0s") else Duration(seconds(value))
    raise NotImplementedError(wanted)  # msgspec's word for a type that is not the hook's

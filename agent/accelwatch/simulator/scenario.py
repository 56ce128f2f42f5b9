"""What is to happen on simulated nodes: hardware, work, and faults at times."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from accelwatch.config import Duration, seconds

FAMILIES = {
    "nvidia": ("ampere", "hopper", "blackwell"),
    "ascend": ("310", "310B", "310P", "910", "910B", "A3", "950"),
}
DRIVERS = {"nvidia": "570.124.06", "ascend": "24.1.rc3"}
SHIPPED = Path(__file__).parent / "scenarios"


class ScenarioError(Exception):
    """The scenario cannot be used; the message names the file and what is wrong."""


class NodeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One node. `devices` counts what the vendor's tool lists: on an A3 dies."""

    name: str
    vendor: Literal["nvidia", "ascend"]
    family: str
    devices: int = 8
    driver: str | None = None


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all devices do from `at` on."""

    at: Duration = Duration(0)
    phase: Literal["idle", "train", "save", "hang"] = "train"


class FaultSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fault from `at` on, for `clear_after` where given."""

    fault: str
    node: str
    at: Duration = Duration(0)
    device: int | None = None
    clear_after: Duration | None = None
    parameters: dict[str, str | int | float] = {}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. `speed`: scenario seconds per second."""

    nodes: tuple[NodeSpec, ...]
    speed: float = 1.0
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
    names = [node.name for node in scenario.nodes]
    for node in scenario.nodes:
        if node.family not in FAMILIES[node.vendor]:
            raise ScenarioError(
                f"{path}: node {node.name}: family {node.family!r}; expected one of {FAMILIES[node.vendor]}"
            )
        if names.count(node.name) > 1:
            raise ScenarioError(f"{path}: node {node.name} is named twice")
    for fault in scenario.faults:
        if fault.node not in names:
            raise ScenarioError(f"{path}: fault {fault.fault}: no node {fault.node!r}")
    return scenario


def _decode(wanted: type, value: Any) -> Any:
    if wanted is Duration:
        return Duration(0) if value in (0, "0s") else Duration(seconds(value))
    raise NotImplementedError(wanted)

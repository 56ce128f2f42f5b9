"""What the fleet is made of: nodes by vendor and rack, and the runs that are given by hand."""

from __future__ import annotations

import random

import msgspec

from accelwatch.simulator.launch import LAUNCHERS
from accelwatch.simulator.scenario import DEVICES_AT_MOST, NodeSpec

# Families of each vendor and how many of its nodes in a hundred are of them.
_FAMILIES = {"nvidia": {"hopper": 70, "blackwell": 30}, "ascend": {"910B": 60, "A3": 40}}
_DRIVERS = {"nvidia": ("570.124.06", "570.133.20"), "ascend": ("24.1.rc3", "24.1.rc3")}
_OLDER_DRIVER_SHARE = 0.06  # nodes that an upgrade has not reached


class HandRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that goes on until it is told to end; `world` and `first_rank`: where it has members elsewhere."""

    id: str
    nodes: int
    world: int | None = None
    first_rank: int = 0
    launcher: str = "slurm"
    partition: str = "train"
    vendor: str | None = None  # only of this one
    attempt: int = 0
    master: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All options. `rates`: `vendor/kind` to faults per device-hour."""

    nodes: int = 64
    devices: int = 8
    ascend_share: float = 0.5
    cluster: str = "simulated"
    prefix: str = "sim"
    rack_nodes: int = 8
    seed: int = 1
    step: float = 5.0
    accelerate: float = 1.0
    workload: bool = True
    faults: bool = True
    rates: dict[str, float] = {}
    runs: tuple[HandRun, ...] = ()

    def check(self) -> None:
        """Raises `ValueError`."""
        if self.nodes < 1 or not 1 <= self.devices <= DEVICES_AT_MOST:
            raise ValueError(f"{self.nodes} nodes x {self.devices} devices; expected 1 or more, 1 to {DEVICES_AT_MOST}")
        if not 0 <= self.ascend_share <= 1:
            raise ValueError(f"share of Ascend {self.ascend_share:g}; expected 0 to 1")
        if self.step < 1 or self.accelerate <= 0 or self.rack_nodes < 1:
            raise ValueError("expected a step of 1 s or more, acceleration above 0, racks of 1 node or more")


class Placed(msgspec.Struct, frozen=True):
    """A node and where it stands."""

    spec: NodeSpec
    rack: str


def place(plan: Plan) -> list[Placed]:
    """The nodes; the same seed gives the same. Racks hold one vendor each, but for the last of the first one."""
    ascend = round(plan.nodes * plan.ascend_share)
    nodes = []
    for number in range(plan.nodes):
        vendor = "nvidia" if number < plan.nodes - ascend else "ascend"
        seed = random.Random(f"{plan.seed}/{number}")
        rack = number // plan.rack_nodes
        # A rack has one family; which, is drawn for each rack.
        shares = _FAMILIES[vendor]
        family = random.Random(f"{plan.seed}/{vendor}/{rack}").choices(list(shares), list(shares.values()))[0]
        driver = _DRIVERS[vendor][seed.random() < _OLDER_DRIVER_SHARE]
        spec = NodeSpec(
            name=f"{plan.prefix}{'gpu' if vendor == 'nvidia' else 'npu'}-{number + 1:04d}",
            vendor=vendor,  # type: ignore[arg-type]
            family=family,
            devices=plan.devices,
            driver=driver,
        )
        nodes.append(Placed(spec, f"r{rack + 1:03d}"))
    return nodes


def hand_run(text: str) -> HandRun:
    """`ID:nodes=56,world=512,first_rank=64,...`. Raises `ValueError`."""
    name, colon, rest = text.partition(":")
    pairs = dict(pair.split("=", 1) for pair in rest.split(",") if "=" in pair)
    if not name or not colon or len(pairs) != len([part for part in rest.split(",") if part]):
        raise ValueError(f"run {text!r}; expected ID:nodes=N[,world=W][,first_rank=R][,launcher=L][,partition=P]...")
    try:
        run = msgspec.convert({"id": name, **pairs}, HandRun, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"run {text!r}: {error}") from error
    if odd := pairs.keys() - set(HandRun.__struct_fields__):
        raise ValueError(f"run {text!r}: no {', '.join(sorted(odd))}")
    if run.launcher not in LAUNCHERS or run.nodes < 1:
        raise ValueError(f"run {text!r}: expected a launcher of {', '.join(LAUNCHERS)} and a node or more")
    return run

"""What a made-up fleet is told to be: who is in it, at which true rates it fails, and what happens beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HOUR, DAY = 3600, 86_400

# Episodes per powered device-hour, the truth that intervals have to hold. High enough that a hundred devices show each
# class some times a quarter.
RATES: Mapping[str, float] = {
    "device_lost": 4e-5,
    "mem_uncorrectable": 6e-5,
    "control_processor": 3e-5,
    "intra_node_link": 5e-5,
    "mem_repair": 8e-5,
    "pcie_host_link": 8e-5,
    "thermal": 4e-5,
    "net_link_flap": 12e-5,
    "app_device_exception": 20e-5,
}
RUN_ENDING = ("device_lost", "mem_uncorrectable", "control_processor", "intra_node_link")
# Of the run-ending ones: how many devices are taken out for it.
REPLACED = {"device_lost": 0.5, "mem_uncorrectable": 0.15}
# Interruptions of runs per powered device-hour.
INTERRUPTIONS: Mapping[str, float] = {
    "device_lost": 3e-5,
    "intra_node_link": 4e-5,
    "net_link_down": 2e-5,
    "software_job": 8e-5,
    "unknown": 2e-5,
}
# What a bad device has more of: a class for which nobody takes it out, so that it stays one.
LEMON_CLASS = "mem_repair"


@dataclass(frozen=True)
class Model:
    """Devices of one kind. `drivers`: the second one comes with a planned maintenance, on some nodes."""

    vendor: str
    name: str
    nodes: int
    drivers: tuple[str, str]
    prefix: str


def models(nodes: int) -> tuple[Model, ...]:
    """So many nodes, four at least, over two vendors, about equally, each with an elder and a newer model."""
    elder, half = max(1, nodes // 4), nodes // 2
    return (
        Model("nvidia", "H100", elder, ("550.54", "560.28"), "gpu-a"),
        Model("nvidia", "H200", half - elder, ("560.28", "570.86"), "gpu-b"),
        Model("ascend", "910B3", elder, ("24.1.rc2", "24.1.rc3"), "npu-a"),
        Model("ascend", "910C", nodes - half - elder, ("25.0.rc1", "25.0.rc1"), "npu-b"),
    )


@dataclass(frozen=True)
class Plan:
    """A quarter of a fleet, to be drawn from its seed.

    `lead_hours`: recorded before the window of `days`, and not in its truth. `nvidia_times`: the true ratio of the two
    vendors' run-ending hardware faults. `spread`: variance of a factor of mean 1 that each device has on all its
    rates (0: all alike). `lemons`: bad devices among each model, for certain; `lemon_chance`: that any device is one.
    """

    seed: int
    nodes: int = 24
    devices: int = 8  # a node
    days: int = 90
    lead_hours: int = 0
    cluster: str = "synthetic"
    rates: Mapping[str, float] = field(default_factory=lambda: RATES)
    interruptions: Mapping[str, float] = field(default_factory=lambda: INTERRUPTIONS)
    nvidia_times: float = 1.0
    spread: float = 0.0
    lemons: int = 0
    lemon_chance: float = 0.0
    lemon_times: float = 40.0
    maintenances: float = 3.0  # a node and 90 days
    outages: float = 2.0  # of the agent, likewise
    maintenance_times: float = 20.0  # faults while people work on a node, against other times
    drills: int = 6

    @property
    def span(self) -> int:
        """Seconds that are drawn, the lead in it."""
        return self.days * DAY + self.lead_hours * HOUR

    @property
    def window(self) -> tuple[int, int]:
        """Seconds from the beginning of what is drawn."""
        return self.lead_hours * HOUR, self.span

    def rate(self, model: Model, class_: str) -> float:
        """Per powered device-hour of an ordinary device."""
        times = self.nvidia_times if model.vendor == "nvidia" and class_ in RUN_ENDING else 1.0
        return self.rates[class_] * times

    def population_rate(self, model: Model, class_: str) -> float:
        """The same over all devices, bad ones with their share."""
        if class_ != LEMON_CLASS:
            return self.rate(model, class_)
        share = self.lemons / (model.nodes * self.devices) + self.lemon_chance
        return self.rate(model, class_) * (1 + share * (self.lemon_times - 1))

"""What a fault of the simulation is: a change to a node's true state, and lines in its kernel log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from accelwatch.simulator.state import AscendDevice, Device, Link, Node, NvidiaDevice

Parameters = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Context:
    """Where and how a fault strikes; `age` is scenario seconds since it began, which stand still once it is over."""

    node: Node
    device: Device | None
    parameters: Parameters
    age: float
    started: float
    over: bool = False

    def number(self, name: str, default: float) -> float:
        """A parameter as a number. Raises `ValueError`."""
        return float(self.parameters.get(name, default))

    def word(self, name: str, default: str) -> str:
        """A parameter as text."""
        return str(self.parameters.get(name, default))

    @property
    def nvidia(self) -> NvidiaDevice:
        """The GPU. Raises `ValueError` where the fault names none."""
        if not isinstance(self.device, NvidiaDevice):
            raise ValueError("this fault needs an NVIDIA device")
        return self.device

    @property
    def ascend(self) -> AscendDevice:
        """The NPU. Raises `ValueError` where the fault names none."""
        if not isinstance(self.device, AscendDevice):
            raise ValueError("this fault needs an Ascend device")
        return self.device

    @property
    def any(self) -> Device:
        """The device of either vendor. Raises `ValueError` where the fault names none."""
        if self.device is None:
            raise ValueError("this fault needs a device")
        return self.device

    @property
    def link(self) -> Link:
        """The NVLink or HCCS link of the parameter `link`. Raises `ValueError` where the device has none such."""
        wanted = int(self.number("link", 0))
        for link in self.any.links:
            if link.number == wanted:
                return link
        raise ValueError(f"device {self.any.index} has no link {wanted}; it has {len(self.any.links)}")

    @property
    def ended(self) -> float:
        """Scenario second at which it was over, or the present one."""
        return self.started + self.age


Change = Callable[[Context], None]
Lines = Callable[[Context], list[str]]


def nothing(_context: Context) -> None:
    """The change of a fault that only the kernel log tells of."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault. `leaves`: what stays when it is over, such as the counts it made. `reboots`: the host."""

    help: str
    change: Change
    lines: Lines = field(default=lambda _context: [])
    leaves: Change = nothing
    reboots: bool = False


def xid_line(context: Context, number: int, text: str, process: bool = False) -> str:
    """An Xid as drivers from 570 on write it: pid and name are left out when unknown (reference/nvidia.md 5.1)."""
    device = context.nvidia
    holder = device.processes[0] if process and device.processes else None
    who = f"pid={holder.pid}, name={holder.name}, " if holder else ""
    return f"NVRM: Xid (PCI:{device.pci.rpartition('.')[0]}): {number}, {who}{text}"


def add(counts: dict[str, int], name: str, count: int) -> None:
    """Raises one counter."""
    counts[name] = counts.get(name, 0) + count

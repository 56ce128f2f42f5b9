"""What a detector is: a pure step from state and reading to state and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from accelwatch.faults.sign import Finding
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.log_event import Entry
from accelwatch.readings.snapshot import Snapshot
from accelwatch.runs.model import RunRef


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A source has answered. `missing`: devices that it ought to list and does not (never from a cut list)."""

    source: str
    snapshot: Snapshot
    missing: tuple[DeviceKey, ...] = ()
    interval: float = 10.0  # the source's own, in seconds
    # Families of `Device` in which anything was read anew since the answer before; `None`: all of it may be.
    fresh: frozenset[str] | None = None

    def repeats(self, *families: str) -> bool:
        """Whether what it says of these families is only what the answer before said: sources repeat what they read
        at a slower pace. A detector may pass over that, while no condition is being timed.
        """
        return self.fresh is not None and self.fresh.isdisjoint(families)


class Silent(msgspec.Struct, frozen=True, kw_only=True):
    """A source has failed. `timed_out`: a call did not return within its `deadline`. `since`: steady seconds."""

    source: str
    error: str
    timed_out: bool = False
    released: bool = False  # an operator let go of the driver: not a fault
    since: float = 0.0
    deadline: float = 10.0  # of each call, in seconds
    waited: float | None = None  # for an answer to the calls that did not return; `None`: for one deadline


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of the kernel log (source `kernel_log`), of HCCL or training logs (`hccl_log`), or NVML events (`nvml`)."""

    source: str
    entries: tuple[Entry, ...]


class Tick(msgspec.Struct, frozen=True):
    """Nothing but time has passed."""


Reading = Answered | Silent | Logged | Tick


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A device of the inventory."""

    key: DeviceKey
    label: str
    model: str | None = None
    pci: str | None = None
    serial: str | None = None
    uuid: str | None = None
    phy_id: int | None = None
    npu_id: int | None = None
    parent: DeviceKey | None = None  # of a MIG device: its GPU
    up: bool = True


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What is known besides the reading: the inventory, who holds which device, what the operator expects."""

    devices: Mapping[DeviceKey, Known] = {}
    runs: Mapping[DeviceKey, RunRef] = {}
    links_seen_up: frozenset[tuple[DeviceKey | None, str]] = frozenset()  # ports that were up once
    expected_devices: int | None = None
    expected_links: int | None = None

    def by_pci(self, pci: str) -> Known | None:
        """The device at a PCI address, with or without its function."""
        wanted = pci.partition(".")[0]
        for known in self.devices.values():
            if known.pci is not None and known.parent is None and known.pci.partition(".")[0] == wanted:
                return known
        return None

    def by_number(self, number: int) -> Known | None:
        """The Ascend device with that physical id; where none is told, the one whose NPU id it is."""
        ascend = [known for known in self.devices.values() if known.key.vendor is Vendor.ASCEND]
        for known in ascend:
            if known.phy_id == number:
                return known
        return next((known for known in ascend if known.phy_id is None and known.npu_id == number), None)


class Detector(Protocol):
    """One family of faults. `state_type` is a frozen msgspec.Struct of plain values: it is kept in the journal as JSON.

    Times in it are steady seconds, which go on over restarts and reboots of the host.
    """

    name: str
    state_type: type[Any]

    def start(self) -> Any:
        """The state of a node that nothing is known of."""
        ...

    def step(self, state: Any, reading: Reading, now: float, context: Context) -> tuple[Any, Sequence[Finding]]:
        """The next state and what the reading shows; `state` is not changed. The same object: nothing new in it.

        `now` is in steady seconds (`clock.SteadyClock`). A detector passes over readings that it has no use for.
        """
        ...

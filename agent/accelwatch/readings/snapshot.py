"""All that one source knows at one moment."""

from __future__ import annotations

import msgspec

from accelwatch.readings.health import DeviceState, Health
from accelwatch.readings.identity import DeviceKey, Identity
from accelwatch.readings.link import Fabric, Link, Pcie
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.memory import EccCount, Repairs
from accelwatch.readings.process import DeviceProcess, HostProcess
from accelwatch.readings.sensors import Sensors


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device as a source sees it; `None` where the source did not, or could not, read that family."""

    identity: Identity
    state: DeviceState = DeviceState.UP
    reason: str | None = None  # why it is not up: the driver's own words or the call that blocked
    sensors: Sensors | None = None
    health: Health | None = None
    ecc: tuple[EccCount, ...] | None = None
    repairs: Repairs | None = None
    pcie: Pcie | None = None
    fabric: Fabric | None = None
    links: tuple[Link, ...] | None = None
    processes: tuple[DeviceProcess, ...] | None = None  # (): the driver says that nobody holds it

    @property
    def key(self) -> DeviceKey:
        """The device's key."""
        return self.identity.key


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A source's whole present view: it replaces the one before. What is not in it is not known any more."""

    devices: tuple[Device, ...] = ()
    links: tuple[Link, ...] = ()  # of devices that another source identifies (hccn_tool), or of the host (rdma)
    processes: tuple[HostProcess, ...] = ()
    # Accelerators of the source's vendor that the host itself shows, whether or not the vendor's tool lists them: more
    # than `devices` while `complete` means that some were left out. `None`: the host does not tell.
    devices_on_bus: int | None = None
    complete: bool = True  # False: the list of devices was cut, so one that is not in it need not be missing
    events: tuple[LogEvent, ...] = ()  # what has happened since the poll before (NVML events, lines of HCCL logs)
    cursor: str | None = None  # where the source stands in what it follows, for the journal; its own words
    problems: tuple[str, ...] = ()  # parts that failed while the rest answered: counted and logged as errors
    blocked: bool = False  # the last call of the poll ran into its deadline: whether it was chance is to be asked soon


def read_anew(before: Snapshot | None, after: Snapshot) -> frozenset[str] | None:
    """The families of a source's devices that are not the very objects of its answer before; `None`: all may be.

    Between two full readings a source hands on what it has not read again.
    """
    if before is None or len(before.devices) != len(after.devices):
        return None
    fresh = set() if after.links is before.links else {"links"}
    for old, new in zip(before.devices, after.devices, strict=True):
        if old.identity is not new.identity or old.state is not new.state:
            return None
        # One by one rather than by name: this looks at every device twice a second.
        if old.sensors is not new.sensors:
            fresh.add("sensors")
        if old.health is not new.health:
            fresh.add("health")
        if old.ecc is not new.ecc:
            fresh.add("ecc")
        if old.repairs is not new.repairs:
            fresh.add("repairs")
        if old.pcie is not new.pcie:
            fresh.add("pcie")
        if old.fabric is not new.fabric:
            fresh.add("fabric")
        if old.links is not new.links:
            fresh.add("links")
        if old.processes is not new.processes:
            fresh.add("processes")
    return frozenset(fresh)

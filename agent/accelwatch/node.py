"""What this node knows now: the last snapshot of each source, joined with the inventory and the counters."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from accelwatch.clock import Clock
from accelwatch.detectors.base import Known
from accelwatch.journal.counters import Counters
from accelwatch.journal.inventory import Inventory
from accelwatch.journal.link_names import LinkNames
from accelwatch.journal.store import CounterRow, DeviceRow
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.link import Link, LinkState
from accelwatch.readings.memory import ErrorKind
from accelwatch.readings.snapshot import Device, Snapshot, read_anew
from accelwatch.sources.base import AscendDevice
from accelwatch.views import View, Views

# The source that lists a vendor's devices: only its word makes a device missing.
LISTED_BY = {"nvml": Vendor.NVIDIA, "npu_smi": Vendor.ASCEND}

# A repeated transfer that arrived is not an error (reference/ascend.md section 4: a warning on its own).
RETRIES = frozenset(("retry", "retry_req_sum", "retry_ack_sum"))


class Node:
    """Takes snapshots in, gives views out; all methods may be called from any thread."""

    def __init__(
        self,
        clock: Clock,
        devices: Iterable[DeviceRow] = (),
        counters: Iterable[CounterRow] = (),
        links_seen_up: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._inventory = Inventory(devices)
        self._counters = Counters(counters)
        self._link_names = LinkNames(self._counters)
        self._seen_up = set(links_seen_up)
        self._seen_up_dirty: list[tuple[str, str]] = []
        self._was_up: dict[tuple[str, str], bool] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._up: dict[str, set[DeviceKey]] = {}  # by source
        self._packets: dict[str, dict[DeviceKey, int]] = {}  # by source
        self._known: Mapping[DeviceKey, Known] = {}
        self._known_version = -1
        self._ports: frozenset[tuple[DeviceKey | None, str]] = frozenset()
        self._ports_version = (-1, -1)
        self._views = Views(self._counters, self._seen_up, self._link_names)

    def update(self, source: str, snapshot: Snapshot) -> list[DeviceKey]:
        """A source has answered: its view replaces the one before.

        Gives the devices that it ought to list and does not; a cut list makes none missing.
        """
        with self._lock:
            now = self._clock.time()
            before = self._snapshots.get(source)
            old = {device.key: device for device in before.devices} if before is not None else {}
            for device in snapshot.devices:
                last = old.get(device.key)
                if last is None or not _same_word(last, device) or self._inventory.get(device.key) is None:
                    self._inventory.learn(device.identity, device.state is DeviceState.UP, now)
            vendor = LISTED_BY.get(source)
            absent: list[DeviceKey] = []
            if vendor is not None and snapshot.complete:
                listed = {device.key for device in snapshot.devices}
                absent = [k for k in self._inventory.keys(vendor) if k not in listed]
                for key in absent:
                    self._inventory.missing(key)
            self._snapshots[source] = snapshot
            self._up[source] = {device.key for device in snapshot.devices if device.state is DeviceState.UP}
            self._count(snapshot, old)
            self._packets[source] = self._sum_packets(source, before, snapshot)
        return absent

    def silence(self, source: str) -> None:
        """A source has stopped answering: what it measured is not known any more."""
        with self._lock:
            self._snapshots.pop(source, None)
            self._packets.pop(source, None)

    def snapshot(self, source: str) -> Snapshot | None:
        """The source's last answer, `None` while it is silent."""
        with self._lock:
            return self._snapshots.get(source)

    def measured(self) -> dict[DeviceKey, Device]:
        """Every device as its source last saw it; those of silent sources are not in it."""
        with self._lock:
            return {device.key: device for snapshot in self._snapshots.values() for device in snapshot.devices}

    def packets(self) -> dict[DeviceKey, tuple[int, ...]]:
        """Packets over the links of each device, where its links count them; one number for each source of them."""
        sums: dict[DeviceKey, tuple[int, ...]] = {}
        with self._lock:
            for _, packets in sorted(self._packets.items()):
                for key, number in packets.items():
                    sums[key] = (*sums.get(key, ()), number)
        return sums

    def known(self) -> Mapping[DeviceKey, Known]:
        """The inventory as detectors see it."""
        with self._lock:
            if self._known_version != self._inventory.version:
                self._known_version = self._inventory.version
                self._known = {row.identity.key: _known(row) for row in self._inventory.rows()}
            return self._known

    def inventory(self) -> list[DeviceRow]:
        """Every device that this node ever had."""
        with self._lock:
            return self._inventory.rows()

    def key_of(self, vendor: str, label: str) -> DeviceKey | None:
        """The device that has a label."""
        with self._lock:
            return self._inventory.key_of(vendor, label)

    def owner(self, identity: Identity) -> str:
        """Whom counters of a device belong to."""
        with self._lock:
            row = self._inventory.get(identity.key)
            return self._inventory.owner(identity if row is None else row.identity)

    def owner_of(self, key: DeviceKey) -> str:
        """The same, by its key; a device that is not known has itself."""
        with self._lock:
            row = self._inventory.get(key)
            return key.native if row is None else self._inventory.owner(row.identity)

    def answers(self, key: DeviceKey) -> bool:
        """Whether its driver answers for the device now: it is in the last answer of a source that is not silent."""
        with self._lock:
            for source, vendor in LISTED_BY.items():
                snapshot = self._snapshots.get(source)
                if vendor is key.vendor and snapshot is not None:
                    return key in self._up[source]
        return False

    def count(self, owner: str, counter: str, labels: str, amount: float) -> None:
        """Adds to a counter of our own."""
        with self._lock:
            self._counters.add(owner, counter, labels, amount)

    def counters_of(self, owner: str, counter: str) -> dict[str, float]:
        """Labels and totals of a counter of our own."""
        with self._lock:
            return dict(self._counters.of(owner, counter))

    def links_seen_up(self) -> frozenset[tuple[DeviceKey | None, str]]:
        """Ports that were up once, by device; those of the host have none."""
        with self._lock:
            versions = (self._inventory.version, len(self._seen_up))
            if self._ports_version != versions:
                self._ports_version = versions
                owners = {self._inventory.owner(row.identity): row.identity.key for row in self._inventory.rows()}
                self._ports = frozenset(
                    (owners.get(owner), link) for owner, link in self._seen_up if owner == "host" or owner in owners
                )
            return self._ports

    def forget(self, keys: Iterable[DeviceKey]) -> list[DeviceRow]:
        """An operator takes devices out of the inventory; those that are up stay. Gives those that went."""
        with self._lock:
            rows = [row for key in keys if (row := self._inventory.get(key)) is not None and not row.up]
            for row in rows:
                self._inventory.forget(row.identity.key)
            return rows

    def take_forgotten(self) -> list[DeviceKey]:
        """Devices that were taken out since the last call, for the journal."""
        with self._lock:
            return self._inventory.take_forgotten()

    def ascend_devices(self) -> list[AscendDevice]:
        """The NPUs that hccn_tool can be asked about."""
        with self._lock:
            rows = [row for row in self._inventory.rows() if row.identity.key.vendor is Vendor.ASCEND and row.up]
        result = []
        for row in rows:
            identity = row.identity
            is_950 = (identity.model or "").startswith("Ascend950")
            candidates = (identity.logic_id, identity.phy_id) if is_950 else (identity.phy_id, identity.logic_id)
            number = next((n for n in (*candidates, identity.npu_id) if n is not None), None)
            if number is not None:
                result.append(AscendDevice(identity.key, number, is_950))
        return result

    def take_changes(self) -> tuple[list[DeviceRow], list[CounterRow], list[tuple[str, str]]]:
        """What the journal has to write."""
        with self._lock:
            links, self._seen_up_dirty = self._seen_up_dirty, []
            return self._inventory.take_changes(), self._counters.take_changes(), links

    def view(self) -> View:
        """The node as it is known now."""
        with self._lock:
            measured = {d.key: d for s in self._snapshots.values() for d in s.devices}
            loose: dict[DeviceKey | None, list[Link]] = {}
            for snapshot in self._snapshots.values():
                for link in snapshot.links:
                    loose.setdefault(link.key, []).append(link)
            devices = tuple(
                self._views.device(
                    row,
                    self._inventory.owner(row.identity),
                    measured.get(row.identity.key),
                    loose.get(row.identity.key, []),
                )
                for row in self._inventory.rows()
            )
            host = self._views.links("host", loose.get(None, []))
            processes = tuple(p for s in self._snapshots.values() for p in s.processes)
        return View(devices=devices, host_links=host, processes=processes)

    def _sum_packets(self, source: str, before: Snapshot | None, after: Snapshot) -> dict[DeviceKey, int]:
        """What every link of a snapshot has carried, by device; those of the host are left out."""
        fresh = read_anew(before, after)
        if fresh is not None and "links" not in fresh:
            return self._packets.get(source, {})
        sums: dict[DeviceKey, int] = {}
        own = (link for device in after.devices for link in device.links or ())
        for link in (*own, *after.links):
            if link.key is not None and link.packets is not None:
                sums[link.key] = sums.get(link.key, 0) + link.packets
        return sums

    def _count(self, snapshot: Snapshot, old: Mapping[DeviceKey, Device]) -> None:
        """What was counted of the answer before has nothing new."""
        for device in snapshot.devices:
            last = old.get(device.key)
            if last is not None and last.identity is not device.identity:
                last = None
            row = self._inventory.get(device.key)
            identity = row.identity if row is not None else device.identity
            owner = self._inventory.owner(identity)
            if last is None or last.ecc is not device.ecc or last.repairs is not device.repairs:
                self._count_memory(owner, device)
            if last is None or last.links is not device.links:
                counted = (last.links if last is not None else None) or ()
                for number, link in enumerate(device.links or ()):
                    if number >= len(counted) or counted[number] != link:
                        self._count_link(owner, link)
            anew = last is None or last.pcie is not device.pcie
            if anew and device.pcie is not None and device.pcie.replays is not None:
                self._counters.follow(owner, "link_errors", "pcie:pcie0", device.pcie.replays)
                self._link_names.counted(owner, "pcie:pcie0")
        for link in snapshot.links:
            if link.key is None:
                self._count_link("host", link)
                continue
            row = self._inventory.get(link.key)
            if row is not None:
                self._count_link(self._inventory.owner(row.identity), link)

    def _count_memory(self, owner: str, device: Device) -> None:
        """Lifetime counters where the device has them: they do not lose what came just before a reset."""
        counts = [count for count in device.ecc or () if not count.place]
        lifetime = {(count.memory, count.kind) for count in counts if count.lifetime}
        for count in counts:
            if count.lifetime or (count.memory, count.kind) not in lifetime:
                self._counters.follow(owner, "ecc_errors", f"{count.memory}:{count.kind.value}", count.count)
        if device.repairs is not None:
            for kind, rows in (
                (ErrorKind.CORRECTED, device.repairs.rows_corrected),
                (ErrorKind.UNCORRECTED, device.repairs.rows_uncorrected),
            ):
                if rows is not None:
                    self._counters.follow(owner, "rows_remapped", kind.value, rows)

    def _count_link(self, owner: str, link: Link) -> None:
        label = f"{link.kind.value}:{link.link}"
        seen = (owner, link.link)
        if link.state is LinkState.UP and seen not in self._seen_up:
            self._seen_up.add(seen)
            self._seen_up_dirty.append(seen)
        if link.errors is not None:
            self._counters.follow(
                owner,
                "link_errors",
                label,
                sum(count for name, count in link.errors.items() if name not in RETRIES),
            )
        if link.drops is not None:
            self._counters.follow(owner, "link_drops", label, link.drops)
        elif link.ups is not None:
            # Older hccn_tool counts only the times it came up (reference/ascend.md section 3): each but the first
            # follows a drop, and a port that is down now has dropped once more.
            self._counters.follow(owner, "link_drops", label, max(0, link.ups - (link.state is not LinkState.DOWN)))
        elif link.state is not LinkState.UNKNOWN:
            up = link.state is LinkState.UP
            self._counters.add(owner, "link_drops", label, 1 if self._was_up.get(seen) and not up else 0)
            self._was_up[seen] = up
        self._link_names.counted(owner, label)


def _same_word(before: Device, after: Device) -> bool:
    """Whether the source says of the device what it said before, in the very same object."""
    return before.identity is after.identity and before.state is after.state


def _known(row: DeviceRow) -> Known:
    identity = row.identity
    return Known(
        key=identity.key,
        label=row.label,
        model=identity.model,
        pci=identity.pci,
        serial=identity.serial,
        uuid=identity.uuid,
        phy_id=identity.phy_id,
        npu_id=identity.npu_id,
        parent=identity.parent,
        up=row.up,
    )

"""The devices of this node, and the `device` label of each."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from accelwatch.journal.rows import DeviceRow
from accelwatch.readings.identity import DeviceKey, Identity, Vendor

_VENDORS = frozenset(vendor.value for vendor in Vendor)


class Inventory:
    """Learns devices and keeps their labels; only grows, unless an operator says that a device is gone for good."""

    def __init__(self, rows: Iterable[DeviceRow] = ()) -> None:
        self._rows = {row.identity.key: row for row in rows}
        self._labels = {(key.vendor, row.label): key for key, row in self._rows.items()}
        self._dirty: set[DeviceKey] = set()
        self._forgotten: list[DeviceKey] = []
        self.version = 0  # rises with every change

    def rows(self) -> list[DeviceRow]:
        """Every known device, in the order of vendor and label."""
        return sorted(self._rows.values(), key=lambda row: (row.identity.key.vendor, _natural(row.label)))

    def keys(self, vendor: Vendor) -> list[DeviceKey]:
        """Every known device of a vendor."""
        return [key for key in self._rows if key.vendor is vendor]

    def key_of(self, vendor: str, label: str) -> DeviceKey | None:
        """The device that has a label."""
        return self._labels.get((Vendor(vendor), label)) if vendor in _VENDORS else None

    def get(self, key: DeviceKey) -> DeviceRow | None:
        """The device, if it was ever seen."""
        return self._rows.get(key)

    def learn(self, identity: Identity, up: bool, now: float) -> DeviceRow:
        """Notes a device that a source has named at wall time `now`, and gives its row with its label."""
        known = self._rows.get(identity.key)
        if known is None:
            row = DeviceRow(identity, self._label(identity), up, now)
        else:
            merged = _merge(known.identity, identity)
            label = known.label
            if identity.key.vendor is Vendor.ASCEND and merged.phy_id != known.identity.phy_id:
                label = self._label(merged)
            if merged == known.identity and up == known.up and label == known.label:
                return known
            self._labels.pop((identity.key.vendor, known.label), None)
            row = DeviceRow(merged, label, up, known.first_seen)
        self._put(row)
        return row

    def missing(self, key: DeviceKey) -> None:
        """Notes that the source which lists this device answered without it."""
        row = self._rows.get(key)
        if row is not None and row.up:
            self._put(msgspec.structs.replace(row, up=False))

    def forget(self, key: DeviceKey) -> bool:
        """Takes out a device that is gone for good; false for one that is up, or not known.

        Its counters stay: they belong to the UUID or serial, which may come back in another slot.
        """
        row = self._rows.get(key)
        if row is None or row.up:
            return False
        del self._rows[key]
        if self._labels.get((key.vendor, row.label)) == key:
            del self._labels[(key.vendor, row.label)]
        self._dirty.discard(key)
        self._forgotten.append(key)
        self.version += 1
        return True

    def take_forgotten(self) -> list[DeviceKey]:
        """Devices forgotten since the last call, for the journal; to be taken together with `take_changes`."""
        keys, self._forgotten = self._forgotten, []
        return keys

    def take_changes(self) -> list[DeviceRow]:
        """Rows that changed since the last call, for the journal."""
        rows = [self._rows[key] for key in self._dirty]
        self._dirty.clear()
        return rows

    def owner(self, identity: Identity) -> str:
        """What counters belong to: the UUID or serial, not the slot (design.md, Persistence)."""
        if identity.uuid:
            return identity.uuid
        if identity.serial:
            return f"{identity.serial}/chip{identity.chip_id}" if identity.chip_id else identity.serial
        return identity.pci or identity.key.native

    def _put(self, row: DeviceRow) -> None:
        key = row.identity.key
        self._rows[key] = row
        self._labels[(key.vendor, row.label)] = key
        self._dirty.add(key)
        self.version += 1

    def _label(self, identity: Identity) -> str:
        if identity.parent is not None:
            parent = self._rows.get(identity.parent)
            _, _, instance = identity.key.native.partition("/")
            return f"{parent.label if parent else identity.parent.native}/{instance}"
        if identity.key.vendor is Vendor.ASCEND:
            if identity.phy_id is not None:
                return str(identity.phy_id)
            if not self._several_chips(identity):
                return str(identity.npu_id)
            return f"{identity.npu_id}-{identity.chip_id}"
        return self._free_index(identity)

    def _several_chips(self, identity: Identity) -> bool:
        if identity.chip_id:
            return True
        return any(
            row.identity.npu_id == identity.npu_id and row.identity.chip_id
            for row in self._rows.values()
            if row.identity.key.vendor is Vendor.ASCEND
        )

    def _free_index(self, identity: Identity) -> str:
        """NVML's index, unless another address had it first: NVML renumbers when a GPU is lost."""
        index = identity.index or 0
        while self._labels.get((identity.key.vendor, str(index)), identity.key) != identity.key:
            index += 1
        return str(index)


def _merge(old: Identity, new: Identity) -> Identity:
    """The new identity, with what only the old one knew: a lost device tells little of itself."""
    fields = {
        name: getattr(old, name)
        for name in Identity.__struct_fields__
        if getattr(new, name) is None and getattr(old, name) is not None
    }
    return msgspec.structs.replace(new, **fields) if fields else new


def _natural(label: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (1 << 30, part) for part in label.replace("/", "-").split("-"))

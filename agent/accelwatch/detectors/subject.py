"""What a finding is about: a device, or the host."""

from __future__ import annotations

import functools

import msgspec

from accelwatch.detectors.base import Context
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.snapshot import Device

# Whose hardware a source speaks of.
VENDOR_OF_SOURCE = {"nvml": Vendor.NVIDIA, "npu_smi": Vendor.ASCEND, "hccn_tool": Vendor.ASCEND}
HOST = "host"


class Subject(msgspec.Struct, frozen=True):
    """`name` stands for it in a detector's state."""

    vendor: str
    device: DeviceKey | None
    name: str


@functools.lru_cache(maxsize=1024)
def of_device(key: DeviceKey) -> Subject:
    """A device."""
    return Subject(key.vendor.value, key, f"{key.vendor.value}/{key.native}")


def of_host(vendor: Vendor | None = None) -> Subject:
    """The host, or what it has of one vendor."""
    word = HOST if vendor is None else vendor.value
    return Subject(word, None, word)


def of_link(key: DeviceKey | None) -> Subject:
    """The device that has the link, or the host."""
    return of_host() if key is None else of_device(key)


def owner(device: Device, context: Context) -> str | None:
    """What counters belong to: the board, not its slot; `None` where neither UUID nor serial is known yet."""
    known = context.devices.get(device.key)
    uuid = device.identity.uuid or (known.uuid if known else None)
    return uuid or device.identity.serial or (known.serial if known else None)


def described(key: DeviceKey, identity: Identity | None, context: Context) -> str:
    """The device for a message: `NVIDIA H100 3 (PCI 0000:3b:00.0, serial 165...)`, from what is known of it."""
    known = context.devices.get(key)
    model = (identity.model if identity else None) or (known.model if known else None) or "device"
    pci = (identity.pci if identity else None) or (known.pci if known else None)
    serial = (identity.serial if identity else None) or (known.serial if known else None)
    where = ", ".join(part for part in (f"PCI {pci}" if pci else "", f"serial {serial}" if serial else "") if part)
    label = known.label if known else key.native
    return f"{model} {label}{f' ({where})' if where else ''}"

"""Who a device is."""

from __future__ import annotations

import enum

import msgspec

from accelwatch.readings.pci import normalise_pci as normalise_pci


class Vendor(enum.StrEnum):
    """A maker of accelerators; the value is the `vendor` label."""

    NVIDIA = "nvidia"
    ASCEND = "ascend"


class DeviceKey(msgspec.Struct, frozen=True, order=True):
    """What a source can name a device by before the inventory gives it its `device` label.

    `native` is, on NVIDIA, the PCI address as `normalise_pci` writes it (a MIG device adds `/<gi>/<ci>`);
    on Ascend `npu<NPU ID>/chip<Chip ID>` (950 has no chip id: `chip0`).
    """

    vendor: Vendor
    native: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same while a device is in its slot; all but `key` may be unknown."""

    key: DeviceKey
    model: str | None = None
    uuid: str | None = None
    serial: str | None = None
    pci: str | None = None  # 0000:3b:00.0
    driver: str | None = None
    firmware: str | None = None  # VBIOS on NVIDIA, firmware version on Ascend
    library: str | None = None  # NVML version, or the version of the npu-smi tool
    index: int | None = None  # NVML's index, which may move when a GPU is lost
    npu_id: int | None = None
    chip_id: int | None = None
    phy_id: int | None = None  # N of /dev/davinciN
    logic_id: int | None = None
    parent: DeviceKey | None = None  # of a MIG device: its GPU

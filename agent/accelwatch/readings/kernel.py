"""Records of the kernel log."""

from __future__ import annotations

import msgspec


class KernelRecord(msgspec.Struct, frozen=True):
    """One record of /dev/kmsg from the kernel facility (Documentation/ABI/testing/dev-kmsg)."""

    sequence: int
    seconds: float  # the kernel's monotonic clock, since boot
    level: int  # 0 emergency ... 7 debug
    text: str
    details: dict[str, str] | None = None  # continuation lines: SUBSYSTEM=pci, DEVICE=+pci:0000:3b:00.0


class KernelRecords(msgspec.Struct, frozen=True, kw_only=True):
    """What one read of the log brought, in order; `lost` counts records the ring overwrote before they were read."""

    boot_id: str
    records: tuple[KernelRecord, ...]
    lost: int = 0
    backlog: bool = False  # they were in the log before it was opened
    last_sequence: int | None = None  # of all records dealt with so far, also those of other facilities: the cursor

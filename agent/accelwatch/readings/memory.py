"""Memory errors and how far the device's repair of them has come."""

from __future__ import annotations

import enum

import msgspec


class ErrorKind(enum.StrEnum):
    """Whether ECC could mend it: single bit (corrected) or double and multi bit (uncorrected)."""

    CORRECTED = "corrected"
    UNCORRECTED = "uncorrected"


class EccCount(msgspec.Struct, frozen=True, kw_only=True):
    """A counter of ECC errors in one kind of memory.

    `memory`: `hbm`, `ddr` (also GDDR), `sram` (with `sram_parity`, `sram_secded` where told apart), or on NVIDIA
    the place by NVML's name (`l2`, `l1`, `register`, ...) when `place` is set.
    `lifetime` counters survive a reset (NVIDIA aggregate, Ascend Aggregate Total), the others count since driver
    load or device reset.
    """

    memory: str
    kind: ErrorKind
    count: int
    lifetime: bool = False
    place: bool = False  # a detail of another counter in the same reading: not to be summed with it


class Repairs(msgspec.Struct, frozen=True, kw_only=True):
    """Row remapping (NVIDIA Ampere and later), retired pages (before it), isolated pages (Ascend)."""

    rows_corrected: int | None = None  # repaired because of correctable errors
    rows_uncorrected: int | None = None
    pending: bool | None = None  # a reset is needed to apply a repair
    failed: bool | None = None  # NVIDIA: replacement criterion
    banks_without_spare: int | None = None
    sram_threshold_exceeded: bool | None = None  # NVIDIA: replacement criterion

"""What a device, or its driver, says of its own state."""

from __future__ import annotations

import enum

import msgspec


class DeviceState(enum.StrEnum):
    """Whether the device answers its driver."""

    UP = "up"
    LOST = "lost"  # fell off the bus: NVML 15, repeated 999, or gone from the tool's list
    RESET_REQUIRED = "reset_required"  # NVML 16
    BLOCKED = "blocked"  # a driver call on it did not return within its deadline, or killed the caller


class Level(enum.IntEnum):
    """Health on the scale of both vendors' consoles; the value is that of `accelwatch_device_health`.

    Ascend: the words of `npu-smi` (DCMI 0 normal, 1 minor, 2 major, 3 critical). Unknown is `None`, not a level.
    """

    OK = 0
    WARNING = 1
    ALARM = 2
    CRITICAL = 3


class RecoveryAction(enum.IntEnum):
    """What the NVIDIA driver asks for: field 230 (reference/nvidia.md section 3)."""

    NONE = 0
    RESET = 1
    REBOOT = 2
    DRAIN_P2P = 3
    DRAIN_AND_RESET = 4
    RECOVER_IMEX = 5
    BUS_RESET = 6
    SYSTEM_REBOOT = 7


class FaultEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that is active now, as the Ascend driver lists it (`current-fault-event`)."""

    code: str  # upper-case hex without 0x, e.g. 81AF8000
    severity: int | None = None  # the driver's own: 0 hint, 1 minor, 2 major, 3 critical (dms_events_conf.lst)
    node_type: int | None = None
    node_id: int | None = None
    sub_node_type: int | None = None
    sub_node_id: int | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict of the vendor's own tool. `error_codes` is `None` when it was not told, () when there are none."""

    level: Level | None = None
    error_codes: tuple[str, ...] | None = None  # upper-case hex without 0x, e.g. 80E01801
    error_texts: tuple[str, ...] = ()
    events: tuple[FaultEvent, ...] | None = None  # `None`: the tool does not list them, or did not answer
    recovery_action: int | None = None  # a `RecoveryAction`, or a number newer than ours

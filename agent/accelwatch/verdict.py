"""A device's health in one word, from what its driver and the inventory say."""

from __future__ import annotations

from accelwatch.readings.health import DeviceState, Health, Level, RecoveryAction
from accelwatch.readings.identity import Vendor
from accelwatch.views import DeviceView

# A reset or drain can wait for the end of the run, a reboot of the host cannot be put off by anybody.
_RECOVERY_LEVELS = {
    RecoveryAction.NONE: Level.OK,
    RecoveryAction.REBOOT: Level.CRITICAL,
    RecoveryAction.BUS_RESET: Level.CRITICAL,
    RecoveryAction.SYSTEM_REBOOT: Level.CRITICAL,
}


def level_of(view: DeviceView) -> Level | None:
    """ok to critical; `None`: nobody says. A lost, blocked or missing device is critical."""
    if not view.row.up:
        return Level.CRITICAL
    device = view.device
    if device is None:
        return None
    if device.state is not DeviceState.UP:
        return Level.CRITICAL
    levels = [level for level in (_own_word(device.health), _asked_for(device.health)) if level is not None]
    if view.row.identity.key.vendor is Vendor.NVIDIA:
        levels.append(Level.OK)  # NVIDIA has no health word: that the driver answers for the GPU is its verdict
    if device.repairs is not None:
        if device.repairs.failed or device.repairs.sram_threshold_exceeded:
            levels.append(Level.ALARM)
        elif device.repairs.pending:
            levels.append(Level.WARNING)
    return max(levels) if levels else None


def _own_word(health: Health | None) -> Level | None:
    return None if health is None else health.level


def _asked_for(health: Health | None) -> Level | None:
    """From NVIDIA's recovery action; a number that we do not know is an alarm, not health."""
    if health is None or health.recovery_action is None:
        return None
    try:
        return _RECOVERY_LEVELS.get(RecoveryAction(health.recovery_action), Level.ALARM)
    except ValueError:
        return Level.ALARM

"""Signs that a device was reset: its counts since driver load begin anew, or it answers again."""

from __future__ import annotations

from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.snapshot import Device, Snapshot


class ResetWatch:
    """`boot_at`: the host was booted anew since the journal was last written, at that steady second."""

    def __init__(self, boot_at: float | None) -> None:
        self.boot_at = boot_at
        self._at: dict[DeviceKey, float] = {}

    def observe(self, before: Snapshot | None, after: Snapshot, now: float) -> None:
        """Compares a source's answer with the one before."""
        if before is None:
            return
        old = {device.key: device for device in before.devices}
        for device in after.devices:
            last = old.get(device.key)
            if last is not None and last is not device and _began_anew(last, device):
                self._at[device.key] = now

    def last(self, key: DeviceKey | None) -> float | None:
        """When the device was last reset, as far as this agent saw."""
        seen = [at for at in (self.boot_at, self._at.get(key) if key is not None else None) if at is not None]
        return max(seen) if seen else None


def _began_anew(old: Device, new: Device) -> bool:
    if new.state is not DeviceState.UP:
        return False
    if old.state in (DeviceState.LOST, DeviceState.RESET_REQUIRED):
        return True
    if old.sensors is not None and new.sensors is not None:
        before, after = old.sensors.energy_joules, new.sensors.energy_joules
        if before is not None and after is not None and after < before:
            return True
    if old.ecc is None or new.ecc is None or old.ecc is new.ecc:
        return False
    counts = {(c.memory, c.kind): c.count for c in old.ecc if not c.lifetime and not c.place}
    return any(c.count < counts.get((c.memory, c.kind), 0) for c in new.ecc if not c.lifetime and not c.place)

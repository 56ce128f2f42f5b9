"""Signs that a device was reset: its counts since driver load begin anew, or it answers again."""

from __future__ import annotations

from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.snapshot import Device, Snapshot


class ResetWatch:
    """`boot_at`: the host was booted anew since the journal was last written, no earlier than that steady second.

    A reset is seen some time after it was done: at the next poll, of counts at the next full one. A fault that fell
    between, on a device that had just been reset, is not what that reset has mended. So what is kept of a reset is the
    moment of the last answer that still showed the state from before it.
    """

    def __init__(self, boot_at: float | None) -> None:
        self.boot_at = boot_at
        self._after: dict[DeviceKey, float] = {}
        self._answered: dict[DeviceKey, float] = {}
        self._counted: dict[DeviceKey, float] = {}  # when its present counts were first seen

    def observe(self, before: Snapshot | None, after: Snapshot, now: float) -> None:
        """Compares a source's answer with the one before."""
        old = {} if before is None else {device.key: device for device in before.devices}
        for device in after.devices:
            key = device.key
            last = old.get(key)
            if last is not None and last is not device:
                if _began_anew(last, device):
                    self._after[key] = self._answered.get(key, now)
                elif _counts_anew(last, device):
                    self._after[key] = self._counted.get(key, now)
            self._answered[key] = now
            if device.ecc is not None and (last is None or device.ecc is not last.ecc):
                self._counted[key] = now

    def last(self, key: DeviceKey | None) -> float | None:
        """A moment after which the device was reset, as far as this agent saw; the newest."""
        seen = [at for at in (self.boot_at, self._after.get(key) if key is not None else None) if at is not None]
        return max(seen) if seen else None


def _began_anew(old: Device, new: Device) -> bool:
    if new.state is not DeviceState.UP:
        return False
    if old.state in (DeviceState.LOST, DeviceState.RESET_REQUIRED):
        return True
    if old.sensors is None or new.sensors is None:
        return False
    before, after = old.sensors.energy_joules, new.sensors.energy_joules
    return before is not None and after is not None and after < before


def _counts_anew(old: Device, new: Device) -> bool:
    if new.state is not DeviceState.UP or old.ecc is None or new.ecc is None or old.ecc is new.ecc:
        return False
    counts = {(c.memory, c.kind): c.count for c in old.ecc if not c.lifetime and not c.place}
    return any(c.count < counts.get((c.memory, c.kind), 0) for c in new.ecc if not c.lifetime and not c.place)

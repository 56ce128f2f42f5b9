"""A device that was there and does not answer any more."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.subject import described, of_device
from accelwatch.faults.sign import Finding
from accelwatch.readings.health import DeviceState
from accelwatch.readings.snapshot import Device

CLASS = "device_lost"
BLOCKED_CLASS = "driver_software"  # the device may be well: its driver is what does not let it be used

_WORDS = {
    DeviceState.LOST: (CLASS, "lost", "is lost"),
    # It follows another fault, which is the root where that was seen: as the driver's own line says it.
    DeviceState.RESET_REQUIRED: (BLOCKED_CLASS, "reset required", "needs a reset before it can be used"),
    DeviceState.BLOCKED: (BLOCKED_CLASS, "blocked", "blocks its driver"),
}
_MISSING = (CLASS, "missing", "is missing from its driver's list")
_ALL = (*_WORDS.values(), _MISSING)


class State(msgspec.Struct, frozen=True):
    """What is seen now."""

    holds: dict[str, Hold] = {}


class DeviceLost:
    """Lost, blocked, in need of a reset, or not listed any more: until the device answers again.

    MIG devices are left out: they come and go with the partition, and share the fate of their GPU.
    """

    name = "device_lost"
    state_type = State

    def start(self) -> State:
        """Nothing is seen."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered) or not (reading.snapshot.devices or reading.missing or state.holds):
            return state, ()
        conditions = Conditions(state.holds, now)
        for device in reading.snapshot.devices:
            if device.identity.parent is None:
                _judge(device, conditions, context)
        for key in reading.missing:
            known = context.devices.get(key)
            if known is None or known.parent is None:
                class_, condition, words = _MISSING
                conditions.bad(of_device(key), class_, condition, f"{described(key, None, context)} {words}")
        return (State(conditions.holds) if conditions.changed else state), conditions.findings


def _judge(device: Device, conditions: Conditions, context: Context) -> None:
    subject = of_device(device.key)
    if device.state is DeviceState.UP:
        # Up with a reason: it gave nothing in this reading but is not believed lost yet.
        if device.reason is None:
            for class_, condition, _ in _ALL:
                conditions.good(subject, class_, condition, "the device answers again")
        return
    class_, condition, words = _WORDS[device.state]
    reason = f": {device.reason}" if device.reason else ""
    words = f"{described(device.key, device.identity, context)} {words}{reason}"
    family = "gpu_reset_required" if device.state is DeviceState.RESET_REQUIRED else None
    conditions.bad(subject, class_, condition, words, family=family)

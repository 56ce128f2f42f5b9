"""A device that was there and does not answer any more."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.fault import Fault, Severity
from accelwatch.detectors.subject import described, of_device
from accelwatch.faults.sign import Finding
from accelwatch.node import DeviceView, View
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import Vendor
from accelwatch.readings.snapshot import Device

CLASS = "device_lost"
BLOCKED_CLASS = "driver_software"  # the device may be well: its driver is what does not return

_WORDS = {
    DeviceState.LOST: (CLASS, "lost", "is lost"),
    DeviceState.RESET_REQUIRED: (CLASS, "reset required", "needs a reset before it can be used"),
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
    conditions.bad(subject, class_, condition, f"{described(device.key, device.identity, context)} {words}{reason}")


_ACTION = {
    Vendor.NVIDIA: "Take the node out of the scheduler and reset the GPU (nvidia-smi --gpu-reset); if it does not "
    "come back, power-cycle the host; if it is lost again, replace the GPU.",
    Vendor.ASCEND: "Take the node out of the scheduler and reset the NPU (npu-smi set -t reset -i <NPU> -c <chip>); "
    "if it does not come back, power-cycle the host; if it is lost again, replace the NPU.",
}


def lost_devices(view: View, node: str, since: dict[tuple[str, str], float], now: float) -> list[Fault]:
    """One fault per device that its driver has lost, cannot reach, or does not list any more.

    `since` maps (vendor, device) to when it was first found lost, in seconds since the epoch; `now` likewise.
    """
    return [
        _fault(device, node, since.get((device.row.identity.key.vendor.value, device.row.label), now), now)
        for device in view.devices
        if not device.row.up
    ]


def _fault(view: DeviceView, node: str, since: float, now: float) -> Fault:
    identity = view.row.identity
    state = view.device.state if view.device is not None else None
    if state is DeviceState.RESET_REQUIRED:
        what = "needs a reset before it can be used"
    elif state is DeviceState.BLOCKED:
        what = "blocks its driver"
    elif state is DeviceState.LOST:
        what = "is lost"
    else:
        what = "is missing from its driver's list"
    reason = f": {view.device.reason}" if view.device is not None and view.device.reason else ""
    who = f"{identity.model or 'device'} {view.row.label}"
    where = ", ".join(
        part
        for part in (
            f"PCI {identity.pci}" if identity.pci else "",
            f"serial {identity.serial}" if identity.serial else "",
        )
        if part
    )
    return Fault(
        class_=CLASS,
        severity=Severity.RUN_ENDING,
        vendor=identity.key.vendor.value,
        device=view.row.label,
        code=None,
        codes=(),
        incident=f"node/{node}",
        echo=False,
        message=f"{who}{f' ({where})' if where else ''} {what}{reason}",
        action=_ACTION[identity.key.vendor],
        first_seen=rfc3339(since),
        last_seen=rfc3339(now),
        count=1,
        run_id=None,
    )


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as `2026-01-31T12:00:00Z`."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

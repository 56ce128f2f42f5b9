"""Fewer devices than there ought to be, by the configuration or by the PCI bus."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.subject import VENDOR_OF_SOURCE, of_host
from accelwatch.faults.sign import Finding
from accelwatch.readings.identity import DeviceKey, Vendor

CLASS = "device_lost"
# Sources answer one after the other at the start, and a hot-plugged device is on the bus before its driver lists it:
# the first answer of npu-smi takes up to its 10 s time-out for each call. Ours, not published.
HELD_SECONDS = 30.0

_LISTS = ("nvml", "npu_smi")
_TOOLS = {Vendor.NVIDIA: "NVML", Vendor.ASCEND: "npu-smi"}


class State(msgspec.Struct, frozen=True):
    """What is seen now."""

    holds: dict[str, Hold] = {}


class DeviceCount:
    """Devices that were never seen cannot be missed one by one; those that were are for `device_lost`."""

    name = "device_count"
    state_type = State

    def start(self) -> State:
        """Nothing is seen."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered) or reading.source not in _LISTS or not reading.snapshot.complete:
            return state, ()
        conditions = Conditions(state.holds, now)
        listed = {device.key for device in reading.snapshot.devices if device.identity.parent is None}
        _against_configuration(listed, conditions, context)
        _against_bus(reading, len(listed), conditions)
        return (State(conditions.holds) if conditions.changed else state), conditions.findings


def _against_configuration(listed: set[DeviceKey], conditions: Conditions, context: Context) -> None:
    subject, condition = of_host(), "fewer devices than expected"
    expected = context.expected_devices
    ever = len(listed | {key for key, known in context.devices.items() if known.parent is None})
    if expected is not None and ever < expected:
        conditions.bad(
            subject,
            CLASS,
            condition,
            f"{expected - ever} of {expected} expected devices have never been seen on this host",
            held=HELD_SECONDS,
        )
    else:
        conditions.good(subject, CLASS, condition, "as many devices as expected are known")


def _against_bus(reading: Answered, listed: int, conditions: Conditions) -> None:
    vendor = VENDOR_OF_SOURCE[reading.source]
    subject, condition = of_host(vendor), "on the bus, not listed"
    on_bus = reading.snapshot.devices_on_bus
    if on_bus is None:
        conditions.unknown(subject, CLASS, condition)
        return
    told_elsewhere = len(reading.missing)  # each of them is a fault of its own
    if on_bus > listed + told_elsewhere:
        conditions.bad(
            subject,
            CLASS,
            condition,
            f"{on_bus} devices are on the PCI bus, {_TOOLS[vendor]} lists {listed}",
            held=HELD_SECONDS,
        )
    else:
        conditions.good(subject, CLASS, condition, "every device on the bus is listed")

"""A device that was there and does not answer any more."""

from __future__ import annotations

import datetime

from accelwatch.detectors.fault import Fault, Severity
from accelwatch.node import DeviceView, View
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import Vendor

CLASS = "device_lost"

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

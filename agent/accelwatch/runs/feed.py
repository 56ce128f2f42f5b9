"""From readings to what runs are told: samples of devices, and who holds which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accelwatch.journal.rows import DeviceRow
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.sensors import Sensors, Throttle
from accelwatch.readings.snapshot import Device
from accelwatch.runs.holding import HeldDevice
from accelwatch.runs.sample import Sample

# The clock domain that does the computing.
_COMPUTE_CLOCKS = frozenset(("sm", "aicore"))
_NAMES = {vendor: vendor.value for vendor in Vendor}  # `value` of an enumeration is a function of Python
_HELD_DOWN = frozenset(
    (
        Throttle.HW_SLOWDOWN,
        Throttle.SW_THERMAL,
        Throttle.HW_THERMAL,
        Throttle.POWER_BRAKE,
        Throttle.BOARD_LIMIT,
        Throttle.RELIABILITY,
    )
)


def samples(
    devices: Iterable[Device], labels: Mapping[DeviceKey, str], packets: Mapping[DeviceKey, tuple[int, ...]], now: float
) -> list[Sample]:
    """One sample per device that answers; a MIG device has no power of its own and gives none."""
    result = []
    for device in devices:
        key, sensors = device.identity.key, device.sensors
        label = labels.get(key)
        if label is None or sensors is None or device.state is not DeviceState.UP:
            continue
        if device.identity.parent is None:
            result.append(_sample(device, sensors, label, packets.get(key, ()) if packets else (), now))
    return result


def _sample(device: Device, sensors: Sensors, label: str, packets: tuple[int, ...], now: float) -> Sample:
    hertz = None
    for clock in sensors.clocks:
        if clock.domain in _COMPUTE_CLOCKS:
            hertz = clock.hertz
            break
    throttle = sensors.throttle
    return Sample(
        vendor=_NAMES[device.identity.key.vendor],
        device=label,
        at=now,
        model=device.identity.model or "",
        power_watts=sensors.power_watts,
        power_limit_watts=sensors.power_limit_watts,
        utilization_ratio=sensors.utilization_ratio,
        clock_hertz=hertz,
        throttled=None if throttle is None else not _HELD_DOWN.isdisjoint(throttle),
        temperature_celsius=sensors.temperature_celsius,
        traffic_packets=sum(packets) if packets else None,
        traffic_parts=packets,
        memory_used_bytes=sensors.memory_used_bytes,
    )


def held_devices(rows: Iterable[DeviceRow], measured: Mapping[DeviceKey, Device]) -> list[HeldDevice]:
    """The inventory as runs see it, with the pids that the drivers name."""
    rows = list(rows)
    labels: dict[DeviceKey, str] | None = None  # needed where there are MIG devices
    result = []
    for row in rows:
        identity = row.identity
        device = measured.get(identity.key)
        processes = None if device is None else device.processes
        parent = None
        if identity.parent is not None:
            labels = labels or {other.identity.key: other.label for other in rows}
            parent = labels.get(identity.parent)
        result.append(
            HeldDevice(
                vendor=_NAMES[identity.key.vendor],
                device=row.label,
                model=identity.model or "",
                node=_device_node(identity),
                pids=None if processes is None else tuple([process.pid for process in processes]),
                parent=parent,
            )
        )
    return result


def _device_node(identity: Identity) -> str | None:
    """`/dev/davinciN` goes by the physical id; where the host does not tell it, one-chip cards count alike."""
    if identity.parent is not None:
        return None
    if identity.key.vendor is Vendor.NVIDIA:
        return None if identity.index is None else f"nvidia{identity.index}"
    number = next((n for n in (identity.phy_id, identity.logic_id, identity.npu_id) if n is not None), None)
    return None if number is None else f"davinci{number}"

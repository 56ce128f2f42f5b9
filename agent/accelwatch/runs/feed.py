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
        label = labels.get(device.key)
        if label is None or device.sensors is None or device.state is not DeviceState.UP:
            continue
        if device.identity.parent is None:
            result.append(_sample(device, device.sensors, label, packets.get(device.key, ()), now))
    return result


def _sample(device: Device, sensors: Sensors, label: str, packets: tuple[int, ...], now: float) -> Sample:
    clock = next((clock.hertz for clock in sensors.clocks if clock.domain in _COMPUTE_CLOCKS), None)
    throttle = sensors.throttle
    return Sample(
        vendor=device.key.vendor.value,
        device=label,
        at=now,
        model=device.identity.model or "",
        power_watts=sensors.power_watts,
        power_limit_watts=sensors.power_limit_watts,
        utilization_ratio=sensors.utilization_ratio,
        clock_hertz=clock,
        throttled=None if throttle is None else not _HELD_DOWN.isdisjoint(throttle),
        temperature_celsius=sensors.temperature_celsius,
        traffic_packets=sum(packets) if packets else None,
        traffic_parts=packets,
        memory_used_bytes=sensors.memory_used_bytes,
    )


def held_devices(rows: Iterable[DeviceRow], measured: Mapping[DeviceKey, Device]) -> list[HeldDevice]:
    """The inventory as runs see it, with the pids that the drivers name."""
    rows = list(rows)
    labels = {row.identity.key: row.label for row in rows}
    result = []
    for row in rows:
        device = measured.get(row.identity.key)
        pids = None if device is None or device.processes is None else tuple(p.pid for p in device.processes)
        parent = row.identity.parent
        result.append(
            HeldDevice(
                vendor=row.identity.key.vendor.value,
                device=row.label,
                model=row.identity.model or "",
                node=_device_node(row.identity),
                pids=pids,
                parent=None if parent is None else labels.get(parent),
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

"""Series of devices."""

from __future__ import annotations

from functools import partial

from accelwatch.metrics import catalogue as c
from accelwatch.metrics.exposition import Lines
from accelwatch.metrics.links import add_links
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import Identity
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.snapshot import Device
from accelwatch.verdict import level_of
from accelwatch.views import DeviceView

# One clock tells work from waiting, one the memory's; graphics and video follow the SM clock.
EXPORTED_CLOCKS = frozenset(("sm", "memory", "aicore"))


def device_labels(identity: Identity, label: str) -> tuple[str, str, str]:
    """vendor, device, model: what every device series carries."""
    return identity.key.vendor.value, label, identity.model or ""


def add_device(lines: Lines, view: DeviceView) -> None:
    """All series of one device."""
    identity = view.row.identity
    labels = device_labels(identity, view.row.label)
    lines.add(
        c.DEVICE_INFO,
        (
            *labels,
            identity.uuid or "",
            identity.serial or "",
            identity.pci or "",
            identity.driver or "",
            identity.firmware or "",
        ),
        1,
    )
    lines.add(c.DEVICE_UP, labels, int(view.row.up))
    lines.keep(("counted", *labels), (view.ecc, view.rows_remapped), partial(_add_counted, labels, view))
    lines.keep(("links", *labels), view.links, partial(add_links, labels=labels, links=view.links))
    level = level_of(view)
    lines.add(c.HEALTH, labels, None if level is None else int(level))
    device = view.device
    if device is not None and device.state is DeviceState.UP:
        _add_measured(lines, labels, device)


def _add_counted(labels: tuple[str, str, str], view: DeviceView, lines: Lines) -> None:
    for memory, kind, total in view.ecc:
        lines.add(c.ECC_ERRORS, (*labels, kind.value, memory), total)
    for kind, total in view.rows_remapped:
        lines.add(c.ROWS_REMAPPED, (*labels, kind.value), total)


def _add_measured(lines: Lines, labels: tuple[str, str, str], device: Device) -> None:
    if device.sensors is not None:
        _add_sensors(lines, labels, device.sensors)
    if device.repairs is not None:
        for kind, flag in (("remap", device.repairs.pending), ("failed", device.repairs.failed)):
            lines.add(c.REPAIR_PENDING, (*labels, kind), None if flag is None else int(flag))
    if device.pcie is not None:
        lines.add(c.PCIE_WIDTH, labels, device.pcie.width)
        lines.add(c.PCIE_WIDTH_MAX, labels, device.pcie.width_max)
    if device.fabric is not None and device.fabric.healthy is not None:
        lines.add(c.FABRIC_HEALTHY, labels, int(device.fabric.healthy))
    if device.health is not None:
        lines.add(c.RECOVERY_ACTION, labels, device.health.recovery_action)
    if device.processes is not None:
        lines.add(c.DEVICE_PROCESSES, labels, len(device.processes))


def _add_sensors(lines: Lines, labels: tuple[str, str, str], sensors: Sensors) -> None:
    lines.add(c.TEMPERATURE, (*labels, "core"), sensors.temperature_celsius)
    lines.add(c.TEMPERATURE, (*labels, "memory"), sensors.memory_temperature_celsius)
    lines.add(c.POWER, labels, sensors.power_watts)
    lines.add(c.POWER_LIMIT, labels, sensors.power_limit_watts)
    lines.add(c.UTILIZATION, labels, sensors.utilization_ratio)
    lines.add(c.MEMORY_USED, labels, sensors.memory_used_bytes)
    lines.add(c.MEMORY_TOTAL, labels, sensors.memory_total_bytes)
    for clock in sensors.clocks:
        if clock.domain in EXPORTED_CLOCKS:
            lines.add(c.CLOCK, (*labels, clock.domain), clock.hertz)
    for reason in sensors.throttle or ():
        lines.add(c.THROTTLED, (*labels, reason.value), 1)

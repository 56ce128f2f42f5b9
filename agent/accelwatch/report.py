"""The document of `accelwatch check --json`, and its exit status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from accelwatch.detectors.fault import Fault, Severity
from accelwatch.metrics.page import SourceStatus
from accelwatch.node import LISTED_BY
from accelwatch.readings.health import DeviceState, Level
from accelwatch.readings.identity import Vendor
from accelwatch.readings.memory import EccCount, ErrorKind
from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import Kind
from accelwatch.verdict import level_of
from accelwatch.views import DeviceView, View

SCHEMA = 1
HEALTHY, DEGRADED, RUN_ENDING, CANNOT_TELL = 0, 1, 2, 3


def document(
    node: str,
    view: View,
    faults: Iterable[Fault],
    sources: Iterable[SourceStatus],
    maintenance: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The document in the schema of design.md; plain JSON types only. `maintenance`: `until`, `reason`, `by`."""
    return {
        "schema": SCHEMA,
        "node": node,
        "devices": [_device(device) for device in view.devices],
        "faults": [msgspec.to_builtins(fault) for fault in faults],
        "sources": [
            {"source": s.source, "up": bool(s.up), "seconds": _rounded(s.seconds), "error": s.error} for s in sources
        ],
        "maintenance": None if maintenance is None else dict(maintenance),
    }


def exit_status(report: dict[str, Any]) -> int:
    """0 healthy, 1 degraded, 2 a run-ending hardware or infrastructure fault is active, 3 cannot tell.

    What the application did itself, a symptom, or an echo never exceeds 1 (design.md, Commands). A drill is no fault:
    a scheduler that asks must not drain the node for it.
    """
    faults = [fault for fault in report["faults"] if not fault.get("drill")]
    if any(_ends_runs(fault) for fault in faults):
        return RUN_ENDING
    listing = [source for source in report["sources"] if source["source"] in LISTED_BY]
    if not any(source["up"] for source in listing):
        return CANNOT_TELL
    if any(device["health"] != "ok" for device in report["devices"]):
        return DEGRADED
    if any(not source["up"] for source in report["sources"]):
        return DEGRADED
    return DEGRADED if any(fault["severity"] != Severity.INFORMATIONAL for fault in faults) else HEALTHY


def _ends_runs(fault: dict[str, Any]) -> bool:
    kind = load().classes[fault["class"]].kind
    return fault["severity"] == Severity.RUN_ENDING and kind is Kind.CAUSE and not fault["echo"]


def _device(view: DeviceView) -> dict[str, Any]:
    identity = view.row.identity
    device = view.device if view.device is not None and view.device.state is DeviceState.UP else None
    sensors = device.sensors if device is not None else None
    level = level_of(view)
    result: dict[str, Any] = {
        "vendor": identity.key.vendor.value,
        "device": view.row.label,
        "model": identity.model,
        "uuid": identity.uuid,
        "serial": identity.serial,
        "pci": identity.pci,
    }
    if identity.key.vendor is Vendor.ASCEND:
        result |= {"npu_id": identity.npu_id, "chip_id": identity.chip_id, "phy_id": identity.phy_id}
    codes = device.health.error_codes if device is not None and device.health is not None else None
    processes = device.processes if device is not None else None
    return result | {
        "health": _word(level),
        "temperature_celsius": sensors.temperature_celsius if sensors else None,
        "power_watts": sensors.power_watts if sensors else None,
        "utilization_ratio": sensors.utilization_ratio if sensors else None,
        "memory_used_bytes": sensors.memory_used_bytes if sensors else None,
        "memory_total_bytes": sensors.memory_total_bytes if sensors else None,
        "ecc": {
            "corrected": _ecc(device.ecc if device else None, ErrorKind.CORRECTED),
            "uncorrected": _ecc(device.ecc if device else None, ErrorKind.UNCORRECTED),
        },
        "error_codes": None if codes is None else list(codes),
        "links": [
            {"link": link.name, "state": link.reading.state.value if link.reading else "unknown"}
            for link in view.links
            if link.kind.value != "pcie"
        ],
        "processes": None
        if processes is None
        else [{"pid": p.pid, "name": p.name, "memory_bytes": p.memory_bytes} for p in processes],
    }


def _ecc(counts: tuple[EccCount, ...] | None, kind: ErrorKind) -> int | None:
    """What the vendor's tool shows first: errors since driver load or reset; lifetime where only that is told."""
    wanted = [count for count in counts or () if count.kind is kind and not count.place]
    current = [count.count for count in wanted if not count.lifetime]
    lifetime = [count.count for count in wanted if count.lifetime]
    if current:
        return sum(current)
    return sum(lifetime) if lifetime else None


def _word(level: Level | None) -> str:
    return "unknown" if level is None else level.name.lower()


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)

"""The state of a node in one line, for its page and for `accelwatch check` alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_SEVERITIES = ("run_ending", "degrading", "informational")


def headline(
    devices: Iterable[Mapping[str, Any]],
    faults: Iterable[Mapping[str, Any]],
    sources: Iterable[Mapping[str, Any]],
) -> str:
    """One line in plain words; never `all healthy` beside a fault that is active."""
    known, real = list(devices), [fault for fault in faults if not fault.get("drill")]
    active = [fault for fault in real if fault["severity"] != "informational"]
    sick = [device for device in known if device["health"] not in ("ok", "unknown")]
    unknown = [device for device in known if device["health"] == "unknown"]
    lost = {(fault["vendor"], fault["device"]) for fault in active if fault["class"] == "device_lost"}
    named = {(device["vendor"], device["device"]) for device in sick}
    other = [fault["class"] for fault in active if (fault["vendor"], fault["device"]) not in named]
    count = f"{len(known)} {_plural('device', len(known))}"
    parts = []
    if not known:
        parts.append("no device is known")
    elif len(sick) == 1 and named <= lost:
        parts.append(f"device {name_of(sick[0])} is lost, {count} known")
    elif sick:
        words = [f"{name_of(d)} {'lost' if (d['vendor'], d['device']) in lost else d['health']}" for d in sick]
        parts.append(f"{len(sick)} of {count} not healthy: {_some(words)}")
    elif not unknown:
        well = "none reports a problem" if other else "all healthy" if len(known) > 1 else "healthy"
        parts.append(f"{count}, {well}")
    if unknown:
        parts.append(f"health not known of {len(unknown)} of {len(known)}: {_some([name_of(d) for d in unknown])}")
    if other:
        parts.append(f"{len(other)} {_plural('fault', len(other))} active: {_some(sorted(set(other)))}")
    silent = [source["source"] for source in sources if not source["up"] and not waiting(source)]
    if silent:
        parts.append(f"no answer from {', '.join(silent)}")
    return "; ".join(parts)


def name_of(device: Mapping[str, Any]) -> str:
    """Of a device, or of a fault's."""
    return f"{device['vendor']} {device['device']}"


def _some(words: list[str]) -> str:
    return ", ".join(words[:4]) + (", ..." if len(words) > 4 else "")


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def waiting(source: Mapping[str, Any]) -> bool:
    """Not polled yet since the agent's start: nothing is known, which is no failure."""
    return not source["up"] and source["seconds"] is None and source["error"] is None


def urgency(fault: Mapping[str, Any]) -> tuple[bool, int, str]:
    """Sorts what ends runs first, the oldest first, and echoes last."""
    rank = _SEVERITIES.index(fault["severity"]) if fault["severity"] in _SEVERITIES else 0
    return bool(fault["echo"]), rank, fault["first_seen"]

"""Runs as they are shown: by `accelwatch runs` and on the node page."""

from __future__ import annotations

from typing import Any

from accelwatch.faults.shown import rfc3339
from accelwatch.runs.model import RunRecord


def document(record: RunRecord) -> dict[str, Any]:
    """One run in the schema of the contract; `cause` is a class, and null until it is found."""
    return {
        "run_id": record.run_id,
        "attempt": record.attempt,
        "started": rfc3339(record.started),
        "ended": None if record.ended is None else rfc3339(record.ended),
        "outcome": None if record.outcome is None else record.outcome.value,
        "cause": record.cause,
        "suspects": [
            {"class": s.class_, "vendor": s.vendor, "device": s.device, "code": s.code} for s in record.suspects
        ],
        "devices": [
            {"vendor": d.vendor, "device": d.device, "model": d.model or None, "rank": d.rank} for d in record.devices
        ],
        "lost_device_seconds": record.lost_device_seconds,
    }

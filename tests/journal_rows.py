"""Rows for tests of the journal."""

from __future__ import annotations

from typing import Any

from accelwatch.faults.episode import Condition, Episode
from accelwatch.readings.severity import Severity
from accelwatch.remediation.record import Outcome as RemediationOutcome
from accelwatch.remediation.record import Remediation
from accelwatch.runs.model import Outcome, RunDevice, RunRecord
from accelwatch.taxonomy.model import Notify

# As accelwatch 0.1 made it.
VERSION_1 = """
CREATE TABLE devices (
    vendor TEXT NOT NULL, native TEXT NOT NULL, label TEXT NOT NULL, identity TEXT NOT NULL,
    up INTEGER NOT NULL, first_seen REAL NOT NULL,
    PRIMARY KEY (vendor, native));
CREATE TABLE counters (
    owner TEXT NOT NULL, name TEXT NOT NULL, labels TEXT NOT NULL, total REAL NOT NULL, raw REAL,
    PRIMARY KEY (owner, name, labels));
CREATE TABLE links_seen_up (owner TEXT NOT NULL, link TEXT NOT NULL, PRIMARY KEY (owner, link));
"""
WALL = 1_790_000_000.0


def episode(number: int, **more: Any) -> Episode:
    """An active one, last seen `number` seconds after `WALL`."""
    fields: dict[str, Any] = {
        "id": number,
        "class_": "mem_uncorrectable",
        "severity": Severity.RUN_ENDING,
        "notify": Notify.PAGE,
        "vendor": "nvidia",
        "device": "3",
        "code": "48",
        "codes": ("48", "63"),
        "incident": "run/r1",
        "message": "double-bit error",
        "action": "Reset the GPU.",
        "conditions": {"xid 48": Condition(lasting=False, last_at=100.0)},
        "first_at": 100.0 + number,
        "last_at": 100.0 + number,
        "first_wall": WALL + number,
        "last_wall": WALL + number,
        "run_id": "r1",
    }
    return Episode(**(fields | more))


def remediation(number: int, **more: Any) -> Remediation:
    """A command that succeeded, decided `number` seconds after `WALL`."""
    fields: dict[str, Any] = {
        "id": number,
        "outcome": RemediationOutcome.SUCCEEDED,
        "at": 100.0 + number,
        "wall": WALL + number,
        "incident": f"i{number}",
        "fault": number,
        "class_": "device_lost",
        "vendor": "nvidia",
        "device": "3",
        "command": ("/usr/local/sbin/drain", "now"),
        "ended_wall": WALL + number + 1,
        "exit_status": 0,
        "stderr": "drained",
    }
    return Remediation(**(fields | more))


def cleared(number: int, **more: Any) -> Episode:
    """The same, cleared a second later."""
    fields = {
        "active": False,
        "cleared_at": 101.0 + number,
        "cleared_wall": WALL + number + 1,
        "cleared_because": "the GPU was reset",
    }
    return episode(number, **(fields | more))


def run(run_id: str, **more: Any) -> RunRecord:
    """An open run on two devices."""
    fields: dict[str, Any] = {
        "run_id": run_id,
        "attempt": "0",
        "launcher": "slurm",
        "world_size": 2,
        "devices": tuple(RunDevice(vendor="nvidia", device=str(n), rank=n) for n in range(2)),
        "started": WALL,
        "started_at": 100.0,
    }
    return RunRecord(**(fields | more))


def ended(run_id: str, after: float, **more: Any) -> RunRecord:
    """A run that failed `after` seconds after `WALL`."""
    return run(run_id, ended=WALL + after, ended_at=100.0 + after, outcome=Outcome.FAILED, **more)

"""The node page's runs, and its faults of the last day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

RUN_HEADINGS = ("Run", "Started", "Ended", "Devices", "State", "Ended by", "Lost")
FAULT_HEADINGS = ("First seen", "Last seen", "Class", "Device", "Code", "Times", "Run", "State")
# More than a person reads on a phone; `accelwatch faults` lists them all.
SHOWN_AT_MOST = 50
_STALLED = {1: "stands still", 2: "hangs"}


def run_rows(runs: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows under `RUN_HEADINGS`; `stalled` is 0 to 2, or `None` where that is not known."""
    return [_run(run) for run in list(runs)[:SHOWN_AT_MOST]]


def fault_rows(faults: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows under `FAULT_HEADINGS`, as the journal has them."""
    return [_fault(fault) for fault in list(faults)[:SHOWN_AT_MOST]]


def _run(run: Mapping[str, Any]) -> tuple[str, ...]:
    if run["ended"] is None:
        stalled = _STALLED.get(run["stalled"] or 0)
        state = f"<span class=bad>{stalled}</span>" if stalled else "<span class=ok>runs</span>"
    else:
        state = f"<span class={'ok' if run['outcome'] == 'completed' else 'bad'}>{escape(run['outcome'])}</span>"
    cause = run["cause"] or ("" if run["ended"] is None or run["outcome"] == "completed" else "not decided yet")
    where = f" on {run['cause_vendor']} {run['cause_device']}" if run["cause_device"] else ""
    lost = run["lost_device_seconds"]
    attempt = f" (attempt {run['attempt']})" if run["attempt"] != "0" else ""
    return (
        escape(f"{run['run_id']}{attempt}"),
        escape(run["started"]),
        escape(run["ended"] or ""),
        str(len(run["devices"])),
        state,
        escape(cause + where),
        "" if lost is None else f"{lost:.0f} device-s",
    )


def _fault(fault: Mapping[str, Any]) -> tuple[str, ...]:
    if fault["active"]:
        state = "<span class=bad>active</span>"
    elif fault["historical"]:
        state = "from before this agent"
    else:
        state = escape((fault["because"] or "over").partition(":")[0])
    word = "warning" if fault["severity"] == "degrading" else "bad"
    name = escape(fault["class"])
    return (
        escape(fault["first_seen"]),
        escape(fault["last_seen"]),
        name if fault["severity"] == "informational" else f"<span class={word}>{name}</span>",
        escape(f"{fault['vendor']} {fault['device']}" if fault["device"] is not None else "the node"),
        escape(" ".join(fault["codes"])),
        str(fault["count"]),
        escape(fault["run_id"] or ""),
        state,
    )

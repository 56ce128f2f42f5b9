"""`accelwatch runs [--since 24h] [--json]`: what the journal holds of runs, newest first."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import groupby

from accelwatch.commands import journal
from accelwatch.commands.columns import GREEN, NOTHING, RED, YELLOW, aligned, clock, painter
from accelwatch.journal.reading import read_runs
from accelwatch.runs.model import Outcome, RunRecord
from accelwatch.runs.shown import document

_HEADINGS = ("RUN", "ATTEMPT", "STARTED", "ENDED", "OUTCOME", "CAUSE", "DEVICES", "LOST")
_OUTCOME_COLUMN = 4
_COLOUR = {Outcome.COMPLETED: GREEN, Outcome.UNKNOWN: YELLOW}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    journal.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Prints them; 3 when the journal cannot be read."""
    return journal.answer("runs", options, read_runs, show)


def show(runs: Sequence[RunRecord], asked: journal.Asked, as_json: bool) -> str:
    """The document of the contract, or a table."""
    newest = sorted(runs, key=lambda r: (r.started, r.run_id, r.attempt), reverse=True)
    if as_json:
        return json.dumps({"runs": [document(record) for record in newest]}, indent=2)
    return table(newest, asked, sys.stdout.isatty())


def table(runs: Sequence[RunRecord], asked: journal.Asked, colour: bool) -> str:
    """One line per run, with how it ended and what else was wrong at that time below."""
    if not runs:
        return f"{asked.node}: no run in the last {asked.since}"
    going = sum(record.ended is None for record in runs)
    head = f"{asked.node}: {going} running, {len(runs) - going} ended in the last {asked.since}\n"
    colours: list[list[str | None]] = [[*[None] * _OUTCOME_COLUMN, _outcome_colour(record)] for record in runs]
    rows = [_row(record) for record in runs]
    return head + aligned(_HEADINGS, rows, painter(colour), colours, [_below(record) for record in runs])


def _row(record: RunRecord) -> tuple[str, ...]:
    return (
        record.run_id,
        record.attempt,
        clock(record.started),
        clock(record.ended),
        record.outcome.value if record.outcome is not None else ("running" if record.ended is None else ""),
        _cause(record),
        _devices(record),
        _lost(record.lost_device_seconds),
    )


def _cause(record: RunRecord) -> str:
    if record.cause is None:
        return "not decided yet" if record.ended is not None and not record.cause_final else NOTHING
    where = f" on {record.cause_vendor} {record.cause_device}" if record.cause_device else ""
    return record.cause + where + (f" [{record.cause_code}]" if record.cause_code else "")


def _devices(record: RunRecord) -> str:
    parts = []
    for vendor, devices in groupby(record.devices, key=lambda device: device.vendor):
        parts.append(f"{vendor} {','.join(device.device for device in devices)}")
    return " ".join(parts)


def _lost(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{seconds / 3600:.1f} device-h" if seconds >= 3600 else f"{seconds:.0f} device-s"


def _outcome_colour(record: RunRecord) -> str | None:
    return None if record.outcome is None else _COLOUR.get(record.outcome, RED)


def _below(record: RunRecord) -> list[str]:
    suspects = ", ".join(
        f"{s.class_} on {s.vendor} {s.device or 'host'}" + (f" [{s.code}]" if s.code else "") for s in record.suspects
    )
    return [*([record.detail] if record.detail else ()), *([f"suspects: {suspects}"] if suspects else ())]

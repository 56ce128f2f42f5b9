"""`accelwatch remediations [--since 24h] [--json]`, `accelwatch remediations reset --reason TEXT`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from accelwatch.commands import journal
from accelwatch.commands.columns import GREEN, RED, YELLOW, aligned, clock, painter
from accelwatch.commands.operator import ask, who
from accelwatch.faults.shown import rfc3339
from accelwatch.journal.reading import read_remediations
from accelwatch.remediation.decision import BREAKER_SECONDS
from accelwatch.remediation.record import BAD, Outcome, Remediation

_HEADINGS = ("ID", "DECIDED", "OUTCOME", "FAULT", "CLASS", "DEVICE", "CODE", "RUN", "EXIT", "ENDED")
_PLAIN: tuple[str | None, ...] = (None, None)  # the columns before the outcome
_COLOUR = {Outcome.SUCCEEDED: GREEN, Outcome.BREAKER_OPEN: RED, **dict.fromkeys(BAD, RED), Outcome.LIMITED: YELLOW}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "action", nargs="?", choices=("list", "reset"), default="list", help="reset: close the breaker now"
    )
    parser.add_argument("--reason", metavar="TEXT", help="reset: why; kept in the journal and logged")
    journal.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Prints them, or asks the running agent; 3 when the journal or the agent does not answer, or for wrong usage."""
    if options.action == "list":
        return journal.answer("remediations", options, read_remediations, show)
    reason = (options.reason or "").strip()
    if not reason:
        print("accelwatch remediations: reset: expected --reason TEXT", file=sys.stderr)
        return 3
    answer = ask("remediations", options, {"command": "remediation_reset", "reason": reason, "by": who()})
    if answer is None:
        return 3
    before = "was open and is closed" if answer["was_open"] else "was not open; its count begins anew"
    print(f"the breaker {before}. What it stopped is not run any more: `accelwatch remediations` lists it")
    return 0


def show(rows: Sequence[Remediation], asked: journal.Asked, as_json: bool) -> str:
    """The document, or a table; the newest first."""
    newest = sorted(rows, key=lambda row: row.id, reverse=True)
    if as_json:
        return json.dumps({"remediations": [document(row) for row in newest]}, indent=2)
    if not newest:
        return f"{asked.node}: no fault has asked for a command in the last {asked.since}"
    paint = painter(sys.stdout.isatty())
    colours = [[*_PLAIN, _COLOUR.get(row.outcome)] for row in newest]
    return aligned(_HEADINGS, [_row(row) for row in newest], paint, colours, [_below(row) for row in newest])


def document(row: Remediation) -> dict[str, Any]:
    """One of `remediations` in the document; times as RFC 3339, what is not known or does not apply null."""
    return {
        "id": row.id,
        "outcome": row.outcome.value,
        "dry_run": row.dry_run,
        "decided": rfc3339(row.wall),
        "ended": None if row.ended_wall is None else rfc3339(row.ended_wall),
        "fault": row.fault,
        "incident": row.incident or None,
        "class": row.class_ or None,
        "vendor": row.vendor or None,
        "device": row.device,
        "code": row.code,
        "run_id": row.run_id,
        "message": row.message or None,
        "command": list(row.command),
        "breaker_until": None if row.opened_at is None else rfc3339(_breaker_until(row, row.opened_at)),
        "exit_status": row.exit_status,
        "error": row.error,
        "stderr": row.stderr or None,
        "by": row.by or None,
        "reason": row.reason or None,
    }


def _breaker_until(row: Remediation, opened_at: float) -> float:
    """Seconds since the epoch, unless an operator closes it before."""
    return row.wall - (row.at - opened_at) + BREAKER_SECONDS


def _row(row: Remediation) -> tuple[str, ...]:
    return (
        str(row.id),
        clock(row.wall),
        row.outcome.value + (" (dry run)" if row.dry_run and row.outcome is not Outcome.DRY_RUN else ""),
        "" if row.fault is None else str(row.fault),
        row.class_,
        f"{row.vendor} {row.device}" if row.device is not None else row.vendor,
        row.code or "",
        row.run_id or "",
        "" if row.exit_status is None else str(row.exit_status),
        clock(row.ended_wall),
    )


def _below(row: Remediation) -> list[str]:
    if row.outcome is Outcome.RESET:
        return [f"breaker closed by {row.by or 'an operator'}: {row.reason}"]
    verb = {Outcome.DRY_RUN: "would run", Outcome.LIMITED: "not run", Outcome.BREAKER_OPEN: "not run"}
    lines = [row.message, f"{verb.get(row.outcome, 'command')}: {shlex.join(row.command)}"]
    if row.opened_at is not None:
        lines.append(
            f"stopped by the breaker, which is open until {clock(_breaker_until(row, row.opened_at))} or a reset"
        )
    if row.error is not None:
        lines.append(row.error)
    return lines + [f"stderr: {line}" for line in row.stderr.splitlines()[-5:]]

"""`accelwatch scan`: the faults in saved logs, for the morning after."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from accelwatch import report
from accelwatch.logs.episodes import Entry, Episodes
from accelwatch.logs.opened import ERRORS, opened
from accelwatch.logs.scanner import Scanner
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import Taxonomy, load

MESSAGE_LIMIT = 1000
WIDTH = 110
# More of one severity than this nobody reads; --json has them all.
LISTED_LIMIT = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a saved log, also compressed; - for standard input")
    parser.add_argument("--json", action="store_true", help="print the document of the contract instead of a list")


def run(options: argparse.Namespace) -> int:
    """Prints the faults; gives the exit status of `check`, with every fault taken as active."""
    taxonomy = load()
    episodes = Episodes(taxonomy)
    unread = []
    for name in options.files:
        try:
            with opened(name) as stream:
                for found in Scanner(name, time.time).scan(stream):
                    episodes.add(found)
        except ERRORS as error:
            unread.append(name)
            reason = getattr(error, "strerror", None) or error
            print(f"accelwatch scan: {name}: cannot be read to its end: {reason}", file=sys.stderr)
    entries = episodes.entries
    if options.json:
        _print_json(entries, taxonomy)
    else:
        print(render(entries, taxonomy, several=len(options.files) > 1))
    if episodes.dropped:
        print(
            f"accelwatch scan: {episodes.dropped} more lines tell of faults: scan a smaller part of the log",
            file=sys.stderr,
        )
    return exit_status(entries, bool(unread))


def exit_status(entries: list[Entry], unread: bool) -> int:
    """A log that was not read to its end can hide anything: without a run-ending fault nobody can tell."""
    if any(entry.ends_runs for entry in entries):
        return report.RUN_ENDING
    if unread:
        return report.CANNOT_TELL
    return report.DEGRADED if any(e.severity is not Severity.INFORMATIONAL for e in entries) else report.HEALTHY


def document(entry: Entry, taxonomy: Taxonomy) -> dict[str, Any]:
    """One entry of the contract."""
    event = entry.event
    return {
        "class": entry.meaning.class_.name,
        "severity": entry.severity.value,
        "vendor": event.vendor,
        "device": None if entry.number is None else str(entry.number),
        "pci": event.pci,
        "code": event.code,
        "pid": entry.pid,
        "process": entry.process,
        "rank": entry.rank,
        "message": event.text[:MESSAGE_LIMIT],
        "action": action(entry, taxonomy),
        "first_seen": _time(entry.first),
        "last_seen": _time(entry.last),
        "count": entry.count,
        "file": event.file,
        "line": entry.line,
    }


def _print_json(entries: list[Entry], taxonomy: Taxonomy) -> None:
    """Entry by entry: a storm's document is larger than all that was kept of it."""
    print('{"faults": [', end="")
    for number, entry in enumerate(entries):
        print(
            ",\n" if number else "\n",
            textwrap.indent(json.dumps(document(entry, taxonomy), indent=2), "  "),
            sep="",
            end="",
        )
    print("\n]}" if entries else "]}")


def action(entry: Entry, taxonomy: Taxonomy) -> str:
    """What the driver itself asks for, else the taxonomy's."""
    event = entry.event
    asked = None if event.action is None else taxonomy.code(f"recovery_action_{event.action}", None)
    advice = (asked.action if asked is not None else None) or taxonomy.action(
        entry.meaning.class_.name, event.vendor, event.code, event.kind, severity=entry.severity
    )
    # nvidia-smi takes the address for `-i`.
    return advice.replace("<GPU>", f"{event.pci}.0") if event.vendor == "nvidia" and event.pci else advice


def render(entries: list[Entry], taxonomy: Taxonomy, several: bool) -> str:
    """A list that a tired person can read: what ended runs first."""
    if not entries:
        return "No faults found."
    lines: list[str] = []
    for title, severity in _TITLES:
        chosen = [entry for entry in entries if entry.severity is severity]
        if not chosen:
            continue
        lines.append(f"{title} ({len(chosen)})")
        for entry in chosen[:LISTED_LIMIT]:
            lines += _entry(entry, taxonomy, several)
        if len(chosen) > LISTED_LIMIT:
            more = Counter(entry.meaning.class_.name for entry in chosen[LISTED_LIMIT:])
            counts = ", ".join(f"{name} {count}" for name, count in more.most_common())
            lines.append(f"  … and {more.total()} more ({counts}); --json lists all")
        lines.append("")
    return "\n".join(lines).rstrip()


_TITLES = (
    ("ENDS A RUN", Severity.RUN_ENDING),
    ("SLOWS A RUN OR PUTS IT AT RISK", Severity.DEGRADING),
    ("FOR THE RECORD", Severity.INFORMATIONAL),
)


def _entry(entry: Entry, taxonomy: Taxonomy, several: bool) -> list[str]:
    event, code = entry.event, entry.meaning.code
    name = f"{_FAMILIES.get(event.kind, '')} {event.code}".strip() if event.code is not None else ""
    what = f"{name} {code.name if code is not None else ''}".strip() or event.kind
    where = [event.vendor, event.pci or "", "" if entry.number is None else f"device {entry.number}"]
    where.append("" if entry.rank is None else f"rank {entry.rank}")
    where.append("" if entry.pid is None else f"pid {entry.pid} {entry.process or ''}".rstrip())
    times = "" if entry.count == 1 else f", {entry.count} lines"
    place = f"{event.file}:{entry.line}" if several else f"line {entry.line}"
    head = f"  {_local(entry.first) or place}  {entry.meaning.class_.name}: {what}"
    return [
        head,
        f"      on {' '.join(part for part in where if part)} ({place}{times})",
        *textwrap.wrap(f"Do: {action(entry, taxonomy)}", WIDTH, initial_indent="      ", subsequent_indent="      "),
    ]


_FAMILIES = {"xid": "Xid", "sxid": "SXid", "ascend": "code", "ascend_mntn": "exception", "hccl": ""}


def _time(wall: float | None) -> str | None:
    """RFC 3339, in UTC."""
    if wall is None:
        return None
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _local(wall: float | None) -> str | None:
    """As the log itself writes it, where it was written in this zone."""
    return None if wall is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))

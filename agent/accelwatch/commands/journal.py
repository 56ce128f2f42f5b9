"""What `faults` and `runs` share: they read the journal, beside an agent that writes it or without one."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from accelwatch import config
from accelwatch.clock import SystemClock
from accelwatch.journal.rows import JournalError

CANNOT_TELL = 3
_SINCE = re.compile(r"^(\d+(?:\.\d+)?)([smhdw])$")
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_Record = TypeVar("_Record")


class Asked(msgspec.Struct, frozen=True):
    """Which node, and how far back."""

    node: str
    since: str  # as it was written: 24h


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of both."""
    parser.add_argument("--since", default="24h", metavar="TIME", help="how far back, such as 30m, 24h or 90d")
    parser.add_argument("--json", action="store_true", help="print the document of the contract instead of a table")


def answer(
    command: str,
    options: argparse.Namespace,
    read: Callable[[Path, float], Sequence[_Record]],
    show: Callable[[Sequence[_Record], Asked, bool], str],
) -> int:
    """Reads, prints what `show` makes of it (the last argument: as JSON), and gives the exit status."""
    try:
        seconds = _seconds(options.since)
        loaded = config.load(config.find(options.config))
        records = read(Path(loaded.state_dir), SystemClock().time() - seconds)
    except (ValueError, config.ConfigError, JournalError) as error:
        print(f"accelwatch {command}: {error}", file=sys.stderr)
        return CANNOT_TELL
    print(show(records, Asked(loaded.node_name, options.since), options.json))
    return 0


def _seconds(since: str) -> float:
    """A report covers a year: longer than any duration of the configuration. Raises `ValueError`."""
    match = _SINCE.match(since)
    if match is None:
        raise ValueError(f"--since: expected a time such as 30m, 24h or 90d, got {since!r}")
    return float(match[1]) * _UNIT_SECONDS[match[2]]

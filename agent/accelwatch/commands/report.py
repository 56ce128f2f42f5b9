"""`accelwatch report`: whose hardware ends runs how often, with intervals."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelwatch.commands.fleet_wide import moment
from accelwatch.commands.report_text import text
from accelwatch.prometheus_api import Prometheus, PrometheusError
from accelwatch.report import CANNOT_TELL

if TYPE_CHECKING:
    from accelwatch.reliability.cells import Inputs

TABLES_NEED, PAGE_NEEDS = ("scipy", "numpy"), ("matplotlib",)
DEFAULT_WINDOW = "30d"
# Longer than any part of the agent's configuration may be: of its own kind.
SHORTEST, LONGEST = 1.0, 3650 * 86_400.0
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_LENGTH = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument(
        "--counts",
        type=Path,
        metavar="FILE.csv",
        help="counts with their exposure: study, cluster, vendor, device_model, fault_class, count, device_hours (or "
        "devices and duration_hours), and, where wanted, confidence and source",
    )
    of.add_argument(
        "--prometheus", metavar="URL", help="the Prometheus with the recording rules, such as http://p:9090"
    )
    parser.add_argument(
        "--window", metavar="TIME", help=f"how far back from --end, such as 90d or 12h; {DEFAULT_WINDOW}"
    )
    parser.add_argument(
        "--end", metavar="TIME", help="2026-01-31T12:00:00Z, seconds since the epoch, or 2h for two hours ago; now"
    )
    parser.add_argument(
        "--match", action="append", metavar="LABEL=VALUE", help="only such series, as cluster=a or model=~H.*; repeat"
    )
    parser.add_argument("--recorded-every", metavar="TIME", help="the interval of the recording rules; 1h as shipped")
    parser.add_argument("--out", type=Path, metavar="FILE.html", help="write one self-contained page with plots")
    parser.add_argument("--json", action="store_true", help="print the document of the contract instead of tables")


def run(options: argparse.Namespace) -> int:
    """Prints or writes the report; 3 where it cannot be made."""
    needed = TABLES_NEED + (PAGE_NEEDS if options.out is not None else ())
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    if lacking:
        return _failed(f"needs {', '.join(lacking)}; install the extra: pip install 'accelwatch[report]'")
    try:
        document = _document(options)
        if options.out is not None:
            from accelwatch.reliability.page import page

            options.out.write_text(page(document), encoding="utf-8")
    except (OSError, ValueError, PrometheusError) as error:
        return _failed(str(error))
    if options.json:
        print(json.dumps(document, indent=1, allow_nan=False))
    elif options.out is None:
        print(text(document))
    if options.out is not None:
        print(f"accelwatch report: {options.out} is written", file=sys.stderr)
    return 0


def _document(options: argparse.Namespace) -> dict[str, Any]:
    # scipy takes a second to load: only here.
    from accelwatch.reliability.document import document

    return document(_from_counts(options) if options.counts is not None else _from_prometheus(options))


def _from_counts(options: argparse.Namespace) -> Inputs:
    from accelwatch.reliability import counts

    for name in ("window", "end", "match", "recorded_every"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is of --prometheus; a file of counts has its own exposure")
    return counts.read(options.counts)


def _from_prometheus(options: argparse.Namespace) -> Inputs:
    from accelwatch.reliability import measured, recorded

    end = moment(options.end, time.time(), "--end")
    length = _length("--window", options.window or DEFAULT_WINDOW)
    every = _length("--recorded-every", options.recorded_every or "1h")
    matches = [recorded.match(one) for one in options.match or ()]
    prometheus = Prometheus(options.prometheus, seconds=recorded.QUESTION_SECONDS)
    terminal = sys.stderr.isatty()
    began = time.monotonic()

    def progress(share: float) -> None:
        if terminal:
            passed = time.monotonic() - began
            left = f", about {passed / share - passed:.0f} s left" if passed > 2 and share < 1 else ""
            print(f"\r\x1b[Kreading {options.prometheus}: {share:.0%}{left}", end="", file=sys.stderr, flush=True)

    try:
        window = recorded.Window(end - length, end)
        return measured.read(prometheus, window, matches, every=every, progress=progress)
    finally:
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _length(option: str, text: str) -> float:
    match = _LENGTH.fullmatch(text)
    length = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not SHORTEST <= length <= LONGEST:
        raise ValueError(f"{option}: expected a length such as 90d, 13w or 12h, from 1s to 3650d, got {text!r}")
    return length


def _failed(why: str) -> int:
    print(f"accelwatch report: {why}", file=sys.stderr)
    return CANNOT_TELL

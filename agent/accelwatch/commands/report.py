"""`accelwatch report`: whose hardware ends runs how often, with intervals."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from accelwatch.commands.report_text import text
from accelwatch.report import CANNOT_TELL

EXTRA = "scipy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "--counts",
        required=True,
        type=Path,
        metavar="FILE.csv",
        help="counts with their exposure: study, cluster, vendor, device_model, fault_class, count, device_hours (or "
        "devices and duration_hours), and, where wanted, confidence and source",
    )
    parser.add_argument("--json", action="store_true", help="print the document of the contract instead of tables")


def run(options: argparse.Namespace) -> int:
    """Prints the report; 3 where the counts cannot be read."""
    if importlib.util.find_spec(EXTRA) is None:
        print("accelwatch report: needs scipy; install the extra: pip install 'accelwatch[report]'", file=sys.stderr)
        return CANNOT_TELL
    try:
        document = _from_counts(options.counts)
    except (OSError, ValueError) as error:
        print(f"accelwatch report: {error}", file=sys.stderr)
        return CANNOT_TELL
    print(json.dumps(document, indent=1, allow_nan=False) if options.json else text(document))
    return 0


def _from_counts(path: Path) -> dict[str, Any]:
    # scipy takes a second to load: only here.
    from accelwatch.reliability import counts
    from accelwatch.reliability.document import document

    return document(counts.read(path))

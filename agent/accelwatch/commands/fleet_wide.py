"""What `why` and `fleet` share: they ask a Prometheus, from any login node."""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import time

from accelwatch import config

CANNOT_TELL = 3
_NUMBER = re.compile(r"\d+(\.\d+)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of both."""
    parser.add_argument(
        "--prometheus",
        required=True,
        metavar="URL",
        help="the Prometheus that scrapes the agents, such as http://p:9090",
    )
    parser.add_argument("--cluster", metavar="C", help="only of this cluster")
    parser.add_argument("--json", action="store_true", help="print the document of the contract instead of text")
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="as it was then: 2026-01-31T12:00:00Z, seconds since the epoch, or 2h for two hours ago",
    )


def moment(text: str | None, now: float, option: str = "--at") -> float:
    """Seconds since the epoch; a time without a zone is UTC, as ours are. Raises `ValueError`."""
    if text is None:
        return now
    try:
        at = now - config.seconds(text)
    except ValueError:
        at = _absolute(text, option)
    if at > now + 1.0:
        raise ValueError(f"{option}: {text!r} is yet to come")
    return at


def _absolute(text: str, option: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        read = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{option}: expected a time such as 2026-01-31T12:00:00Z, seconds since the epoch, or 2h, got {text!r}"
        ) from None
    return (read if read.tzinfo is not None else read.replace(tzinfo=datetime.UTC)).timestamp()


def asked_at(options: argparse.Namespace) -> float:
    """What `--at` says, else now. Raises `ValueError`."""
    return moment(options.at, time.time())


def failed(command: str, error: Exception) -> int:
    """Says why, and gives the status of a question that could not be answered."""
    print(f"accelwatch {command}: {error}", file=sys.stderr)
    return CANNOT_TELL


def span(seconds: float) -> str:
    """`14 s`, `12 min`, `3 h 5 min`, `2 d 3 h`."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"

"""`accelwatch clear ID --reason TEXT`."""

from __future__ import annotations

import argparse

from accelwatch.commands.operator import ask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("id", type=int, metavar="ID", help="the fault's number in `accelwatch faults`")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why it is over; kept with the fault")


def run(options: argparse.Namespace) -> int:
    """Asks the running agent; 3 when there is none, or no such fault is active."""
    answer = ask("clear", options, {"command": "clear", "id": options.id, "reason": options.reason})
    if answer is None:
        return 3
    print(f"fault {answer['cleared']} is cleared: {options.reason}")
    return 0

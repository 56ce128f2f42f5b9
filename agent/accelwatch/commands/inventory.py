"""`accelwatch inventory [accept]`: the devices that this node has learned, and letting go of those that are gone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from accelwatch.commands.columns import GREEN, RED, aligned, clock, painter
from accelwatch.commands.operator import ask

_HEADINGS = ("DEVICE", "MODEL", "STATE", "PCI", "SERIAL", "FIRST SEEN")
_STATE_COLUMN = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("accept",),
        help="accept: forget the devices that are not up; they were taken out for good",
    )


def run(options: argparse.Namespace) -> int:
    """Asks the running agent; 3 when there is none."""
    if options.action == "accept":
        answer = ask("inventory", options, {"command": "inventory_accept"})
        if answer is not None:
            print(accepted(answer["forgotten"]))
    else:
        answer = ask("inventory", options, {"command": "inventory"})
        if answer is not None:
            print(table(answer["devices"], sys.stdout.isatty()))
    return 0 if answer is not None else 3


def accepted(forgotten: Sequence[dict[str, Any]]) -> str:
    """What was forgotten."""
    if not forgotten:
        return "every device that is known is up: nothing to forget"
    names = ", ".join(f"{device['vendor']} {device['device']} ({device['model'] or '?'})" for device in forgotten)
    return f"forgotten, and expected no more: {names}"


def table(devices: Sequence[dict[str, Any]], colour: bool) -> str:
    """One line per device."""
    if not devices:
        return "no device is known"
    rows = [
        (
            f"{device['vendor']} {device['device']}",
            device["model"] or "",
            "up" if device["up"] else "DOWN",
            device["pci"] or "",
            device["serial"] or "",
            clock(device["first_seen"]),
        )
        for device in devices
    ]
    colours: list[list[str | None]] = [[None] * _STATE_COLUMN + [GREEN if device["up"] else RED] for device in devices]
    missing = sum(not device["up"] for device in devices)
    hint = "\n`accelwatch inventory accept` forgets those that are down for good" if missing else ""
    return aligned(_HEADINGS, rows, painter(colour), colours) + hint

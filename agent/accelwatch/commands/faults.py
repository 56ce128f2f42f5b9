"""`accelwatch faults [--since 24h] [--json]`: what the journal holds of faults, newest first."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from accelwatch.commands import journal
from accelwatch.commands.columns import GREEN, RED, YELLOW, aligned, clock, painter
from accelwatch.faults.episode import Episode
from accelwatch.faults.shown import shown
from accelwatch.journal.reading import read_faults
from accelwatch.readings.severity import Severity

_HEADINGS = ("ID", "FIRST SEEN", "SEVERITY", "CLASS", "DEVICE", "CODE", "COUNT", "RUN", "STATE")
_SEVERITY_COLUMN, _STATE_COLUMN = 2, 8
_COLOUR = {Severity.RUN_ENDING: RED, Severity.DEGRADING: YELLOW}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    journal.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Prints them; 3 when the journal cannot be read."""
    return journal.answer("faults", options, read_faults, show)


def show(episodes: Sequence[Episode], asked: journal.Asked, as_json: bool) -> str:
    """The document of the contract, or a table."""
    newest = sorted(episodes, key=lambda e: (e.first_wall, e.id), reverse=True)
    if as_json:
        return json.dumps({"faults": [document(episode) for episode in newest]}, indent=2)
    return table(newest, asked, sys.stdout.isatty())


def document(episode: Episode) -> dict[str, Any]:
    """As in `check`, with what only the journal knows."""
    more = {"id": episode.id, "active": episode.active, "historical": episode.historical}
    fault: dict[str, Any] = msgspec.to_builtins(shown(episode))
    return fault | more


def table(episodes: Sequence[Episode], asked: journal.Asked, colour: bool) -> str:
    """One line per fault with its message below, and the action while it is active."""
    paint = painter(colour)
    if not episodes:
        return f"{asked.node}: no fault in the last {asked.since}, and none is active"
    active = sum(episode.active for episode in episodes)
    head = f"{asked.node}: {active} active, {len(episodes) - active} cleared in the last {asked.since}\n"
    rows = [_row(episode) for episode in episodes]
    colours = [_colours(episode) for episode in episodes]
    return head + aligned(_HEADINGS, rows, paint, colours, [_below(episode) for episode in episodes])


def _row(episode: Episode) -> tuple[str, ...]:
    device = episode.device if episode.device is not None else episode.place
    return (
        str(episode.id),
        clock(episode.first_wall),
        episode.severity.value,
        episode.class_,
        f"{episode.vendor} {device}" if device else "host",
        " ".join(dict.fromkeys(filter(None, (episode.code, *episode.codes)))),
        str(episode.count),
        f"{episode.run_id} attempt {episode.attempt or '0'}" if episode.run_id else "",
        _state(episode),
    )


def _state(episode: Episode) -> str:
    marks = "".join(
        f", {mark}"
        for mark, holds in (
            ("drill", episode.drill),
            ("historical", episode.historical),
            ("echo", episode.echo),
            ("by the application", episode.application),
        )
        if holds
    )
    if episode.active:
        return f"active{marks}"
    because = f": {episode.cleared_because}" if episode.cleared_because else ""
    return f"cleared {clock(episode.cleared_wall)}{marks}{because}"


def _colours(episode: Episode) -> list[str | None]:
    colours: list[str | None] = [None] * len(_HEADINGS)
    if episode.active:
        colours[_SEVERITY_COLUMN] = _COLOUR.get(episode.severity)
    else:
        colours[_STATE_COLUMN] = GREEN
    return colours


def _below(episode: Episode) -> list[str]:
    return [episode.message, *([f"do: {episode.action}"] if episode.active else ())]

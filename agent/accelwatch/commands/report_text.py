"""The report on a terminal: tables of rates and of ratios, then what its reader has to know."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from accelwatch.commands.columns import aligned, painter

WIDTH = 110
RATES = ("group", "class", "count", "device-hours", "MTBF, h per device", "interval")
RATIOS = ("class", "a", "b", "a : b", "interval", "p", "verdict")


def text(document: dict[str, Any]) -> str:
    """All of it, ending without a line break."""
    parts = [document["title"], _section("Rates, with exact Poisson intervals", RATES, map(_rate, document["rates"]))]
    if document["primary"]:
        parts.append(
            _section(
                "The comparison chosen beforehand: hardware faults that end runs, over the classes that both list",
                RATIOS,
                map(_ratio, document["primary"]),
            )
        )
    if document["ratios"]:
        parts.append(
            _section(
                "Class by class: ratios of rates, exact; verdicts after Holm over the classes of a pair",
                RATIOS,
                map(_ratio, document["ratios"]),
            )
        )
    if document["published"]:
        parts.append(
            _section(
                "Said without count or exposure: shown, never compared",
                ("group", "class", "what it is", "count"),
                (
                    (one["group"], one["class"], one["standing"], "-" if one["count"] is None else str(one["count"]))
                    for one in document["published"]
                ),
            )
        )
    notes = (textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ") for note in document["notes"])
    return "\n\n".join([*parts, "\n".join(("Notes", *notes))])


def _rate(one: dict[str, Any]) -> tuple[str, ...]:
    head = (one["group"], one["class"], str(one["count"]), f"{one['device_hours']:,.0f}")
    if one["rate_per_device_hour"] is None:
        return (*head, "not observable", "")
    if one["mtbf_hours"] is None:
        return (*head, f"> {_hours(one['mtbf_low'])}", f"{one['confidence']:.0%}: no upper bound without an event")
    return (
        *head,
        _hours(one["mtbf_hours"]),
        f"{one['confidence']:.0%}: {_hours(one['mtbf_low'])} - {_hours(one['mtbf_high'])}",
    )


def _ratio(one: dict[str, Any]) -> tuple[str, ...]:
    middle = "-" if one["ratio"] is None else f"{one['ratio']:.3g}"
    high = "no bound" if one["high"] is None else f"{one['high']:.3g}"
    interval = f"{one['confidence']:.0%}: {one['low']:.3g} - {high}"
    return (one["class"], one["a"], one["b"], middle, interval, f"{one['p_value']:.2g}", one["verdict"])


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return f"{title}\n{textwrap.indent(aligned(header, list(rows), painter(False)), '  ')}"

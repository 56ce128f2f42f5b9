"""The report on a terminal: tables of rates and of ratios, then what its reader has to know."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from accelwatch.commands.columns import aligned, painter, printable
from accelwatch.commands.fleet_wide import span

WIDTH = 110
RATES = ("group", "class", "count", "device-hours", "MTBF, h per device", "interval")
RATIOS = ("class", "a", "b", "a : b", "interval", "p", "verdict")
RUNS = ("group", "cause", "runs", "per 1,000 device-hours", "interval", "device-hours lost")
AVAILABLE = ("group", "nodes", "availability", "limits", "planned", "unwatched device-hours")
TIMES = ("group", "time", "measured", "median", "90 % within", "mean")


def text(document: dict[str, Any]) -> str:
    """All of it but published figures of others beside a fleet's own, which are on its page; without a line break at
    the end."""
    happened = {one["class"] for one in document["rates"] if one["count"]}
    quiet = len(document["rates"]) - sum(one["class"] in happened for one in document["rates"])
    of_fleet = document["window"] is not None
    rates = [one for one in document["rates"] if one["class"] in happened or not of_fleet]
    ratios = [one for one in document["ratios"] if one["count_a"] + one["count_b"] or not of_fleet]
    sections = [
        ("Rates, with exact Poisson intervals", RATES, map(_rate, rates)),
        (
            "The comparison chosen beforehand: hardware faults that end runs, over the classes that both list",
            RATIOS,
            map(_ratio, document["primary"]),
        ),
        (
            "Class by class: ratios of rates, exact; verdicts after Holm over the classes of a pair",
            RATIOS,
            map(_ratio, ratios),
        ),
        ("Runs that were interrupted, by cause", RUNS, map(_runs, document["interruptions"])),
        ("Availability, with limits over nodes", AVAILABLE, map(_available, document["availability"])),
        ("Times to detect and to repair", TIMES, map(_times, document["times"])),
        (
            "Said without count or exposure: shown, never compared",
            ("group", "class", "what it is", "count"),
            (
                (one["group"], one["class"], one["standing"], "-" if one["count"] is None else str(one["count"]))
                for one in (() if of_fleet else document["published"])
            ),
        ),
    ]
    parts = [printable(document["title"]), "\n".join(map(_filled, document["answer"]))]
    for title, header, lines in sections:
        rows = list(lines)
        if rows:
            parts.append(_section(title, header, rows))
    notes = list(document["notes"])
    if of_fleet and quiet:
        notes.append(f"{quiet} rates of classes of which no group had an event are in --json and on the page of --out.")
    wrapped = (_filled(note, "- ", "  ") for note in notes)
    return "\n\n".join([*parts, "\n".join(("Notes", *wrapped))])


def _filled(words: str, first: str = "", others: str = "") -> str:
    return textwrap.fill(printable(words), WIDTH, initial_indent=first, subsequent_indent=others)


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


def _runs(one: dict[str, Any]) -> tuple[str, ...]:
    rate, low, high = (1000 * one[key] for key in ("rate_per_device_hour", "rate_low", "rate_high"))
    interval = f"{one['confidence']:.0%}: {low:.3g} - {high:.3g}"
    return (one["group"], one["cause"], str(one["count"]), f"{rate:.3g}", interval, _hours(one["lost_device_hours"]))


def _available(one: dict[str, Any]) -> tuple[str, ...]:
    limits = "one node" if one["low"] is None else f"{one['confidence']:.0%}: {one['low']:.3%} - {one['high']:.3%}"
    share, planned = f"{one['availability']:.3%}", f"{one['planned']:.2%}"
    return (one["group"], str(one["nodes"]), share, limits, planned, _hours(one["unwatched_device_hours"]))


def _times(one: dict[str, Any]) -> tuple[str, ...]:
    spans = (span(one[key]) for key in ("median_seconds", "p90_seconds", "mean_seconds"))
    return (one["group"], one["measure"].replace("_", " "), str(one["count"]), *spans)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return f"{title}\n{textwrap.indent(aligned(header, list(rows), painter(False)), '  ')}"

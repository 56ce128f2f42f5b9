"""The report as one page: nothing is fetched for it, it prints, and a table sorts by a click on its heading."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelwatch import __version__
from accelwatch.reliability import colours, page_tables, plots
from accelwatch.reliability.answer import comparison, headline, hours, name
from accelwatch.reliability.comparisons import DIFFERENT
from accelwatch.reliability.page_tables import escaped, table

HERE = Path(__file__).parent
# Nothing may be fetched, whatever a name in it says.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

Row = Mapping[str, Any]


def page(document: Mapping[str, Any]) -> str:
    """`document`: `document.document`'s. Text from outside is escaped."""
    body = "\n".join(part for section in SECTIONS for part in section(document))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escaped(document['title'])}</title>\n<style>\n{_file('page.css')}</style></head>\n<body>\n{body}\n"
        f"<script>\n{_file('page.js')}</script>\n</body></html>\n"
    )


def _head(document: Mapping[str, Any]) -> Iterator[str]:
    window = document["window"]
    of = "" if window is None else f"{window['start']} to {window['end']} · "
    yield f"<header><h1>{escaped(document['title'])}</h1>"
    yield (
        f'<p class="meta">{escaped(of + "from " + document["origin"])} · made {escaped(document["produced"])} '
        f"by accelwatch {escaped(__version__)}</p></header>"
    )


def _answer(document: Mapping[str, Any]) -> Iterator[str]:
    vendors = document["vendors"]
    runs = {one["group"]: one for one in _by_vendor(document["interruptions"])}
    if vendors["sums"]:
        yield "<p>Hardware faults that end runs, by vendor: how long a device goes without, on average.</p>"
        yield '<div class="cards">'
        yield from (_card(one, runs.get(one["vendor"])) for one in vendors["sums"])
        yield "</div>"
    pairs = headline(document)
    yield from (_verdict(one) for one in pairs[:3])
    if not pairs:
        yield f'<div class="verdict alike">{escaped(" ".join(document["answer"]))}</div>'
    if vendors["sums"]:
        yield (
            f'<p class="small">Over the classes that every side can see: {escaped(", ".join(vendors["classes"]))}. '
            "This comparison was chosen beforehand; all others are below, with Holm's correction.</p>"
        )
    missing = len(document["notes"])
    yield f'<p><a href="#notes">What is missing, and how to read this: {missing} notes</a></p>'
    together = [{**one, "class": "run-ending"} for one in vendors["groups"]]
    yield from _figure("Hardware faults that end runs, by model", plots.rates(together, "class", together))
    yield from _figure("The same, compared", plots.ratios([*vendors["ratios"], *document["primary"]]))
    yield from _figure("The same over time", plots.periods(vendors["groups"]))
    if document["primary"]:
        yield table(page_tables.PRIMARY, document["primary"])


def _by_vendor(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Runs that hardware ended, all models together."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["cause"] == "hardware":
            of = found.setdefault(row["vendor"], {"group": row["vendor"], "count": 0, "device_hours": 0.0, "lost": 0.0})
            of["count"] += row["count"]
            of["device_hours"] += row["device_hours"]
            of["lost"] += row["lost_device_hours"]
    yield from found.values()


def _card(one: Row, runs: Row | None) -> str:
    none = one["mtbf_hours"] is None
    big = f"> {hours(one['mtbf_low'])} h" if none else f"{hours(one['mtbf_hours'])} h"
    limits = f"{one['confidence']:.0%} limits: {hours(one['mtbf_low'])} to {hours(one['mtbf_high'])} h"
    resampled = one.get("bootstrap")
    if resampled and resampled[0] > 0:
        limits += f"; with a few devices giving most, rather {hours(1 / resampled[1])} to {hours(1 / resampled[0])} h"
    ended = "" if runs is None else (
        f"<p>Runs that hardware ended: {runs['count']:,}, {1000 * runs['count'] / runs['device_hours']:.2g} per 1,000 "
        f"device-hours; {hours(runs['lost'])} device-hours lost.</p>"
    )  # fmt: skip
    faults = f"{one['count']:,} fault{'' if one['count'] == 1 else 's'}"
    return (
        f'<section class="card" style="--vendor: {colours.of(one["vendor"])}"><h3>{escaped(name(one["group"]))} '
        f'<span class="small">({escaped(one["model"])})</span></h3>'
        f'<div class="big">{big} <span class="small">per device</span></div><p>{limits}</p>'
        f'<p class="small">{faults} in {hours(one["device_hours"])} device-hours of '
        f"{one['devices'] or 0:,} devices</p>{ended}</section>"
    )


def _verdict(one: Row) -> str:
    real = one["verdict"] == DIFFERENT
    strong = "The difference is more than chance." if real else "No difference that can be told from chance."
    return f'<div class="verdict{"" if real else " alike"}"><strong>{strong}</strong>{escaped(comparison(one))}</div>'


def _runs(document: Mapping[str, Any]) -> Iterator[str]:
    if document["interruptions"]:
        yield "<h2>What ended runs</h2>"
        yield "<p>Each run attempt once, however many nodes it had, under its earliest cause.</p>"
        yield from _figure("Interrupted runs by cause", plots.causes(document["interruptions"]))
        ended = [one for one in document["interruptions"] if one["count"]]
        if not ended:
            yield "<p>No interrupted run was recorded in this window.</p>"
            return
        yield table(page_tables.INTERRUPTIONS, ended)
        compared = [one for one in document["interruption_ratios"] if one["count_a"] + one["count_b"]]
        if compared:
            yield "<h3>Compared by cause</h3>"
            yield table(page_tables.INTERRUPTION_RATIOS, compared)


def _rates(document: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Faults by class</h2>"
    with_events = {one["class"] for one in document["rates"] if one["count"]}
    hardware = [one for one in document["rates"] if one["hardware"] is not False]
    yield from _figure("Faults of hardware by class", plots.rates(hardware, "class", document["rates"]))
    yield table(page_tables.RATES, [one for one in document["rates"] if one["class"] in with_events])
    rest = [one for one in document["rates"] if one["class"] not in with_events]
    if rest:
        yield f"<details><summary>Classes of which no group had an event ({len(rest)} lines)</summary>"
        yield table(page_tables.RATES[:8], rest)
        yield "</details>"


def _ratios(document: Mapping[str, Any]) -> Iterator[str]:
    shown = [one for one in document["ratios"] if one["count_a"] + one["count_b"]]
    if shown:
        yield "<h2>Compared class by class</h2>"
        yield "<p>Each pair of groups, a over b; the verdict stands after Holm's correction.</p>"
        yield table(page_tables.RATIOS, shown)


def _devices(document: Mapping[str, Any]) -> Iterator[str]:
    if document["availability"]:
        yield "<h2>Availability</h2>"
        yield from _figure("Availability by group", plots.availability(document["availability"]))
        yield table(page_tables.AVAILABILITY, document["availability"])
    if document["times"]:
        yield "<h2>Times to detect and to repair</h2>"
        yield table(page_tables.TIMES, document["times"])
    if document["survival"]:
        yield "<h2>How long devices last</h2>"
        yield "<ul>"
        for one in document["survival"]:
            yield f"<li>{escaped(one['group'])}: {one['failed']:,} of {one['devices']:,} devices failed.</li>"
        yield "</ul>"
        yield from _figure("Devices not yet failed, by age", plots.survival(document["survival"]))


def _notes(document: Mapping[str, Any]) -> Iterator[str]:
    yield '<h2 id="notes">What is missing, and how to read this</h2><ul>'
    yield from (f"<li>{escaped(note)}</li>" for note in document["notes"])
    yield "</ul>"


def _published(document: Mapping[str, Any]) -> Iterator[str]:
    shown = document["published"]
    if not shown:
        return
    claims = sum(one["standing"] == "claim" for one in shown)
    yield "<h2>Published by others</h2>"
    yield (
        "<p>Context only: nothing here is tested against it. Definitions, windows and joining of repeats differ "
        'from study to study. What is marked <span class="claim">claim</span> is somebody\'s word, without count and '
        "exposure.</p>"
    )
    yield f"<details><summary>{len(shown)} figures, {claims} of them claims</summary>"
    text = table(page_tables.PUBLISHED, shown)
    yield text.replace('<td class="standing">claim</td>', '<td><span class="claim">claim</span></td>')
    yield "</details>"


SECTIONS = (_head, _answer, _runs, _rates, _ratios, _devices, _notes, _published)


def _figure(title: str, svg: str | None) -> Iterator[str]:
    """As an image of its own, so that the names in one picture are not those of another."""
    if svg is not None:
        data = base64.b64encode(svg.encode()).decode()
        text = escaped(title)
        yield f"<figure><figcaption>{text}</figcaption>"
        yield f'<img alt="{text}; its figures are in the tables" src="data:image/svg+xml;base64,{data}"></figure>'


def _file(of: str) -> str:
    return (HERE / of).read_text(encoding="utf-8")

"""The report's tables, as HTML. All text is escaped here, and nowhere else."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from accelwatch.reliability.answer import hours, limits, p
from accelwatch.reliability.comparisons import DIFFERENT

Row = Mapping[str, Any]
NONE = "–"


class Column(NamedTuple):
    """`text`: what stands in it; `value`: what it is sorted by, where it is a number."""

    title: str
    text: Callable[[Row], str]
    value: Callable[[Row], float | None] | None = None
    style: str = ""


def escaped(text: str) -> str:
    """Letters that no page can hold are no part of a name."""
    return html.escape("".join(letter if letter.isprintable() else "?" for letter in text))


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Sortable; wide ones scroll by themselves."""
    heads = "".join(
        f'<th scope="col"{_kind(column)}><button type="button">{escaped(column.title)}</button></th>'
        for column in columns
    )
    lines = "".join(f"<tr>{''.join(_cell(column, row) for column in columns)}</tr>\n" for row in rows)
    head = f"<thead><tr>{heads}</tr></thead>"
    return f'<div class="wide"><table class="sortable">{head}\n<tbody>\n{lines}</tbody></table></div>'


def _kind(column: Column) -> str:
    return ' class="number"' if column.value is not None else ""


def _cell(column: Column, row: Row) -> str:
    text = escaped(column.text(row))
    if column.value is None:
        return f'<td class="{column.style}">{text}</td>' if column.style else f"<td>{text}</td>"
    value = column.value(row)
    key = "" if value is None or math.isinf(value) else repr(float(value))
    return f'<td class="number" data-value="{key}">{text}</td>'


def _text(key: str) -> Callable[[Row], str]:
    return lambda row: str(row[key])


def _value(key: str) -> Callable[[Row], float | None]:
    return lambda row: row.get(key)


def _count(title: str, key: str) -> Column:
    return Column(title, lambda row: NONE if row.get(key) is None else f"{row[key]:,}", _value(key))


def _hours(title: str, key: str) -> Column:
    return Column(title, lambda row: NONE if row.get(key) is None else hours(row[key]), _value(key))


def _percent(title: str, key: str, digits: int = 1) -> Column:
    return Column(title, lambda row: NONE if row.get(key) is None else f"{row[key]:.{digits}%}", _value(key))


def _mtbf(row: Row) -> str:
    if row["rate_per_device_hour"] is None:
        return "not observable"
    return f"> {hours(row['mtbf_low'])}" if row["mtbf_hours"] is None else hours(row["mtbf_hours"])


def _mtbf_limits(row: Row) -> str:
    if row["rate_per_device_hour"] is None:
        return NONE
    return f"{hours(row['mtbf_low'])} to {hours(row['mtbf_high'])}"


def _per_thousand(row: Row) -> str:
    return NONE if row["rate_per_device_hour"] is None else f"{1000 * row['rate_per_device_hour']:.3g}"


def _per_thousand_limits(row: Row) -> str:
    if row["rate_per_device_hour"] is None:
        return NONE
    return f"{1000 * row['rate_low']:.3g} to {1000 * row['rate_high']:.3g}"


def _resampled(row: Row) -> str:
    limits_ = row.get("bootstrap")
    return NONE if not limits_ else f"{1000 * limits_[0]:.3g} to {1000 * limits_[1]:.3g}"


_RATE = Column("per 1,000 device-h", _per_thousand, _value("rate_per_device_hour"))
RATES = (
    Column("group", _text("group")), Column("class", _text("class")), _count("events", "count"),
    _hours("device-hours", "device_hours"), Column("MTBF, h", _mtbf, _value("mtbf_hours")),
    Column("limits, h", _mtbf_limits, _value("mtbf_low")), _RATE,
    Column("limits", _per_thousand_limits, _value("rate_low")),
    Column("resampled nodes", _resampled, lambda row: (row.get("bootstrap") or (None,))[0]),
    _count("devices hit", "devices_affected"), _percent("worst device", "top_device_share", 0),
    Column("dispersion", lambda row: f"{row['dispersion']:.2g}" if "dispersion" in row else NONE, _value("dispersion")),
)  # fmt: skip
_RATIO = (
    Column("a : b", lambda row: NONE if row["ratio"] is None else f"{row['ratio']:.2f}", _value("ratio")),
    Column("limits", limits, _value("low")), Column("p", lambda row: p(row["p_value"]), _value("p_value")),
    Column(
        "p after Holm", lambda row: NONE if row.get("p_value_holm") is None else p(row["p_value_holm"]),
        _value("p_value_holm"),
    ),
    Column(
        "difference", lambda row: "more than chance" if row["verdict"] == DIFFERENT else row["verdict"],
        style="verdict-cell",
    ),
)  # fmt: skip
_PAIR = (Column("a", _text("a")), Column("b", _text("b")), _count("events a", "count_a"), _count("events b", "count_b"))
RATIOS = (Column("class", _text("class")), *_PAIR, *_RATIO)
PRIMARY = (*_PAIR, *_RATIO[:3], _RATIO[4], _count("events needed to see a ratio of 2", "events_needed_for_2"))
INTERRUPTIONS = (
    Column("group", _text("group")), Column("cause", _text("cause")), _count("runs ended", "count"), _RATE,
    Column("limits", _per_thousand_limits, _value("rate_low")), _hours("device-hours lost", "lost_device_hours"),
    Column("of these", lambda row: ", ".join(f"{name} {count}" for name, count in row["classes"].items()) or NONE),
)  # fmt: skip
INTERRUPTION_RATIOS = (Column("cause", _text("cause")), *_PAIR, *_RATIO)
AVAILABILITY = (
    Column("group", _text("group")), _count("nodes", "nodes"), _percent("availability", "availability", 3),
    _percent("at least", "low", 3), _percent("at most", "high", 3), _hours("device-hours down", "down_device_hours"),
    _percent("planned work", "planned", 2), _hours("watched device-hours", "installed_device_hours"),
    _hours("unwatched", "unwatched_device_hours"),
)  # fmt: skip


def _seconds(title: str, key: str) -> Column:
    return Column(title, lambda row: duration(row[key]), _value(key))


def duration(seconds: float | None) -> str:
    """As a person says it."""
    if seconds is None:
        return NONE
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


TIMES = (
    Column("group", _text("group")),
    Column("time", lambda row: "to detect" if row["measure"] == "time_to_detect" else "to repair"),
    _count("measured", "count"), _seconds("median", "median_seconds"), _seconds("at least", "median_low"),
    _seconds("at most", "median_high"), _seconds("90 % within", "p90_seconds"), _seconds("mean", "mean_seconds"),
)  # fmt: skip
PUBLISHED = (
    Column("study", _text("group")), Column("vendor", _text("vendor")), Column("model", _text("model")),
    Column("class", _text("class")), Column("what it is", _text("standing"), style="standing"),
    _count("events", "count"), _hours("device-hours", "device_hours"),
    Column("MTBF, h", lambda row: hours(row["mtbf_hours"]) if row["mtbf_hours"] else NONE, _value("mtbf_hours")),
    Column(
        "95 %, h", lambda row: f"{hours(row['mtbf_low'])} to {hours(row['mtbf_high'])}" if row["mtbf_hours"] else NONE,
        _value("mtbf_low"),
    ),
    Column("source", _text("source"), style="source"),
)  # fmt: skip

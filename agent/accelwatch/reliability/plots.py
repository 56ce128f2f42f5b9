"""The report's pictures, as SVG. Only these functions import matplotlib."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelwatch.reliability import colours
from accelwatch.reliability.outcomes import ANY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0  # inches; a row of a chart is so high:
ROW = 0.24
# Text stays text; Verdana is as wide as matplotlib's own font, with which it measures.
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "accelwatch", "font.size": 9.5, "text.parse_math": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": True,
    "grid.color": "#DDDDDD", "grid.linewidth": 0.7,
}  # fmt: skip
# Models of one vendor: filled, hollow, half filled.
FILLS = ("full", "none", "left", "top")
DASHES = ("-", "--", ":", "-.")
# With fewer at risk a curve says little, and falls to 0 by the last device.
FEW_AT_RISK = 10

Row = Mapping[str, Any]


def groups_of(rows: Sequence[Row]) -> dict[str, tuple[str, int]]:
    """Group -> its vendor, and its number among that vendor's."""
    found: dict[str, tuple[str, int]] = {}
    for row in sorted(rows, key=lambda row: (row["vendor"], row["group"])):
        if row["group"] not in found:
            found[row["group"]] = row["vendor"], sum(vendor == row["vendor"] for vendor, _ in found.values())
    return found


def rates(rows: Sequence[Row], label: str, of: Sequence[Row]) -> str | None:
    """Events per 1,000 device-hours by what `label` names, a mark for each group. Bounds are arrows from 0."""
    shown = [row for row in rows if row["rate_per_device_hour"] is not None]
    names = list(dict.fromkeys(row[label] for row in shown if row["count"]))
    if not names:
        return None
    groups = groups_of(of)
    figure, axes = _chart(max(1.6, ROW * len(names) * (len(groups) + 0.9) + 1.2))
    places = list(groups)
    lowest = min(1000 * row["rate_low"] for row in shown if row["count"] and row[label] in names)
    for row in shown:
        if row[label] in names:
            at = names.index(row[label]) + (places.index(row["group"]) + 0.5) / len(groups) * 0.8 - 0.4
            _mark(axes, row, at, groups[row["group"]], lowest)
    _log(axes)
    axes.set_yticks(range(len(names)), [_clean(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    for line in range(1, len(names)):
        axes.axhline(line - 0.5, color="#CCCCCC", linewidth=0.7)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("per 1,000 powered device-hours, with 95 % limits (log); an arrow: no event, below this bound")
    _legend(axes, groups)
    return _svg(figure)


def _mark(axes: Axes, row: Row, at: float, group: tuple[str, int], lowest: float) -> None:
    vendor, number = group
    low, high = (1000 * row[key] for key in ("rate_low", "rate_high"))
    colour = colours.of(vendor)
    if not row["count"]:
        far = lowest * 0.6
        axes.plot([far, high], [at, at], color=colour, linewidth=1.2, linestyle="--")
        axes.plot([far], [at], "<", color=colour, markersize=5)
        axes.plot([high], [at], "|", color=colour, markersize=8)
        return
    axes.plot([low, high], [at, at], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot([1000 * row["rate_per_device_hour"]], [at], linestyle="", **_look(vendor, number))


def ratios(rows: Sequence[Row]) -> str | None:
    """Of pairs, with their limits; the line is no difference."""
    shown = [row for row in rows if row["ratio"]]
    if not shown:
        return None
    figure, axes = _chart(ROW * 1.6 * len(shown) + 1.3)
    for at, row in enumerate(shown):
        high = row["high"] or row["ratio"] * 10
        limits = row.get("bootstrap")
        if limits:
            end = limits[1] or high
            axes.plot([limits[0] or row["low"], end], [at + 0.22] * 2, color="#999999", linewidth=1.2, linestyle="--")
        different = row["verdict"] == "different"
        axes.plot([row["low"], high], [at, at], color="#333333", linewidth=2)
        face = "#333333" if different else "white"
        axes.plot([row["ratio"]], [at], "D", color="#333333", markerfacecolor=face, markersize=7)
    axes.axvline(1, color="#000000", linewidth=1)
    _log(axes)
    axes.set_yticks(range(len(shown)), [_clean(f"{row['a']} : {row['b']}") for row in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(
        "ratio of rates (log), with 95 % limits; filled: more than chance; dashed: limits of resampled nodes"
    )
    return _svg(figure)


def availability(rows: Sequence[Row]) -> str | None:
    """Percent of watched device-hours, with limits over nodes."""
    if not rows:
        return None
    groups = groups_of(rows)
    figure, axes = _chart(ROW * 1.5 * len(rows) + 1.1)
    for at, row in enumerate(rows):
        vendor, number = groups[row["group"]]
        if row["low"] is not None:
            axes.plot([100 * row["low"], 100 * row["high"]], [at, at], color=colours.of(vendor), linewidth=2)
        axes.plot([100 * row["availability"]], [at], linestyle="", **_look(vendor, number))
    axes.set_yticks(range(len(rows)), [_clean(row["group"]) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel("percent of the watched device-hours in which devices answered; limits over nodes")
    return _svg(figure)


def survival(rows: Sequence[Row]) -> str | None:
    """By age, with limits. Where few devices are at risk the curve is thin."""
    if not any(row["steps"] for row in rows):
        return None
    groups = groups_of(rows)
    figure, axes = _chart(3.4)
    for row in rows:
        vendor, number = groups[row["group"]]
        look: dict[str, Any] = {"color": colours.of(vendor), "linestyle": DASHES[number % len(DASHES)]}
        steps = row["steps"]
        days = [0.0, *(step["age_hours"] / 24 for step in steps), row["oldest_hours"] / 24]
        values = [1.0, *(step["survival"] for step in steps)]
        axes.step(days, [*values, values[-1]], where="post", linewidth=0.7, label=_clean(row["group"]), **look)
        # With delayed entry few are at risk at the youngest ages, too.
        for at, step in enumerate(steps, 1):
            if step["at_risk"] >= FEW_AT_RISK:
                span = days[at], days[at + 1]
                axes.plot(span, [step["survival"]] * 2, linewidth=2.4, solid_capstyle="butt", **look)
                axes.fill_between(span, step["low"], step["high"], color=colours.of(vendor), alpha=0.15, linewidth=0)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"age in days since first seen; bands: 95 % limits; thin: fewer than {FEW_AT_RISK} devices at risk")
    axes.set_ylabel("share not yet failed")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, frameon=False)
    return _svg(figure)


def periods(rows: Sequence[Row]) -> str | None:
    """Rates of parts of the window, one after the other."""
    shown = [row for row in rows if len(row.get("by_period", ())) > 1]
    if not shown:
        return None
    groups = groups_of(rows)
    figure, axes = _chart(2.8)
    names = list(dict.fromkeys(part["period"] for row in shown for part in row["by_period"]))
    for row in shown:
        vendor, number = groups[row["group"]]
        parts = [part for part in row["by_period"] if part["device_hours"] > 0]
        beside = 0.07 * (list(groups).index(row["group"]) - len(groups) / 2)
        at = [names.index(part["period"]) + beside for part in parts]
        rate = [1000 * part["count"] / part["device_hours"] for part in parts]
        low, high = ([1000 * part[key] for part in parts] for key in ("rate_low", "rate_high"))
        axes.vlines(at, low, high, color=colours.of(vendor), linewidth=1.4)
        axes.plot(at, rate, linestyle=DASHES[number % len(DASHES)], linewidth=0.8, **_look(vendor, number))
    axes.set_xticks(range(len(names)), [_clean(name) for name in names])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("from this day of the window on")
    axes.set_ylabel("per 1,000 device-hours")
    _legend(axes, groups)
    return _svg(figure)


def causes(rows: Sequence[Row]) -> str | None:
    """Interruptions of runs, by cause."""
    return rates([row for row in rows if row["cause"] != ANY], "cause", rows)


def _log(axes: Axes) -> None:
    """Numbers as they are said: 0.02, not 2 x 10^-2."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 500 * low else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _look(vendor: str, number: int) -> dict[str, Any]:
    fill = FILLS[number % len(FILLS)]
    hollow = fill == "none"
    return {
        "marker": colours.marker(vendor), "color": colours.of(vendor), "fillstyle": "full" if hollow else fill,
        "markerfacecolor": "white" if hollow else colours.of(vendor), "markerfacecoloralt": "white", "markersize": 6.5,
        "markeredgecolor": colours.of(vendor) if hollow else "#222222", "markeredgewidth": 2.0 if hollow else 0.8,
    }  # fmt: skip


def _legend(axes: Axes, groups: Mapping[str, tuple[str, int]]) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], linestyle="", **_look(*groups[group])) for group in groups]
    axes.legend(
        marks, [_clean(group) for group in groups], loc="lower left", bbox_to_anchor=(0, 1), ncols=6, frameon=False,
        handletextpad=0.1, columnspacing=1.2,
    )  # fmt: skip


def _chart(height: float) -> tuple[Figure, Axes]:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(STYLE)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # A letter that matplotlib's font lacks is in the browser's.
        warnings.simplefilter("ignore")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


def _clean(text: str) -> str:
    """What XML cannot hold is no letter of a name."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:60]

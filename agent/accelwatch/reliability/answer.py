"""The report in sentences: whose hardware ends runs how often, and whether the difference is more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accelwatch.reliability.comparisons import CHANCE, DIFFERENT
from accelwatch.reliability.dispersion import DISPERSED

NAMES = {"nvidia": "NVIDIA", "ascend": "Ascend"}
# So many pairs are put into words where vendors are not put together; all are in the tables.
PAIRS = 6
HARDWARE = "hardware"


def sentences(document: Mapping[str, Any]) -> list[str]:
    """In the order in which they are asked."""
    vendors = document["vendors"]
    found = [
        f"{name(one['group'])}: {one['count']:,} hardware faults that end runs in {one['device_hours']:,.0f} powered "
        f"device-hours ({one['model']}), {between(one)}."
        for one in vendors["sums"]
    ]
    pairs = headline(document)
    found += [comparison(one) for one in pairs[:PAIRS]]
    if not document["primary"]:
        found.append("No two groups here list hardware faults that end runs over one exposure: nothing to compare.")
    elif not pairs:
        found.append(
            "Only groups of different studies are here, which count differently: their ratios are in the tables."
        )
    found += [_runs(one) for one in document["interruptions"] if one["cause"] == HARDWARE]
    return found


def headline(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pairs that the question is about: vendors; else groups of two vendors, else of one study.

    Studies of one vendor differ by what they called an event before anything else.
    """
    primary = document["primary"]
    return (
        document["vendors"]["ratios"]
        or [one for one in primary if one["vendor_a"] != one["vendor_b"]]
        or [one for one in primary if document["window"] or one["a"].split()[0] == one["b"].split()[0]]
    )


def name(group: str) -> str:
    """As its vendor writes itself."""
    return NAMES.get(group, group)


def between(one: Mapping[str, Any]) -> str:
    """The mean time between events of a device, with its limits; a bound where there was none."""
    limits = f"{one['confidence']:.0%}"
    if one["mtbf_hours"] is None:
        return f"so that there are more than {hours(one['mtbf_low'])} h between two of a device ({limits})"
    return f"one per {hours(one['mtbf_hours'])} h ({limits}: {hours(one['mtbf_low'])} to {hours(one['mtbf_high'])})"


def comparison(one: Mapping[str, Any]) -> str:
    """What may be said of a pair, and what not."""
    a, b = name(one["a"]), name(one["b"])
    if one["ratio"]:
        found = dict(one)
        if one["ratio"] < 1:  # the higher one first
            a, b = b, a
            found |= {"ratio": 1 / one["ratio"], "low": 1 / one["high"], "high": 1 / one["low"] if one["low"] else None}
        what = f"{a} has {found['ratio']:.2f} times the rate of {b} ({one['confidence']:.0%}: {limits(found)})"
    else:
        what = f"{a} had {one['count_a']:,} of them, {b} {one['count_b']:,}"
    if one["verdict"] == DIFFERENT:
        return f"{what}. This is more than chance (p {p(one['p_value'])})."
    seen = one.get("smallest_ratio_seen")
    power = "" if seen is None else (
        f" With {one['events']:,} events in all, a true ratio of {seen:.1f} or more would be seen four times of five."
    )  # fmt: skip
    why = "" if one["verdict"] == CHANCE else f" ({one['verdict'].removeprefix('not distinguishable: ')})"
    return f"{what}. This is no difference that can be told from chance{why}.{power}"


def limits(one: Mapping[str, Any]) -> str:
    """Of a ratio."""
    return f"{one['low']:.2f} to {'no bound' if one['high'] is None else format(one['high'], '.2f')}"


def p(value: float) -> str:
    """Two digits; a very small one as a bound."""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def hours(value: float | None) -> str:
    """A number of hours as a person writes it."""
    if value is None:
        return "no bound"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _runs(one: Mapping[str, Any]) -> str:
    per = 1000 * one["rate_per_device_hour"]
    low, high = 1000 * one["rate_low"], 1000 * one["rate_high"]
    return (
        f"Runs on {one['group']} that hardware ended: {one['count']:,}, or {per:.2g} per 1,000 device-hours "
        f"({one['confidence']:.0%}: {low:.2g} to {high:.2g}), with {hours(one['lost_device_hours'])} device-hours lost."
    )


def caveats(document: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the tables has to know of how they are made."""
    dispersed = [one for one in document["rates"] if one.get("dispersion", 0) > DISPERSED]
    if dispersed:
        worst = max(dispersed, key=lambda one: one["top_device_share"] * one["count"])
        yield (
            f"In {len(dispersed)} of the rates a few devices give most of the events (dispersion above {DISPERSED}): "
            "the exact interval is too narrow there, and the one from resampled nodes stands beside it. Nothing is "
            f"called different unless that one agrees. Most of all {worst['class']} of {worst['group']}: "
            f"{worst['top_device']} gave {worst['top_device_share']:.0%} of {worst['count']:,}."
        )
    few = _alike(document["ratios"])
    if few:
        yield (
            f"{few} of {len(document['ratios'])} comparisons class by class are not distinguishable from chance. That "
            "is not to say that the rates are equal: the interval says how far apart they may be."
        )


def _alike(ratios: Sequence[Mapping[str, Any]]) -> int:
    return sum(one["verdict"] != DIFFERENT for one in ratios)

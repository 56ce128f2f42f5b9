"""The report as one document: rates with exact intervals, ratios with the p that agrees, and what is not known.

The keys of `rates` and `ratios` are a contract (design.md); keys beside them are added ones.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import msgspec

from accelwatch.reliability import dispersion, multiple, ratios
from accelwatch.reliability.cells import Cell, Inputs
from accelwatch.reliability.classes import known, primary
from accelwatch.reliability.intervals import rate

# Below so many events on either side nothing is called different (reference/reliability.md, 2.7).
LEAST_EVENTS = 5
# From here on the Poisson interval is too narrow, and the nodes are resampled beside it (2.5).
OVER_DISPERSED = 1.5
TOO_FEW = "not distinguishable: fewer than 5 events on a side"


def document(inputs: Inputs) -> dict[str, Any]:
    """Raises `ValueError` for counts and exposures that cannot be such (`intervals.check`)."""
    rated = [cell for cell in inputs.cells if cell.observable or cell.count]
    return {
        "schema": 1,
        "title": inputs.title,
        "produced": inputs.produced,
        "origin": inputs.origin,
        "rates": [_rate(cell) for cell in inputs.cells],
        "ratios": _ratios(rated),
        "primary": _primary(rated),
        "interruptions": [],
        "availability": [],
        "published": [
            {
                "group": p.group, "vendor": p.vendor, "model": p.model, "class": p.class_, "standing": p.standing.value,
                "count": p.count, "device_hours": p.hours, "source": p.source,
            }
            for p in inputs.published
        ],
        "notes": list(inputs.notes),
    }  # fmt: skip


def _rate(cell: Cell) -> dict[str, Any]:
    found = rate(cell.count, cell.hours, cell.confidence) if cell.observable or cell.count else None
    shown: dict[str, Any] = {
        "group": cell.group,
        "vendor": cell.vendor,
        "model": cell.model,
        "class": cell.class_,
        "count": cell.count,
        "device_hours": cell.hours,
        "rate_per_device_hour": found and found.rate,
        "rate_low": found and found.low,
        "rate_high": found and found.high,
        "mtbf_hours": found and found.mtbf,
        "mtbf_low": found and found.mtbf_low,
        "mtbf_high": found and found.mtbf_high,
        "confidence": cell.confidence,
        "observable": cell.observable,
        "rate_high_one_sided": found and found.high_one_sided,
    }
    counts, hours = [unit.count for unit in cell.by_device], [unit.hours for unit in cell.by_device]
    spread = dispersion.dispersion(counts, hours)
    if spread is not None:
        shown["dispersion"] = spread.ratio
        shown["top_device_share"] = dispersion.top_share(counts)
        if spread.ratio > OVER_DISPERSED and cell.by_node:
            limits = dispersion.rate_bootstrap(
                [unit.count for unit in cell.by_node], [unit.hours for unit in cell.by_node], cell.confidence
            )
            shown["bootstrap"] = limits
    return shown


def _ratios(cells: list[Cell]) -> list[dict[str, Any]]:
    """Every pair of groups that share a class; Holm over the taxonomy's classes of a pair."""
    by_class: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_class[cell.class_].append(cell)
    found: list[dict[str, Any]] = []
    for class_, of_class in by_class.items():
        pairs = itertools.combinations(sorted(of_class, key=lambda cell: cell.group), 2)
        found += [_ratio(class_, a, b) for a, b in pairs if a.group != b.group]
    families: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for one in found:
        if known(one["class"]) is not None:
            families[one["a"], one["b"]].append(one)
        else:
            one["p_value_holm"] = None  # a sum or a stranger: no member of the family that its parts are in
    for family in families.values():
        for one, adjusted in zip(family, multiple.holm([one["p_value"] for one in family]), strict=True):
            one["p_value_holm"] = adjusted
    for one in found:
        one["verdict"] = _verdict(one, one["p_value"] if one["p_value_holm"] is None else one["p_value_holm"])
    return sorted(found, key=lambda one: (one["a"], one["b"]))


def _ratio(class_: str, a: Cell, b: Cell) -> dict[str, Any]:
    confidence = max(a.confidence, b.confidence)
    found = ratios.ratio(a.count, a.hours, b.count, b.hours, confidence)
    return {
        "class": class_,
        "a": a.group,
        "b": b.group,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
        "confidence": confidence,
        "count_a": a.count,
        "count_b": b.count,
        "p_value_by_likelihood": ratios.p_by_likelihood(a.count, a.hours, b.count, b.hours),
    }


def _verdict(one: dict[str, Any], p_value: float) -> str:
    excludes = one["low"] > 1 or (one["high"] is not None and one["high"] < 1)
    if min(one["count_a"], one["count_b"]) < LEAST_EVENTS:
        return f"{TOO_FEW}; the interval leaves out 1: look how each side reports this class" if excludes else TOO_FEW
    return "different" if p_value < 1 - one["confidence"] else "not distinguishable from chance"


def _primary(cells: list[Cell]) -> list[dict[str, Any]]:
    """The one comparison chosen beforehand: run-ending hardware faults that both groups list, over one exposure.

    A class that a group does not list is unknown there, not 0, so that it is left out on both sides.
    """
    groups: dict[str, dict[str, Cell]] = defaultdict(dict)
    mixed = set()
    for cell in cells:
        if cell.class_ in groups[cell.group]:
            mixed.add(cell.group)
        groups[cell.group][cell.class_] = cell
    found = []
    for a, b in itertools.combinations(sorted(set(groups) - mixed), 2):
        classes = [name for name in primary() if name in groups[a] and name in groups[b]]
        sides = [[groups[side][name] for name in classes if groups[side][name].observable] for side in (a, b)]
        if not classes or any(len(side) != len(classes) or len({c.hours for c in side}) != 1 for side in sides):
            continue
        sums = [msgspec.structs.replace(side[0], count=sum(cell.count for cell in side)) for side in sides]
        one = _ratio("run_ending_hardware", sums[0], sums[1])
        share = sums[0].hours / (sums[0].hours + sums[1].hours)
        total = sums[0].count + sums[1].count
        one |= {
            "classes": classes,
            "events": total,
            "events_needed_for_2": ratios.events_needed(2.0, share, one["confidence"]),
            "smallest_ratio_seen": ratios.smallest_seen(total, share, one["confidence"]),
        }
        one["verdict"] = _verdict(one, one["p_value"])
        found.append(one)
    return found

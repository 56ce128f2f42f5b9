"""Pairs of groups: ratios of rates, the comparison chosen beforehand, and when a difference may be called one."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from accelwatch.reliability import multiple, ratios
from accelwatch.reliability.cells import Cell, Unit
from accelwatch.reliability.classes import known, primary
from accelwatch.reliability.dispersion import DISPERSED, dispersion, ratio_bootstrap
from accelwatch.reliability.tally import sums

# Below so many events on either side nothing is called different (reference/reliability.md, 2.7).
LEAST_EVENTS = 5
DIFFERENT = "different"
TOO_FEW = "not distinguishable: fewer than 5 events on a side"
BY_A_FEW = "not distinguishable: a few devices give most of the events, and resampled nodes hold equal rates"
CHANCE = "not distinguishable from chance"
PRIMARY = "run_ending_hardware"


def class_by_class(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Every pair of groups that share a class, the one first in the alphabet over the other."""
    by_class: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_class[cell.class_].append(cell)
    found: list[dict[str, Any]] = []
    for class_, of_class in by_class.items():
        pairs = itertools.combinations(sorted(of_class, key=lambda cell: cell.group), 2)
        found += [ratio(class_, a, b) for a, b in pairs if a.group != b.group]
    judge(found)
    return sorted(found, key=lambda one: (one["a"], one["b"]))


def judge(found: Sequence[dict[str, Any]]) -> None:
    """Gives each its verdict, after Holm over what a pair of groups is compared by.

    Sums and strangers are no members of the family that their parts are in; neither is what had no event on either
    side, which could not have been called different (Tarone 1990).
    """
    families: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for one in found:
        one["p_value_holm"] = None
        if one["count_a"] + one["count_b"] and (known(one["class"]) is not None or "cause" in one):
            families[one["a"], one["b"]].append(one)
    for family in families.values():
        for one, adjusted in zip(family, multiple.holm([one["p_value"] for one in family]), strict=True):
            one["p_value_holm"] = adjusted
    for one in found:
        one["verdict"] = verdict(one, one["p_value"] if one["p_value_holm"] is None else one["p_value_holm"])


def verdict(one: dict[str, Any], p_value: float) -> str:
    """In words; `different` alone is one."""
    excludes = one["low"] > 1 or (one["high"] is not None and one["high"] < 1)
    if min(one["count_a"], one["count_b"]) < LEAST_EVENTS:
        return f"{TOO_FEW}; the interval leaves out 1: look how each side reports this class" if excludes else TOO_FEW
    if p_value >= 1 - one["confidence"]:
        return CHANCE
    if one["dispersed"]:
        low, high = one["bootstrap"] or (0.0, None)
        if low <= 1 and (high is None or high >= 1):
            return BY_A_FEW
    return DIFFERENT


def ratio(class_: str, a: Cell, b: Cell) -> dict[str, Any]:
    """Of their rates. Where devices differ on either side, nodes are resampled beside the exact interval."""
    confidence = max(a.confidence, b.confidence)
    found = ratios.ratio(a.count, a.hours, b.count, b.hours, confidence)
    dispersed = any(spread is not None and spread > DISPERSED for spread in (spread_of(a), spread_of(b)))
    limits = ratio_bootstrap(_units(a.by_node), _units(b.by_node), confidence) if dispersed else None
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
        "vendor_a": a.vendor,
        "vendor_b": b.vendor,
        "p_value_by_likelihood": ratios.p_by_likelihood(a.count, a.hours, b.count, b.hours),
        "dispersed": dispersed,
        "bootstrap": limits,
    }


def spread_of(cell: Cell) -> float | None:
    """Its dispersion over devices; `None` where their counts are not known, or there is no event."""
    found = dispersion(*_units(cell.by_device))
    return None if found is None else found.ratio


def chosen_beforehand(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The one comparison: run-ending hardware faults that both groups list, over one exposure.

    A class that a group does not list is unknown there, not 0, so that it is left out on both sides; one that a side
    cannot observe is left out, too.
    """
    groups: dict[str, dict[str, Cell]] = defaultdict(dict)
    mixed = set()
    for cell in cells:
        if cell.class_ in groups[cell.group]:
            mixed.add(cell.group)
        groups[cell.group][cell.class_] = cell
    found = []
    for a, b in itertools.combinations(sorted(set(groups) - mixed), 2):
        classes = _shared(groups[a].values(), groups[b].values())
        sides = [[groups[side][name] for name in classes] for side in (a, b)]
        if classes and all(len({cell.hours for cell in side}) == 1 for side in sides):
            found.append(_chosen(added(sides[0]), added(sides[1]), classes))
    return found


def by_vendor(cells: Sequence[Cell]) -> dict[str, Any]:
    """The same with all models of a vendor together, as one owner asks who counted all of them in the same way."""
    vendors: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        vendors[cell.vendor][cell.group].append(cell)
    classes = _shared(*(group for groups in vendors.values() for group in groups.values())) if vendors else []
    if not classes:
        return {"classes": [], "sums": [], "groups": [], "ratios": []}
    groups = {
        vendor: [added([cell for cell in group if cell.class_ in classes]) for group in of.values()]
        for vendor, of in sorted(vendors.items())
    }
    pooled = [_pooled(vendor, models) for vendor, models in groups.items()]
    return {
        "classes": classes,
        "sums": pooled,
        "groups": [group for models in groups.values() for group in models],
        "ratios": [_chosen(a, b, classes) for a, b in itertools.combinations(pooled, 2)],
    }


def added(side: Sequence[Cell]) -> Cell:
    """Several classes of one group as one; its exposure is theirs, once."""
    by_node = _merged([cell.by_node for cell in side])
    return msgspec.structs.replace(
        side[0],
        class_=PRIMARY,
        count=sum(cell.count for cell in side),
        by_node=by_node,
        # A class that befell hosts is known by node alone: then the sum is, too.
        by_device=_merged([cell.by_device for cell in side]) or by_node,
        by_period=_merged([cell.by_period for cell in side]),
    )


def _chosen(a: Cell, b: Cell, classes: Sequence[str]) -> dict[str, Any]:
    one = ratio(PRIMARY, a, b)
    # To the third digit: the search for it is long, and nobody plans by more.
    share = round(a.hours / (a.hours + b.hours), 3)
    total = a.count + b.count
    searched = 0 < share < 1
    one |= {
        "classes": classes,
        "events": total,
        "events_needed_for_2": ratios.events_needed(2.0, share, one["confidence"]) if searched else None,
        "smallest_ratio_seen": ratios.smallest_seen(total, share, one["confidence"]) if searched else None,
    }
    one["verdict"] = verdict(one, one["p_value"])
    return one


def _shared(*groups: Iterable[Cell]) -> list[str]:
    """The primary classes that all of them list and can see."""
    seen = [{cell.class_ for cell in group if cell.observable} for group in groups]
    return [name for name in primary() if all(name in of for of in seen)]


def _pooled(vendor: str, models: Sequence[Cell]) -> Cell:
    return msgspec.structs.replace(
        models[0],
        group=vendor,
        model=", ".join(sorted({cell.model for cell in models})),
        count=sum(cell.count for cell in models),
        hours=sum(cell.hours for cell in models),
        busy_hours=None,
        devices=sum(cell.devices or 0 for cell in models) or None,
        by_node=[_within(cell, unit) for cell in models for unit in cell.by_node],
        by_device=[_within(cell, unit) for cell in models for unit in cell.by_device],
    )


def _within(cell: Cell, unit: Unit) -> Unit:
    return msgspec.structs.replace(unit, name=f"{cell.cluster} {unit.name}".strip())


def _merged(of_classes: Sequence[Sequence[Unit]]) -> list[Unit]:
    """By name. Nothing where one class does not tell its units, or tells others than the rest."""
    counts: Counter[str] = Counter()
    hours, seen = sums(), Counter[str]()
    for units in of_classes:
        for unit in units:
            counts[unit.name] += unit.count
            hours[unit.name] = unit.hours
            seen[unit.name] += 1
    if any(times != len(of_classes) for times in seen.values()):
        return []
    return [Unit(name, counts[name], hours[name]) for name in seen]


def _units(units: Sequence[Unit]) -> tuple[list[int], list[float]]:
    return [unit.count for unit in units], [unit.hours for unit in units]

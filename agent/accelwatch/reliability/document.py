"""The report as one document: rates with exact intervals, ratios with the p that agrees, and what is not known.

The keys of `rates` and `ratios` are a contract (design.md); keys beside them are added ones.
"""

from __future__ import annotations

from typing import Any

from accelwatch.reliability import answer, comparisons, outcomes
from accelwatch.reliability.cells import Cell, Inputs, Published, Standing, Unit
from accelwatch.reliability.classes import known
from accelwatch.reliability.dispersion import DISPERSED, rate_bootstrap, top_share
from accelwatch.reliability.intervals import rate


def document(inputs: Inputs) -> dict[str, Any]:
    """Raises `ValueError` for counts and exposures that cannot be such (`intervals.check`)."""
    rated = [cell for cell in inputs.cells if cell.observable or cell.count]
    made: dict[str, Any] = {
        "schema": 1,
        "title": inputs.title,
        "produced": inputs.produced,
        "origin": inputs.origin,
        "window": None if inputs.window is None else {"start": inputs.window[0], "end": inputs.window[1]},
        "rates": [_rate(cell) for cell in inputs.cells],
        "ratios": comparisons.class_by_class(rated),
        "primary": comparisons.chosen_beforehand(rated),
        # Only what one system counted in one window may be put together.
        "vendors": _vendors(rated if inputs.window is not None else []),
        "interruptions": outcomes.interruptions(inputs),
        "interruption_ratios": outcomes.interruption_ratios(inputs),
        "availability": outcomes.available(inputs),
        "times": outcomes.times(inputs),
        "survival": outcomes.survived(inputs),
        "published": [_published(one) for one in inputs.published],
    }
    made["answer"] = answer.sentences(made)
    made["notes"] = [*inputs.notes, *answer.caveats(made)]
    return made


def _vendors(cells: list[Cell]) -> dict[str, Any]:
    found = comparisons.by_vendor(cells)
    return {**found, **{kind: [_rate(cell) for cell in found[kind]] for kind in ("sums", "groups")}}


def _published(one: Published) -> dict[str, Any]:
    found = rate(one.count, one.hours) if one.standing is Standing.COUNTED and one.count and one.hours else None
    return {
        "group": one.group, "vendor": one.vendor, "model": one.model, "class": one.class_,
        "standing": one.standing.value, "count": one.count, "device_hours": one.hours,
        "mtbf_hours": found and found.mtbf, "mtbf_low": found and found.mtbf_low,
        "mtbf_high": found and found.mtbf_high, "source": one.source,
    }  # fmt: skip


def _rate(cell: Cell) -> dict[str, Any]:
    found = rate(cell.count, cell.hours, cell.confidence) if cell.observable or cell.count else None
    class_ = known(cell.class_)
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
        "busy_device_hours": cell.busy_hours,
        "devices": cell.devices,
        "hardware": class_ and class_.hardware,
        "severity": class_ and class_.severity.value,
    }
    spread = comparisons.spread_of(cell)
    if spread is not None:
        worst = max(cell.by_device, key=lambda unit: unit.count)
        shown["dispersion"] = spread
        shown["top_device_share"] = top_share([unit.count for unit in cell.by_device])
        shown["top_device"] = worst.name
        shown["devices_affected"] = sum(unit.count > 0 for unit in cell.by_device)
        if spread > DISPERSED and cell.by_node:
            shown["bootstrap"] = rate_bootstrap(
                [unit.count for unit in cell.by_node], [unit.hours for unit in cell.by_node], cell.confidence
            )
    if cell.count and cell.by_period:
        shown["by_period"] = [_period(unit, cell.confidence) for unit in cell.by_period]
    return shown


def _period(unit: Unit, confidence: float) -> dict[str, Any]:
    found = rate(unit.count, unit.hours, confidence) if unit.hours > 0 else None
    return {
        "period": unit.name, "count": unit.count, "device_hours": unit.hours,
        "rate_low": found and found.low, "rate_high": found and found.high,
    }  # fmt: skip

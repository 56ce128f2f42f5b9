"""Where a report and the truth of its quarter differ: a line for each, none if all is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from accelwatch.reliability.cells import Inputs, Measure
from quarters.coverage import LEAST_EXPECTED, Share, least
from quarters.plan import HOUR, LEMON_CLASS, RUN_ENDING
from quarters.truth import Truth

# Times of a device's life are known by the hourly samples that it has.
HOURS_OFF = 1.0
# So near to the end of the window a device that went out may as well have gone with its node.
LAST_HOURS = 3


def of_rates(document: dict[str, Any], truth: Truth) -> Iterator[str]:
    """Counts exactly, exposure to the second; intervals as often as they say."""
    counts = Counter({(one["model"], one["class"]): one["count"] for one in document["rates"] if one["count"]})
    for key in {*counts, *truth.episodes}:
        if counts[key] != truth.episodes[key]:
            yield f"{key}: {counts[key]} episodes, {truth.episodes[key]} in truth"
    held = Share()
    for one in document["rates"]:
        if round(one["device_hours"] * HOUR) != truth.seconds[one["model"], "powered"]:
            yield f"{one['model']}: {one['device_hours']} h of exposure, {truth.hours(one['model'])} in truth"
        rate = truth.rates.get((one["model"], one["class"]))
        if rate is not None and rate * one["device_hours"] >= LEAST_EXPECTED:
            held.add(one["rate_low"] <= rate <= one["rate_high"])
    if held.value < least(0.95, held.of):
        yield f"only {held} of the exact intervals hold the true rate"
    unseen = {(one["model"], one["class"]) for one in document["rates"] if not one["observable"]}
    vendors = {one["model"]: one["vendor"] for one in document["rates"]}
    blind = {"nvidia": "silent_corruption", "ascend": "fabric_switch"}
    if unseen != {(model, blind[vendor]) for model, vendor in vendors.items()}:
        yield f"not observable: {sorted(unseen)}"


def of_inputs(inputs: Inputs, truth: Truth) -> Iterator[str]:
    """Down and planned time to the second, interruptions, repairs, times to detect."""
    for fleet in inputs.fleets:
        seconds = {
            "down_unplanned": round(sum(node.down for node in fleet.nodes) * HOUR),
            "planned": round(sum(node.planned for node in fleet.nodes) * HOUR),
        }
        planned = truth.seconds[fleet.model, "maintenance"] + truth.seconds[fleet.model, "down_planned"]
        if seconds != {"down_unplanned": truth.seconds[fleet.model, "down_unplanned"], "planned": planned}:
            yield f"{fleet.model}: {seconds}, in truth {truth.seconds}"
    counts = {(one.model, one.cause): one.count for one in inputs.interruptions}
    lost = {(one.model, one.cause): round((one.lost_device_hours or 0) * HOUR) for one in inputs.interruptions}
    if counts != dict(truth.interruptions) or lost != dict(truth.lost):
        yield f"interruptions {counts}, lost {lost}; in truth {truth.interruptions}, {truth.lost}"
    models = {life.node.model.name for life in truth.lives}
    for measure, true in ((Measure.REPAIR, truth.repairs), (Measure.DETECT, truth.detects)):
        found = {one.group: sorted(one.seconds) for one in inputs.durations if one.measure is measure}
        expected = {
            model: sorted(second for key, of in true.items() if key[0] == model for second in of) for model in models
        }
        if found != {model: of for model, of in expected.items() if of}:
            yield f"{measure}: {found}, in truth {expected}"


def of_lifetimes(inputs: Inputs, truth: Truth) -> Iterator[str]:
    """Each serial number once, from when to when, and whether it failed."""
    found = {one.serial: one for one in inputs.lifetimes}
    start, end = truth.window
    if set(found) != {life.serial for life in truth.lives} or len(found) != len(inputs.lifetimes):
        yield f"{len(inputs.lifetimes)} lifetimes, {len(truth.lives)} in truth"
        return
    for life in truth.lives:
        one = found[life.serial]
        entered, left = ((at - life.installed) / HOUR for at in (max(life.first, start), min(life.last, end)))
        if abs(one.entered - entered) > HOURS_OFF or abs(one.left - left) > HOURS_OFF:
            yield f"{life.serial}: from {one.entered} to {one.left} h, in truth from {entered} to {left}"
        if one.failed != life.failed and life.last < end - LAST_HOURS * HOUR:
            yield f"{life.serial}: failed {one.failed}, in truth {life.failed}"


def of_verdicts(document: dict[str, Any], *, times: float) -> Iterator[str]:
    """`times`: the true ratio of the vendors' run-ending hardware; all else is alike."""
    nvidia = {"H100", "H200"}
    for one in (*document["primary"], *document["ratios"]):
        between = (one["a"] in nvidia) != (one["b"] in nvidia)
        chosen = one["class"] == "run_ending_hardware"
        differs = times != 1 and between and (chosen or one["class"] in RUN_ENDING)
        if one["verdict"] == "different" and not differs:
            yield f"{one['class']}, {one['a']} and {one['b']}: called different"
        if chosen and differs and one["verdict"] != "different":
            yield f"{one['a']} and {one['b']}: {one['events']} events, a true ratio of {times}: {one['verdict']}"


def of_bad_devices(document: dict[str, Any], truth: Truth) -> Iterator[str]:
    """Named, shown with the bootstrap, and no difference between the vendors, whatever the exact interval says."""
    worst = max(truth.by_serial, key=lambda serial: truth.by_serial[serial][LEMON_CLASS])
    shown = [one for one in document["rates"] if one["class"] == LEMON_CLASS and one.get("bootstrap")]
    if not any(worst in (one["top_device"] or "") for one in shown):
        yield f"{worst} is not named as the top device of {LEMON_CLASS}: {shown}"
    of_class = [one for one in document["ratios"] if one["class"] == LEMON_CLASS]
    if not any(one["p_value"] < 0.001 and one["bootstrap"] and one["verdict"] != "different" for one in of_class):
        yield f"no ratio of {LEMON_CLASS} is held back by the bootstrap: {of_class}"

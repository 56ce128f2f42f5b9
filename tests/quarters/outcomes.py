"""What a report says beside its rates, against the truth: availability, survival, times, interruptions, what is apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from quarters.compared import LAST_HOURS
from quarters.fleet import Fleet
from quarters.lives import Life
from quarters.plan import HOUR, REPLACED
from quarters.truth import Truth

# A curve from ages to the hour, against one to the second: few devices change their order.
CURVE_OFF = 0.03
# Where fewer devices than these are watched at some age, as in a small fleet, the curve from there on says little.
LEAST_AT_RISK = 10
WATCHED = ("powered", "maintenance", "down_planned", "down_unplanned")


def of_outcomes(document: dict[str, Any], fleet: Fleet, truth: Truth) -> Iterator[str]:
    for one in document["availability"]:
        model = one["model"]
        installed = sum(truth.seconds[model, state] for state in WATCHED)
        down = truth.seconds[model, "down_unplanned"]
        found = round(one["installed_device_hours"] * HOUR), round(one["down_device_hours"] * HOUR)
        if found != (installed, down) or not math.isclose(one["availability"], 1 - down / installed):
            yield f"{model}: availability {one}, in truth {down} of {installed} s"
    for one in document["interruptions"]:
        causes = {cause: count for (model, cause), count in truth.interruptions.items() if model == one["model"]}
        if one["cause"] == "any" and one["classes"] != causes:
            yield f"{one['model']}: interruptions {one['classes']}, in truth {causes}"
    for measure, true in (("time_to_repair", truth.repairs), ("time_to_detect", truth.detects)):
        for one in document["times"]:
            if one["measure"] == measure:
                seconds = [second for key, of in true.items() if key[0] == one["group"] for second in of]
                mean = sum(seconds) / max(1, len(seconds))
                if one["count"] != len(seconds) or not math.isclose(one["mean_seconds"], mean):
                    yield f"{one['group']}, {measure}: {one}, in truth {len(seconds)} of {mean} s on average"
    yield from _survival(document, fleet, truth)
    yield from _apart(document, truth)


def _survival(document: dict[str, Any], fleet: Fleet, truth: Truth) -> Iterator[str]:
    start, end = truth.window
    held, judged = 0, 0
    for one in document["survival"]:
        lives = [life for life in truth.lives if life.node.model.name == one["group"]]
        failed = [life for life in lives if life.failed]
        late = sum(life.last >= end - LAST_HOURS * HOUR for life in failed)
        if one["devices"] != len(lives) or not len(failed) - late <= one["failed"] <= len(failed):
            yield f"{one['group']}: {one['failed']} of {one['devices']} failed, in truth {len(failed)} of {len(lives)}"
        if not one["steps"] or late:
            continue
        last, true = one["steps"][-1], _product(lives, start, end)
        steps = list(itertools.takewhile(lambda step: step["at_risk"] >= LEAST_AT_RISK, one["steps"]))
        if abs(last["survival"] - true) > CURVE_OFF:
            yield f"{one['group']}: survival {last}, in truth {true}"
        if not steps:
            continue
        model = lives[0].node.model
        hazard = sum(fleet.plan.rate(model, class_) * share for class_, share in REPLACED.items())
        judged += 1
        held += steps[-1]["low"] <= math.exp(-hazard * steps[-1]["age_hours"]) <= steps[-1]["high"]
    # An interval in four may miss, not two.
    if held < judged - 1:
        yield f"only {held} of {judged} survival curves hold the true one"


def _product(lives: list[Life], start: int, end: int) -> float:
    """Kaplan and Meier's, written down from the lives: one factor for each failure."""
    ages = [
        (max(life.first, start) - life.installed, min(life.last, end) - life.installed, life.failed) for life in lives
    ]
    survival = 1.0
    for _, left, failed in ages:
        if failed:
            at_risk = sum(1 for entered, until, _ in ages if (entered < left or entered == 0) and until >= left)
            survival *= 1 - 1 / at_risk
    return survival


def _apart(document: dict[str, Any], truth: Truth) -> Iterator[str]:
    notes = " ".join(document["notes"])
    drills = sum(truth.drills.values())
    if drills and f"{drills} drills are counted apart" not in notes:
        yield f"{drills} drills are not told: {notes}"
    for model in truth.installed:
        planned = sum(count for (of, _), count in truth.maintenance_episodes.items() if of == model)
        if planned and f"{model} {planned}" not in notes:
            yield f"{model}: {planned} episodes during maintenance are not told: {notes}"

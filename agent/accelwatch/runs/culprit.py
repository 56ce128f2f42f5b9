"""Which device of a stalled run is the odd one out, as far as one node can see.

The rule order of reference/reliability.md section 4.4, which alerts/rules/hangs.yml applies to the whole run. What
the evidence does not single out is `unlocated`: a wrong name costs more than none.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from accelwatch.runs.activity import Activity

# A cause counts from 10 min before the onset (4.4); it may be seen a little after it, being polled.
CAUSE_BEFORE_SECONDS, CAUSE_AFTER_SECONDS = 600.0, 30.0
# Clocks of nodes differ by seconds, and the order of a collective's ranks by less than a reading: nearer is a tie.
TIE_SECONDS = 5.0
TIE_READINGS = 2.0
# A minority: one device of three or more; the others must agree to four fifths.
MAJORITY_SHARE, LEAST_DEVICES = 0.8, 3


class Rule(enum.StrEnum):
    """By which evidence a device is named; in the order in which they are tried."""

    CAUSE = "cause"
    MINORITY = "minority"
    EARLIEST = "earliest"
    UNLOCATED = "unlocated"


class Culprit(msgspec.Struct, frozen=True):
    """`device`: a key; `None`: of the node as a whole (`CAUSE`), or not located."""

    rule: Rule
    device: str | None = None


def locate(
    activities: Mapping[str, Activity],
    last_progress: Mapping[str, float],
    onset: float,
    *,
    causes: Mapping[str | None, float],
    interval: float = 1.0,
) -> Culprit:
    """The odd one of a node's devices.

    `causes`: when the first cause or link drop of a device was seen (`None`: of the host); `interval`: between
    readings of a device. All times in steady seconds.
    """
    near = {key: at for key, at in causes.items() if onset - CAUSE_BEFORE_SECONDS <= at <= onset + CAUSE_AFTER_SECONDS}
    if near:
        first = min(near.values())
        struck = [key for key, at in near.items() if at <= first + TIE_SECONDS]
        return Culprit(Rule.CAUSE, struck[0]) if len(struck) == 1 else Culprit(Rule.UNLOCATED)
    odd = _minority(activities)
    if odd is not None:
        return Culprit(Rule.MINORITY, odd)
    ahead = _earliest({key: at for key, at in last_progress.items() if key in activities}, interval)
    return Culprit(Rule.EARLIEST, ahead) if ahead is not None else Culprit(Rule.UNLOCATED)


def _minority(activities: Mapping[str, Activity]) -> str | None:
    """The one device that is quiet while the others spin (it left the collective), or the other way round."""
    waits = (Activity.QUIET, Activity.SPIN)
    for few, many in (waits, waits[::-1]):
        odd = [key for key, activity in activities.items() if activity is few]
        others = sum(activity is many for activity in activities.values())
        rest = len(activities) - len(odd)
        if len(activities) >= LEAST_DEVICES and len(odd) == 1 and others >= MAJORITY_SHARE * rest:
            return odd[0]
    return None


def _earliest(last_progress: Mapping[str, float], interval: float) -> str | None:
    if len(last_progress) < 2:
        return None
    (first, at), (_, then), *_ = sorted(last_progress.items(), key=lambda item: item[1])
    return first if then - at > max(TIE_SECONDS, TIE_READINGS * interval) else None

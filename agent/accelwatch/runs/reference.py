"""A device's own working power: the level that waiting is told from working by."""

from __future__ import annotations

import math

import msgspec

# p90 over the last 30 minutes of work (reference/reliability.md 4.3). A decaying histogram stands for the window:
# with this time constant, what is 27 minutes old weighs a tenth, so a p90 forgets an old level as a window would.
MEMORY_SECONDS = 720.0
QUANTILE = 0.9
# Sooner a level is not known, only guessed from its first moments.
LEAST_SECONDS = 10.0
_AGE_EVERY_SECONDS = 30.0
_STEP = math.log(1.04)  # buckets of 4 %: a quarter of the distance between the thresholds at most
_FORGOTTEN_SECONDS = 0.05


class Reference(msgspec.Struct, frozen=True):
    """Watts by bucket. `value`: the p90, in watts; `None` before there is enough."""

    buckets: dict[int, float] = {}  # bucket: seconds
    fresh: float = 0.0  # seconds since the last aging
    value: float | None = None


def add(reference: Reference, watts: float, seconds: float) -> Reference:
    """`seconds` of work at `watts` (above 0). Time that is not added does not age it: waiting freezes it."""
    buckets = dict(reference.buckets)
    bucket = round(math.log(watts) / _STEP)
    buckets[bucket] = buckets.get(bucket, 0.0) + seconds
    fresh = reference.fresh + seconds
    if fresh >= _AGE_EVERY_SECONDS:
        factor = math.exp(-fresh / MEMORY_SECONDS)
        aged = {key: round(weight * factor, 2) for key, weight in buckets.items()}
        buckets = {key: weight for key, weight in aged.items() if weight >= _FORGOTTEN_SECONDS}
        fresh = 0.0
    return Reference(buckets, fresh, _quantile(buckets))


def _quantile(buckets: dict[int, float]) -> float | None:
    total = sum(buckets.values())
    if total < LEAST_SECONDS:
        return None
    above = 0.0
    for bucket in sorted(buckets, reverse=True):
        above += buckets[bucket]
        if above >= (1 - QUANTILE) * total:
            return math.exp(bucket * _STEP)
    return None

"""Exact intervals of rates and shares, and the recording rules' approximation (reference/reliability.md, 2.1)."""

from __future__ import annotations

import math

import msgspec
from scipy import stats

from accelwatch.reliability.cells import CONFIDENCE


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Events per hour of exposure; mean times between them are `None` where they are not bounded."""

    count: int
    hours: float
    confidence: float
    rate: float
    low: float
    high: float
    high_one_sided: float  # nothing is said of the other side: with no event the rule of three, 2.996 / hours at 95 %

    @property
    def mtbf(self) -> float | None:
        """Hours between events; `None` without an event: there is only the bound `mtbf_low`."""
        return self.hours / self.count if self.count else None

    @property
    def mtbf_low(self) -> float:
        """Hours."""
        return 1 / self.high

    @property
    def mtbf_high(self) -> float | None:
        """Hours; `None` without an event."""
        return 1 / self.low if self.low > 0 else None


def rate(count: int, hours: float, confidence: float = CONFIDENCE) -> Rate:
    """The exact interval of a Poisson rate (Garwood 1936). Raises `ValueError` for what cannot be counted."""
    check(count, hours, confidence)
    alpha = 1 - confidence
    low = float(stats.chi2.ppf(alpha / 2, 2 * count)) / 2 if count else 0.0
    high = float(stats.chi2.isf(alpha / 2, 2 * count + 2)) / 2
    one_sided = float(stats.chi2.isf(alpha, 2 * count + 2)) / 2
    return Rate(
        count=count,
        hours=hours,
        confidence=confidence,
        rate=count / hours,
        low=low / hours,
        high=high / hours,
        high_one_sided=one_sided / hours,
    )


# Byar's lower limit is 48 % too low at one event, 7 % at two, 2.5 % at three: there the exact values stand.
BYAR_LOW = (0.0, 0.0253, 0.2422, 0.6187)
BYAR_Z = 1.96


def byar(count: int, hours: float) -> tuple[float, float]:
    """Byar's approximation of the 95 % interval, as PromQL can compute it: within 0.8 % of `rate` from five events on.

    Up to three events the lower limit is a constant, at four it is 1.3 % low. The upper one is at most 0.6 % off.
    """
    check(count, hours, CONFIDENCE)
    if count < len(BYAR_LOW):
        low = BYAR_LOW[count]
    else:
        low = count * (1 - 1 / (9 * count) - BYAR_Z / (3 * math.sqrt(count))) ** 3
    above = count + 1
    high = above * (1 - 1 / (9 * above) + BYAR_Z / (3 * math.sqrt(above))) ** 3
    return low / hours, high / hours


def proportion(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """A share and its exact interval (Clopper and Pearson 1934). Raises `ValueError`."""
    check(successes, trials, confidence)
    if successes > trials:
        raise ValueError(f"{successes} of {trials}: expected at most all of them")
    low, high = clopper_pearson(successes, trials, confidence)
    return successes / trials, low, high


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """The limits alone."""
    alpha = 1 - confidence
    low = 0.0 if successes == 0 else float(stats.beta.ppf(alpha / 2, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(stats.beta.isf(alpha / 2, successes + 1, trials - successes))
    return low, high


def check(count: int, hours: float, confidence: float) -> None:
    """Raises `ValueError` unless these can be a count, its exposure and a confidence."""
    if count < 0 or count != int(count):
        raise ValueError(f"count {count}: expected a whole number, 0 or more")
    if not (math.isfinite(hours) and hours > 0):
        raise ValueError(f"exposure {hours}: expected more than 0")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: expected between 0 and 1, such as 0.95")

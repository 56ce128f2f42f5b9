"""The exact interval of the ratio of two rates, and what is needed to see one (reference/reliability.md, 2.2, 2.7)."""

from __future__ import annotations

import functools

import msgspec
from scipy import stats

from accelwatch.reliability.cells import CONFIDENCE
from accelwatch.reliability.intervals import check, clopper_pearson

POWER = 0.8
SEARCH_LIMIT = 10_000_000


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Rate of the first over that of the second; `None` where there is no bound.

    `p_value` is twice the smaller tail: below 1 - confidence exactly when the interval leaves out 1.
    """

    ratio: float | None
    low: float
    high: float | None
    p_value: float


def ratio(count1: int, hours1: float, count2: int, hours2: float, confidence: float = CONFIDENCE) -> Ratio:
    """Conditional on the sum of the counts the first is binomial (Przyborowski and Wilenski 1940).

    Limits are Clopper and Pearson's for that share, made odds. Without any event nothing is known: 0 to no bound, p 1.
    """
    check(count1, hours1, confidence)
    check(count2, hours2, confidence)
    total = count1 + count2
    if total == 0:
        return Ratio(ratio=None, low=0.0, high=None, p_value=1.0)
    low, high = clopper_pearson(count1, total, confidence)
    share = hours1 / (hours1 + hours2)
    smaller = min(float(stats.binom.cdf(count1, total, share)), float(stats.binom.sf(count1 - 1, total, share)))
    return Ratio(
        ratio=(count1 / hours1) / (count2 / hours2) if count2 else None,
        low=low / (1 - low) * hours2 / hours1 if low < 1 else 0.0,
        high=high / (1 - high) * hours2 / hours1 if count2 else None,
        p_value=min(1.0, 2 * smaller),
    )


def p_by_likelihood(count1: int, hours1: float, count2: int, hours2: float) -> float:
    """The two-sided p of `scipy.stats.binomtest`: all outcomes that are no likelier than this one.

    Published with many ratios, and given beside ours; it can be below 0.05 while the exact interval holds 1 (0 in
    8,000 h against 6 in 10,000 h: 0.037, where twice the tail is 0.059), so no verdict rests on it.
    """
    total = count1 + count2
    if total == 0:
        return 1.0
    return float(stats.binomtest(count1, total, hours1 / (hours1 + hours2)).pvalue)


@functools.cache
def events_needed(times: float, share: float = 0.5, confidence: float = CONFIDENCE, power: float = POWER) -> int:
    """Events in all, over both, from which a true ratio of `times` is seen with that power (exact binomial).

    `share`: the first one's part of the exposure. 72 for a ratio of 2 at equal exposure. Power is a saw-tooth: this is
    where it is first reached. Raises `ValueError` for a ratio of 1, which can never be seen.
    """
    if times <= 0 or times == 1:
        raise ValueError(f"a ratio of {times}: expected more than 0 and not 1")
    total = 1
    while _power(total, times, share, confidence) < power:
        total += 1 if total < 500 else total // 100
        if total > SEARCH_LIMIT:
            raise ValueError(f"a ratio of {times} needs more than {SEARCH_LIMIT} events")
    return total


def smallest_seen(total: int, share: float, confidence: float = CONFIDENCE, power: float = POWER) -> float | None:
    """The smallest true ratio above 1 that so many events show with that power; `None`: more than 1000."""
    low, high = 1.0, 1000.0
    if total == 0 or _power(total, high, share, confidence) < power:
        return None
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if _power(total, middle, share, confidence) >= power else (middle, high)
    return high


def _power(total: int, times: float, share: float, confidence: float) -> float:
    alpha = 1 - confidence
    below = int(stats.binom.ppf(alpha / 2, total, share)) - 1  # the largest count whose lower tail is under alpha / 2
    if below >= 0 and stats.binom.cdf(below + 1, total, share) < alpha / 2:
        below += 1
    above = int(stats.binom.isf(alpha / 2, total, share)) + 1
    true = times * share / (times * share + 1 - share)
    return float(stats.binom.cdf(below, total, true) + stats.binom.sf(above - 1, total, true))

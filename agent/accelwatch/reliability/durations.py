"""Times to detect and to repair: heavy-tailed, so the median and the 90th percentile stand beside the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy import stats

from accelwatch.reliability.cells import CONFIDENCE


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """In the unit of the times. Limits of the median are exact and `None` where there are too few times for any."""

    count: int
    median: float
    median_low: float | None
    median_high: float | None
    p90: float
    mean: float


def summary(times: Sequence[float], confidence: float = CONFIDENCE) -> Summary | None:
    """Percentiles are interpolated linearly; the median's limits are order statistics (exact). `None`: no time."""
    if not len(times):
        return None
    ordered = np.sort(np.asarray(times, dtype=float))
    if not np.isfinite(ordered).all() or ordered[0] < 0:
        raise ValueError("a time is negative or no number")
    count = len(ordered)
    # Rank r from either end: fewer than r of `count` fall on one side of the true median with chance cdf(r - 1).
    rank = int(stats.binom.ppf((1 - confidence) / 2, count, 0.5))
    while rank > 0 and stats.binom.cdf(rank - 1, count, 0.5) > (1 - confidence) / 2:
        rank -= 1
    return Summary(
        count=count,
        median=float(np.median(ordered)),
        median_low=float(ordered[rank - 1]) if rank else None,
        median_high=float(ordered[count - rank]) if rank else None,
        p90=float(np.quantile(ordered, 0.9)),
        mean=math.fsum(ordered) / count,
    )

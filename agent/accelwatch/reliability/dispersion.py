"""Whether a few devices give most of the events, and what the intervals are then (reference/reliability.md, 2.5)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from scipy import stats

from accelwatch.reliability.cells import CONFIDENCE

# Above it Poisson intervals are too narrow to stand alone (reference/reliability.md, 2.5).
DISPERSED = 1.5
SEED = 20261127
RESAMPLES = 4000
_CHUNK_CELLS = 4_000_000


class Dispersion(msgspec.Struct, frozen=True, kw_only=True):
    """Pearson's chi-square against one rate for all, per degree of freedom: about 1 where no unit stands out."""

    chi2: float
    df: int
    ratio: float
    p_value: float


def dispersion(counts: Sequence[int], hours: Sequence[float]) -> Dispersion | None:
    """`None` with fewer than two units under exposure, or without an event: there is nothing to compare."""
    k, t = _units(counts, hours)
    if len(k) < 2 or k.sum() == 0:
        return None
    expected = k.sum() * t / t.sum()
    chi2 = float(((k - expected) ** 2 / expected).sum())
    df = len(k) - 1
    return Dispersion(chi2=chi2, df=df, ratio=chi2 / df, p_value=float(stats.chi2.sf(chi2, df)))


def top_share(counts: Sequence[int]) -> float | None:
    """The part of the events that the worst unit gave; `None` without an event."""
    total = sum(counts)
    return max(counts) / total if total else None


def rate_bootstrap(
    counts: Sequence[int], hours: Sequence[float], confidence: float = CONFIDENCE, seed: int = SEED
) -> tuple[float, float] | None:
    """The rate's limits when whole nodes are drawn with replacement (percentiles); `None` with fewer than two nodes."""
    rates = _resampled(counts, hours, seed)
    return None if rates is None else _limits(rates, confidence)


def ratio_bootstrap(
    first: tuple[Sequence[int], Sequence[float]],
    second: tuple[Sequence[int], Sequence[float]],
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> tuple[float, float | None] | None:
    """The same for the ratio of two groups (counts, hours each); no upper limit where the second may have no event."""
    rates1, rates2 = _resampled(*first, seed), _resampled(*second, seed + 1)
    if rates1 is None or rates2 is None:
        return None
    ratios = np.divide(rates1, rates2, out=np.full_like(rates1, np.inf), where=rates2 > 0)
    alpha = 1 - confidence
    low, high = np.quantile(ratios, [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    return float(low), float(high) if np.isfinite(high) else None


def resampled_sums(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Sums of rows drawn with replacement. `values`: (units, columns); gives (resamples, columns)."""
    generator = np.random.default_rng(seed)
    units = len(values)
    at_once = max(1, _CHUNK_CELLS // units)
    parts = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        parts.append(generator.multinomial(units, np.full(units, 1 / units), size=size) @ values)
    return np.concatenate(parts)


def _resampled(counts: Sequence[int], hours: Sequence[float], seed: int) -> np.ndarray | None:
    k, t = _units(counts, hours)
    if len(k) < 2:
        return None
    sums = resampled_sums(np.column_stack([k, t]), seed)
    return np.asarray(sums[:, 0] / sums[:, 1])


def _limits(values: np.ndarray, confidence: float) -> tuple[float, float]:
    alpha = 1 - confidence
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def _units(counts: Sequence[int], hours: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    k, t = np.asarray(counts, dtype=float), np.asarray(hours, dtype=float)
    if k.shape != t.shape:
        raise ValueError(f"{len(k)} counts for {len(t)} exposures: expected one of each per unit")
    if (k < 0).any() or (t < 0).any() or ((t == 0) & (k > 0)).any():
        raise ValueError("a negative count or exposure, or an event without exposure")
    return k[t > 0], t[t > 0]

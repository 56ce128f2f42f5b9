"""Many comparisons at once: p-values that stand for all of them (Holm 1979; Benjamini and Hochberg 1995)."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down, in the order given: the chance of any false alarm among them stays below the level."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The false discovery rate, in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    adjusted = [0.0] * len(p_values)
    smallest = 1.0
    for above, index in enumerate(order):
        smallest = min(smallest, p_values[index] * len(order) / (len(order) - above))
        adjusted[index] = smallest
    return adjusted

"""Availability of a fleet; mean time to failure of a run of many nodes (reference/reliability.md, 1.4, 2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from accelwatch.reliability.cells import CONFIDENCE, NodeTime
from accelwatch.reliability.dispersion import SEED, resampled_sums


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the installed device-hours. No limits with fewer than two nodes."""

    availability: float  # 1 - down / installed: planned work is not in it
    low: float | None
    high: float | None
    planned: float


def availability(nodes: Sequence[NodeTime], confidence: float = CONFIDENCE, seed: int = SEED) -> Availability:
    """With limits by a bootstrap over nodes: hours of one node hang together. Raises `ValueError` without exposure."""
    table = np.array([[node.installed, node.down, node.planned] for node in nodes], dtype=float)
    if not len(table) or table[:, 0].sum() <= 0:
        raise ValueError("availability: no installed device-hours, expected more than 0")
    if (table < 0).any() or (table[:, 1] + table[:, 2] > table[:, 0] * (1 + 1e-9)).any():
        raise ValueError("availability: a node has more down and planned hours than installed ones")
    installed, down, planned = table.sum(axis=0)
    low = high = None
    if len(table) > 1:
        sums = resampled_sums(table, seed)
        alpha = 1 - confidence
        limits = np.quantile(1 - sums[:, 1] / sums[:, 0], [alpha / 2, 1 - alpha / 2])
        low, high = float(limits[0]), float(limits[1])
    share = float(1 - down / installed)
    return Availability(availability=share, low=low, high=high, planned=float(planned / installed))


def system_mttf(nodes: float, failures_per_node_day: float) -> float:
    """Hours between failures of a run that needs all of `nodes`: 24 / (nodes x rate)."""
    if nodes <= 0 or failures_per_node_day <= 0:
        raise ValueError(f"{nodes} nodes at {failures_per_node_day} failures a day: expected more than 0 of both")
    return 24 / (nodes * failures_per_node_day)

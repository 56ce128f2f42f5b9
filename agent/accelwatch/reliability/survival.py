"""How long devices last, by serial number (Kaplan and Meier 1958; reference/reliability.md, 2.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from scipy import stats

from accelwatch.reliability.cells import CONFIDENCE


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is known from age `at` (hours) on, until the next step."""

    at: float
    at_risk: int
    failed: int
    survival: float
    error: float  # Greenwood's standard error; `nan` once nobody survives
    low: float
    high: float


def kaplan_meier(
    left: Sequence[float],
    failed: Sequence[bool],
    entered: Sequence[float] | None = None,
    confidence: float = CONFIDENCE,
) -> list[Step]:
    """Steps at each age at which a device failed. `entered`: ages at which each was first watched (delayed entry).

    At risk at an age are those that entered before it and had not left before it: one that went healthy at the age of
    a failure was still at risk. Limits by log(-log), which stay within 0 and 1. Raises `ValueError`.
    """
    starts = [-math.inf] * len(left) if entered is None else [e if e > 0 else -math.inf for e in entered]
    if not len(left) == len(failed) == len(starts):
        raise ValueError(f"{len(left)} ages, {len(failed)} ends, {len(starts)} entries: expected one each per device")
    if any(start >= end for start, end in zip(starts, left, strict=True)):
        raise ValueError("a device left at or before the age at which it entered")
    z = float(stats.norm.isf((1 - confidence) / 2))
    survival, greenwood = 1.0, 0.0
    steps: list[Step] = []
    for age in sorted({a for a, f in zip(left, failed, strict=True) if f}):
        at_risk = sum(1 for start, end in zip(starts, left, strict=True) if start < age <= end)
        failures = sum(1 for a, f in zip(left, failed, strict=True) if f and a == age)
        survival *= 1 - failures / at_risk
        greenwood = math.inf if failures == at_risk else greenwood + failures / (at_risk * (at_risk - failures))
        low, high = _limits(survival, greenwood, z)
        error = survival * math.sqrt(greenwood) if survival > 0 else math.nan
        steps.append(Step(at=age, at_risk=at_risk, failed=failures, survival=survival, error=error, low=low, high=high))
    return steps


def at(steps: Sequence[Step], age: float) -> Step | None:
    """What holds at an age, failures at that very age included; `None` before the first failure (survival 1)."""
    reached = [step for step in steps if step.at <= age]
    return reached[-1] if reached else None


def _limits(survival: float, greenwood: float, z: float) -> tuple[float, float]:
    if survival <= 0:
        return 0.0, 0.0
    spread = z * math.sqrt(greenwood) / abs(math.log(survival))
    return survival ** math.exp(spread), survival ** math.exp(-spread)

"""Three quarters that go the whole way: drawn, backfilled, asked of a real Prometheus, and reported."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelwatch.prometheus_api import Prometheus
from accelwatch.reliability import measured
from accelwatch.reliability.recorded import Window
from quarters import backfill, compared, fleet, outcomes, truth
from quarters.fleet import Fleet
from quarters.plan import DAY, INTERRUPTIONS, RATES, Plan
from quarters.truth import Truth

# Few devices, so that it takes seconds, with the events of many.
SMALL = Plan(
    seed=2,
    nodes=20,
    devices=2,
    rates={class_: 7 * rate for class_, rate in RATES.items()},
    interruptions={cause: 7 * rate for cause, rate in INTERRUPTIONS.items()},
)
QUARTERS: Mapping[str, Plan] = {
    "vendors alike": SMALL,
    # What was recorded before the window is not of it.
    "hardware of one vendor fails three times as often": replace(SMALL, seed=1, nvidia_times=3.0, lead_hours=30),
    "one bad device": replace(SMALL, seed=11, lemon_chance=1 / 80),
}


@dataclass(frozen=True)
class Backfilled:
    """`end`: of the quarter, unix seconds."""

    url: str
    end: int
    fleet: Fleet
    truth: Truth
    samples: int
    seconds: float  # that drawing and backfilling took


@contextlib.contextmanager
def backfilled(plan: Plan, directory: Path) -> Iterator[Backfilled]:
    """In a Prometheus that runs meanwhile. The quarter has just ended, at no whole hour: a report is of now."""
    began = time.monotonic()
    one, end = fleet.draw(plan), int(time.time()) - 1
    samples = backfill.fill(one, end, directory / "tsdb")
    seconds = time.monotonic() - began
    with backfill.served(directory / "tsdb", directory) as url:
        yield Backfilled(url, end, one, truth.of(one), samples, seconds)


def differences(quarter: Backfilled, document: dict[str, Any]) -> list[str]:
    """Between the truth and a report of this window, or what it was made from."""
    window = Window(quarter.end - quarter.fleet.plan.days * DAY, quarter.end)
    inputs = measured.read(Prometheus(quarter.url, seconds=100), window)
    return [
        *compared.of_rates(document, quarter.truth),
        *compared.of_inputs(inputs, quarter.truth),
        *compared.of_lifetimes(inputs, quarter.truth),
        *outcomes.of_outcomes(document, quarter.fleet, quarter.truth),
        *compared.of_verdicts(document, times=quarter.fleet.plan.nvidia_times),
        *(compared.of_bad_devices(document, quarter.truth) if quarter.fleet.plan.lemon_chance else ()),
    ]

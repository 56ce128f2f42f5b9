"""Interruptions by cause, availability, times and survival in the document."""

from __future__ import annotations

from typing import Any

import pytest

from accelwatch.reliability import outcomes, survival
from accelwatch.reliability.cells import Cell, Durations, Fleet, Inputs, Interruptions, Lifetime, Measure, NodeTime
from accelwatch.reliability.document import document


def made(**parts: Any) -> dict[str, Any]:
    return document(Inputs(title="t", produced="now", origin="test", window=("a", "b"), **parts))


def interruption(group: str, cause: str, count: int, vendor: str = "nvidia") -> Interruptions:
    return Interruptions(
        group=group, vendor=vendor, model=group, cause=cause, count=count, hours=10_000.0, lost_device_hours=2.0 * count
    )


def cell(group: str) -> Cell:
    return Cell(group=group, vendor="nvidia", model=group, class_="device_lost", count=0, hours=10_000.0)


def test_interruptions_stand_by_cause_and_0_is_said_where_runs_were_counted() -> None:
    """Classes of one cause together; without the counts of runs nothing is said of a group that has none."""
    parts = [
        interruption("H100", "device_lost", 6), interruption("H100", "power", 2), interruption("H100", "net_link_down", 3),
        interruption("H100", "software_job", 9), interruption("H100", "hang_no_error", 1),
    ]  # fmt: skip
    found = made(interruptions=parts, cells=[cell("H100"), cell("910C")], runs_counted=True)
    counts = {(one["group"], one["cause"]): one["count"] for one in found["interruptions"]}
    assert [counts["H100", cause] for cause in ("any", "hardware", "interconnect", "software", "unknown")] == [
        21, 8, 3, 9, 1,
    ]  # fmt: skip
    assert counts["910C", "any"] == 0
    (hardware,) = (one for one in found["interruptions"] if one["cause"] == "hardware" and one["count"])
    assert hardware["classes"] == {"device_lost": 6, "power": 2}
    assert (hardware["lost_device_hours"], hardware["rate_per_device_hour"]) == (16.0, 8e-4)
    assert hardware["rate_low"] == pytest.approx(3.45383e-4, rel=1e-5)
    assert hardware["rate_high"] == pytest.approx(1.576316e-3, rel=1e-5)
    unasked = made(interruptions=parts, cells=[cell("H100"), cell("910C")])
    assert {one["group"] for one in unasked["interruptions"]} == {"H100"}


def test_causes_are_compared_with_holm_and_their_sum_apart() -> None:
    found = made(
        interruptions=[
            interruption("A", "device_lost", 30), interruption("A", "software_job", 10),
            interruption("B", "device_lost", 10), interruption("B", "software_job", 12), interruption("B", "unknown", 5),
        ]
    )["interruption_ratios"]  # fmt: skip
    by_cause = {one["cause"]: one for one in found}
    assert by_cause["hardware"]["verdict"] == "different"
    assert by_cause["hardware"]["p_value_holm"] == pytest.approx(3 * by_cause["hardware"]["p_value"])
    assert by_cause["any"]["p_value_holm"] is None
    assert by_cause["unknown"]["verdict"].startswith("not distinguishable: fewer than 5")


def test_availability_has_limits_over_nodes() -> None:
    nodes = [
        NodeTime(node=f"n{i}", installed=100.0, down=10.0 * (i == 0), planned=2.0, unwatched=1.0) for i in range(4)
    ]
    (one,) = made(fleets=[Fleet(group="H100", vendor="nvidia", model="H100", nodes=nodes)])["availability"]
    assert (one["availability"], one["planned"], one["nodes"]) == (0.975, 0.02, 4)
    assert one["low"] <= 0.95
    assert one["high"] == 1.0
    assert (one["installed_device_hours"], one["down_device_hours"], one["unwatched_device_hours"]) == (
        400.0,
        10.0,
        4.0,
    )


def test_times_have_their_median_and_their_tail() -> None:
    times = Durations(group="H100", vendor="nvidia", measure=Measure.REPAIR, seconds=[60, 120, 180, 240, 36_000])
    (one,) = made(durations=[times, Durations(group="B", vendor="v", measure=Measure.DETECT, seconds=[])])["times"]
    assert (one["measure"], one["count"], one["median_seconds"], one["mean_seconds"]) == (
        "time_to_repair",
        5,
        180,
        7320,
    )
    assert one["p90_seconds"] == pytest.approx(21_696)
    assert one["median_low"] is None  # five times bound no median at 95 %


def test_survival_is_by_group_and_long_curves_keep_their_end() -> None:
    def life(number: int, *, failed: bool) -> Lifetime:
        return Lifetime(
            group="H100", vendor="nvidia", serial=str(number), entered=0.0, left=100.0 + number, failed=failed
        )

    lives = [life(number, failed=number % 2 == 0) for number in range(1000)]
    (one,) = made(lifetimes=lives)["survival"]
    whole = survival.kaplan_meier([of.left for of in lives], [of.failed for of in lives])
    assert (one["devices"], one["failed"]) == (1000, 500)
    assert len(one["steps"]) == outcomes.STEPS < len(whole)
    assert one["steps"][-1]["age_hours"] == whole[-1].at
    assert one["steps"][-1]["survival"] == whole[-1].survival

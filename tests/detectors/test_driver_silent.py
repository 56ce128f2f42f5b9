"""Drivers and tools that stop answering."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Tick
from accelwatch.detectors.driver_silent import (
    FAILED_SECONDS,
    MARGIN_SECONDS,
    MISMATCH_SECONDS,
    MISMATCH_WORDS,
    DriverSilent,
)
from accelwatch.sources.nvml_driver import DRIVER_GONE
from detectors.replaying import GPU, Fed, answered, device, silent

Make = Callable[..., Fed]
DEADLINE = 10.0


TOLD_AFTER = 2 * DEADLINE - MARGIN_SECONDS


@pytest.mark.parametrize(("source", "vendor"), [("nvml", "nvidia"), ("npu_smi", "ascend"), ("hccn_tool", "ascend")])
def test_a_driver_that_blocks_is_told_before_two_deadlines_are_over(fed: Make, source: str, vendor: str) -> None:
    """Counted from the beginning of the first call; the second call has not come back yet: time alone tells."""
    driver = fed(DriverSilent())
    driver.quiet(silent(source, "no answer within 10 s", timed_out=True, since=1010.0))
    began = driver.now - DEADLINE
    while driver.now + 1.25 < began + TOLD_AFTER:
        driver.quiet(Tick(), 1.25)
    (sign,) = driver.signs(Tick(), 1.25)
    assert driver.now - began < 2 * DEADLINE
    assert (sign.class_, sign.vendor, sign.device, sign.at) == ("driver_software", vendor, None, began)
    assert sign.lasting
    assert "no answer within 10 s" in sign.message
    driver.quiet(Tick(), 1.25)
    assert len(driver.signs(silent(source, since=1010.0))) == 1
    assert len(driver.gone(answered(source, device(GPU)))) == 1
    driver.quiet(answered(source, device(GPU)))
    driver.quiet(Tick(), 10 * DEADLINE)


def test_between_two_attempts_a_source_only_repeats_why_it_waits(fed: Make) -> None:
    driver = fed(DriverSilent())
    driver.quiet(silent("nvml", timed_out=True, since=1010.0, deadline=5.0))
    driver.quiet(silent("nvml", since=1010.0, deadline=5.0), 3.4)
    assert len(driver.signs(silent("nvml", since=1010.0, deadline=5.0), 0.1)) == 1


def test_a_library_that_blocks_as_a_whole_is_told_with_its_first_failure(fed: Make) -> None:
    """Its poll has made two attempts, and has waited for most of two deadlines."""
    driver = fed(DriverSilent())
    (sign,) = driver.signs(silent("nvml", timed_out=True, since=1010.0, deadline=5.0, waited=8.6))
    assert sign.at == driver.now - 8.6


def test_a_short_deadline_leaves_half_of_it_to_the_second_call(fed: Make) -> None:
    driver = fed(DriverSilent())
    driver.quiet(silent("nvml", timed_out=True, since=1010.0, deadline=1.0))
    driver.quiet(Tick(), 0.45)
    assert len(driver.signs(Tick(), 0.05)) == 1


def test_the_second_call_that_answers_in_time_is_no_fault(fed: Make) -> None:
    driver = fed(DriverSilent())
    driver.quiet(silent("npu_smi", timed_out=True, since=1010.0))
    driver.quiet(answered("npu_smi"), 8.0)
    driver.quiet(Tick(), 100.0)


def test_other_failures_wait_five_minutes_and_need_a_source_that_worked(fed: Make) -> None:
    driver = fed(DriverSilent())
    driver.quiet(silent("npu_smi", since=1010.0))
    driver.quiet(silent("npu_smi", since=1010.0), 10 * FAILED_SECONDS)  # it never worked here
    driver.quiet(answered("npu_smi"))
    since = driver.now + 10
    driver.quiet(silent("npu_smi", since=since))
    driver.quiet(silent("npu_smi", since=since), FAILED_SECONDS - 1)
    assert len(driver.signs(silent("npu_smi", since=since), 1)) == 1


def test_a_driver_exchanged_under_its_library_is_told_even_if_it_never_answered(fed: Make) -> None:
    driver = fed(DriverSilent())
    error = f"NVML: nvmlInit: {DRIVER_GONE[18]}"
    assert MISMATCH_WORDS in error
    driver.quiet(silent("nvml", error, since=1010.0))
    driver.quiet(silent("nvml", error, since=1010.0), MISMATCH_SECONDS - 1)
    assert len(driver.signs(silent("nvml", error, since=1010.0), 1)) == 1


@pytest.mark.parametrize("number", [9, 12])
def test_a_host_without_a_driver_is_not_sick(fed: Make, number: int) -> None:
    driver = fed(DriverSilent())
    for _ in range(20):
        driver.quiet(silent("nvml", DRIVER_GONE[number], since=1010.0), 600)


def test_what_an_operator_released_is_no_fault(fed: Make) -> None:
    driver = fed(DriverSilent())
    driver.quiet(answered("nvml"))
    for _ in range(10):
        driver.quiet(silent("nvml", released=True, since=1020.0), 600)
    since = driver.now + 10
    driver.quiet(silent("nvml", since=since))
    driver.quiet(silent("nvml", since=since), FAILED_SECONDS - 1)


def test_sources_of_the_host_are_not_drivers(fed: Make) -> None:
    driver = fed(DriverSilent())
    for source in ("rdma", "kernel_log", "processes", "hccl_log"):
        driver.quiet(answered(source))
        driver.quiet(silent(source, timed_out=True, since=driver.now), 10 * FAILED_SECONDS)


def test_a_slow_answer_now_and_then_is_no_fault(fed: Make) -> None:
    driver = fed(DriverSilent())
    for _ in range(50):
        driver.quiet(silent("npu_smi", timed_out=True, since=driver.now + 10))
        driver.quiet(answered("npu_smi"))

"""Drivers and tools that stop answering."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.driver_silent import (
    FAILED_SECONDS,
    MISMATCH_SECONDS,
    MISMATCH_WORDS,
    TIMED_OUT_SECONDS,
    DriverSilent,
)
from accelwatch.sources.nvml_driver import DRIVER_GONE
from detectors.replaying import GPU, Fed, answered, device, silent

Make = Callable[..., Fed]


@pytest.mark.parametrize(("source", "vendor"), [("nvml", "nvidia"), ("npu_smi", "ascend"), ("hccn_tool", "ascend")])
def test_a_driver_that_blocks_is_told_after_two_deadlines(fed: Make, source: str, vendor: str) -> None:
    driver = fed(DriverSilent())
    driver.quiet(silent(source, timed_out=True, since=1010.0))
    # Between two attempts the source only repeats why it waits.
    driver.quiet(silent(source, since=1010.0), TIMED_OUT_SECONDS[source] - 1)
    (sign,) = driver.signs(silent(source, "no answer within 5 s", timed_out=True, since=1010.0), 1)
    assert (sign.class_, sign.vendor, sign.device, sign.at) == ("driver_software", vendor, None, 1010.0)
    assert sign.lasting
    assert "no answer within 5 s" in sign.message
    assert len(driver.signs(silent(source, since=1010.0))) == 1
    assert len(driver.gone(answered(source, device(GPU)))) == 1
    driver.quiet(answered(source, device(GPU)))


def test_the_second_call_in_a_row_that_runs_into_its_deadline_tells(fed: Make) -> None:
    driver = fed(DriverSilent())
    driver.quiet(silent("npu_smi", timed_out=True, since=1010.0))
    assert len(driver.signs(silent("npu_smi", timed_out=True, since=1010.0), 6)) == 1
    driver.gone(answered("npu_smi"))
    driver.quiet(silent("npu_smi", timed_out=True, since=driver.now + 1))


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

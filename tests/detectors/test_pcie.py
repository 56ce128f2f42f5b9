"""The PCIe link's width and generation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Answered
from accelwatch.detectors.pcie import LOADED_POLLS, LOADED_POWER, LOADED_UTILIZATION, SLOW_POLLS, PcieLink
from accelwatch.readings.link import Pcie
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.severity import Severity
from detectors.replaying import GPU, Fed, answered, device

Make = Callable[..., Fed]
BUSY = Sensors(utilization_ratio=LOADED_UTILIZATION, power_watts=LOADED_POWER * 700, power_limit_watts=700.0)
IDLE = Sensors(utilization_ratio=LOADED_UTILIZATION - 0.01, power_watts=600.0, power_limit_watts=700.0)
SPIN = Sensors(utilization_ratio=1.0, power_watts=LOADED_POWER * 700 - 1, power_limit_watts=700.0)


def gpu(
    width: int | None = 16, generation: int | None = 5, sensors: Sensors | None = BUSY, width_max: int | None = 16
) -> Answered:
    pcie = Pcie(generation=generation, generation_max=5, width=width, width_max=width_max)
    return answered("nvml", device(GPU, pcie=pcie, sensors=sensors))


def test_lanes_that_are_lost_in_two_readings(fed: Make) -> None:
    link = fed(PcieLink())
    link.quiet(gpu())
    link.quiet(gpu(8), 1)
    link.quiet(gpu(8), SLOW_POLLS - 1)
    (sign,) = link.signs(gpu(8), 1)
    assert (sign.class_, sign.condition, sign.severity) == ("pcie_host_link", "pcie width", Severity.DEGRADING)
    assert sign.message == "the PCIe link runs on 8 of 16 lanes"
    link.quiet(gpu(None))
    link.quiet(gpu(0))
    link.quiet(answered("nvml", device(GPU)))
    assert [gone.condition for gone in link.gone(gpu())] == ["pcie width"]


def test_a_card_in_a_narrower_slot_is_at_its_maximum_there(fed: Make) -> None:
    link = fed(PcieLink())
    for _ in range(5):
        link.quiet(gpu(8, width_max=8), 60)


def test_a_link_that_is_being_trained_is_no_fault(fed: Make) -> None:
    link = fed(PcieLink())
    for _ in range(10):
        link.quiet(gpu(1), SLOW_POLLS - 1)
        link.quiet(gpu(), 1)


def test_a_lower_generation_counts_under_load(fed: Make) -> None:
    link = fed(PcieLink())
    link.quiet(gpu(generation=1))
    link.quiet(gpu(generation=1), LOADED_POLLS - 1)
    (sign,) = link.signs(gpu(generation=1), 1)
    assert (sign.condition, sign.severity) == ("pcie generation", Severity.DEGRADING)
    assert sign.message == "the PCIe link runs at generation 1 of 5 under load"
    link.quiet(gpu(generation=1, sensors=IDLE))  # no proof that it is well
    assert len(link.gone(gpu(generation=5, sensors=IDLE))) == 1


@pytest.mark.parametrize("sensors", [IDLE, SPIN, None, Sensors()])
def test_an_idle_gpu_lowers_its_generation(fed: Make, sensors: Sensors | None) -> None:
    link = fed(PcieLink())
    for _ in range(50):
        link.quiet(gpu(generation=1, sensors=sensors))


def test_load_that_comes_and_goes_is_not_load_on_end(fed: Make) -> None:
    link = fed(PcieLink())
    for _ in range(10):
        link.quiet(gpu(generation=1), 1)
        link.quiet(gpu(generation=1), LOADED_POLLS - 1)
        link.quiet(gpu(generation=1, sensors=IDLE), 1)

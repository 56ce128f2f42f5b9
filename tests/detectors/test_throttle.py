"""GPUs that are slowed down by heat, and by the power brake."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Answered, Detector
from accelwatch.detectors.power import UNNAMED_HELD_SECONDS, Power
from accelwatch.detectors.thermal import CALM_SECONDS, Thermal
from accelwatch.readings.sensors import Sensors, Throttle
from accelwatch.readings.severity import Severity
from detectors.replaying import GPU, Fed, answered, device

Make = Callable[..., Fed]


def gpu(*reasons: Throttle, told: bool = True) -> Answered:
    sensors = Sensors(throttle=reasons if told else None, temperature_celsius=95.0, power_watts=480.0)
    return answered("nvml", device(GPU, sensors=sensors))


@pytest.mark.parametrize(
    ("detector", "reason", "message"),
    [
        (Thermal(), Throttle.HW_THERMAL, "hardware thermal slowdown at 95 °C"),
        (Thermal(), Throttle.SW_THERMAL, "software thermal slowdown at 95 °C"),
        (Power(), Throttle.POWER_BRAKE, "the power brake of the host slows the GPU down at 480 W"),
    ],
)
def test_two_readings_on_end(fed: Make, detector: Detector, reason: Throttle, message: str) -> None:
    slow = fed(detector)
    slow.quiet(gpu(reason), 1)
    (sign,) = slow.signs(gpu(reason, Throttle.HW_SLOWDOWN), 1)
    assert (sign.class_, sign.severity, sign.message) == (detector.name, Severity.DEGRADING, message)
    assert sign.lasting
    slow.quiet(gpu(told=False), 60)
    slow.quiet(answered("nvml", device(GPU)), 60)
    slow.quiet(gpu(), 1)
    slow.quiet(gpu(), CALM_SECONDS - 1)
    assert [gone.condition for gone in slow.gone(gpu(), 1)] == [reason.value]
    slow.quiet(gpu(), 1)


@pytest.mark.parametrize("detector", [Thermal(), Power()])
def test_one_reading_alone_is_a_moment(fed: Make, detector: Detector) -> None:
    slow = fed(detector)
    for _ in range(20):
        slow.quiet(gpu(Throttle.HW_THERMAL, Throttle.POWER_BRAKE), 1)
        slow.quiet(gpu(), 1)


@pytest.mark.parametrize("detector", [Thermal(), Power()])
def test_a_reading_without_reasons_breaks_the_row(fed: Make, detector: Detector) -> None:
    slow = fed(detector)
    for _ in range(20):
        slow.quiet(gpu(Throttle.HW_THERMAL, Throttle.POWER_BRAKE), 1)
        slow.quiet(gpu(told=False), 1)


@pytest.mark.parametrize("detector", [Thermal(), Power()])
@pytest.mark.parametrize("reasons", [(), (Throttle.SW_POWER_CAP,), (Throttle.BOARD_LIMIT,)])
def test_a_busy_gpu_at_its_power_limit_is_well(fed: Make, detector: Detector, reasons: tuple[Throttle, ...]) -> None:
    slow = fed(detector)
    for _ in range(60):
        slow.quiet(gpu(*reasons), 1)


def test_a_slowdown_that_hovers_is_one_fault(fed: Make) -> None:
    slow = fed(Thermal())
    found = []
    for number in range(60):
        found += slow.feed(gpu(*[Throttle.SW_THERMAL] * (number % 5 != 4)), 1)
    assert found
    assert all(type(finding).__name__ == "Sign" for finding in found)


def test_a_hardware_slowdown_without_a_reason_is_believed_when_it_stays(fed: Make) -> None:
    power = fed(Power())
    power.quiet(gpu(Throttle.HW_SLOWDOWN), 1)
    power.quiet(gpu(Throttle.HW_SLOWDOWN), UNNAMED_HELD_SECONDS - 1)
    (sign,) = power.signs(gpu(Throttle.HW_SLOWDOWN), 1)
    assert (sign.class_, sign.condition) == ("power", "hw_slowdown")


def test_a_hardware_slowdown_by_heat_is_not_power(fed: Make) -> None:
    power = fed(Power())
    for _ in range(100):
        power.quiet(gpu(Throttle.HW_SLOWDOWN, Throttle.HW_THERMAL), 1)

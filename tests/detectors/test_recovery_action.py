"""What the NVIDIA driver asks for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Answered
from accelwatch.detectors.recovery_action import AskedRecovery
from accelwatch.faults.sign import Gone
from accelwatch.readings.health import Health, RecoveryAction
from accelwatch.readings.severity import Severity
from detectors.replaying import GPU, Fed, answered, device

Make = Callable[..., Fed]


def gpu(action: int | None) -> Answered:
    return answered("nvml", device(GPU, health=Health(recovery_action=action)))


@pytest.mark.parametrize(
    ("action", "severity"),
    [
        (1, Severity.DEGRADING),
        (2, Severity.RUN_ENDING),
        (3, Severity.DEGRADING),
        (4, Severity.DEGRADING),
        (5, Severity.DEGRADING),
        (6, Severity.RUN_ENDING),
        (7, Severity.RUN_ENDING),
        (42, Severity.DEGRADING),
    ],
)
def test_an_action_lasts_until_it_is_asked_for_no_more(fed: Make, action: int, severity: Severity) -> None:
    asked = fed(AskedRecovery())
    asked.quiet(gpu(0))
    (sign,) = asked.signs(gpu(action))
    assert (sign.class_, sign.severity, sign.lasting) == ("driver_software", severity, True)
    assert len(asked.signs(gpu(action))) == 1
    asked.quiet(gpu(None))
    asked.quiet(answered("nvml", device(GPU)))
    assert [gone.condition for gone in asked.gone(gpu(0))] == [sign.condition]
    asked.quiet(gpu(0))


def test_every_action_has_words_of_its_own(fed: Make) -> None:
    messages = {fed(AskedRecovery()).signs(gpu(action))[0].message for action in range(1, 8)}
    assert len(messages) == len(RecoveryAction) - 1
    assert fed(AskedRecovery()).signs(gpu(1))[0].condition == "recovery action reset"


def test_an_action_that_becomes_another(fed: Make) -> None:
    asked = fed(AskedRecovery())
    asked.signs(gpu(1))
    gone, sign = asked.feed(gpu(2))
    assert isinstance(gone, Gone)
    assert (gone.condition, sign.condition) == ("recovery action reset", "recovery action reboot")
    assert len(asked.gone(gpu(0))) == 1

"""The NVSwitch fabric."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Answered
from accelwatch.detectors.fabric import AGAIN_SECONDS, NEVER_SECONDS, FabricSwitch
from accelwatch.readings.link import Fabric
from accelwatch.readings.severity import Severity
from detectors.replaying import GPU, Fed, answered, device

Make = Callable[..., Fed]


def gpu(state: str = "completed", healthy: bool | None = True, status: int | None = 0, *problems: str) -> Answered:
    fabric = Fabric(state=state, status=status, healthy=healthy, problems=problems)
    return answered("nvml", device(GPU, fabric=fabric))


@pytest.mark.parametrize(
    ("status", "problems", "severity", "message"),
    [
        (0, ("degraded_bandwidth",), Severity.DEGRADING, "the NVSwitch fabric is unhealthy: degraded bandwidth"),
        (
            0,
            ("degraded_bandwidth", "route_unhealthy"),
            None,
            "the NVSwitch fabric is unhealthy: degraded bandwidth, route unhealthy",
        ),
        (999, (), None, "the NVSwitch fabric is unhealthy: registration ended with status 999"),
        (0, (), None, "the NVSwitch fabric is unhealthy: by its own summary"),
    ],
)
def test_an_unhealthy_fabric(
    fed: Make, status: int, problems: tuple[str, ...], severity: Severity | None, message: str
) -> None:
    fabric = fed(FabricSwitch())
    fabric.quiet(gpu())
    (sign,) = fabric.signs(gpu("completed", False, status, *problems))
    assert (sign.class_, sign.device, sign.severity, sign.message) == ("fabric_switch", GPU, severity, message)
    fabric.quiet(answered("nvml", device(GPU)))
    fabric.quiet(gpu("completed", None))
    assert len(fabric.gone(gpu())) == 1


def test_a_gpu_that_never_gets_into_the_fabric(fed: Make) -> None:
    fabric = fed(FabricSwitch())
    waiting = gpu("in_progress", None, None)
    fabric.quiet(waiting)
    fabric.quiet(waiting, NEVER_SECONDS - 1)
    (sign,) = fabric.signs(waiting, 1)
    assert (sign.condition, sign.severity) == ("fabric not registered", Severity.DEGRADING)
    assert sign.message == "the GPU is not registered in the NVSwitch fabric: in progress"
    assert len(fabric.gone(gpu())) == 1


def test_a_gpu_that_falls_out_of_the_fabric(fed: Make) -> None:
    fabric = fed(FabricSwitch())
    fabric.quiet(gpu())
    fabric.quiet(gpu("not_started", None, None))
    assert len(fabric.signs(gpu("not_started", None, None), AGAIN_SECONDS)) == 1


def test_a_host_without_switches_is_well(fed: Make) -> None:
    fabric = fed(FabricSwitch())
    fabric.quiet(answered("nvml", device(GPU)))
    fabric.quiet(answered("nvml", device(GPU)), 10 * NEVER_SECONDS)

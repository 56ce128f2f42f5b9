"""The network check's verdict, and the light of optical modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Answered, Context
from accelwatch.detectors.net_health import SLOW_POLLS, NetHealth
from accelwatch.readings.link import Link, LinkKind, LinkState, Optics
from accelwatch.readings.severity import Severity
from detectors.replaying import NPU, Fed, answered

Make = Callable[..., Fed]
HELD = SLOW_POLLS * 10.0


def port(
    healthy: bool | None = None,
    verdict: str | None = None,
    state: LinkState = LinkState.UP,
    optics: Optics | None = None,
) -> Answered:
    link = Link(key=NPU, link="roce0", kind=LinkKind.ROCE, state=state, healthy=healthy, verdict=verdict, optics=optics)
    return answered("hccn_tool", links=[link])


def test_a_bad_verdict_counts_when_it_was_given_twice(fed: Make) -> None:
    health = fed(NetHealth())
    bad = port(False, "Receive timeout")
    health.quiet(port(True, "Success"))
    health.quiet(bad)
    health.quiet(bad, HELD - 1)
    (sign,) = health.signs(bad, 1)
    assert (sign.class_, sign.condition, sign.severity) == ("net_errors", "net health roce0", Severity.DEGRADING)
    assert sign.message == "the network check of port roce0 says Receive timeout"
    health.quiet(port(None))
    assert len(health.gone(port(True, "Success"))) == 1


@pytest.mark.parametrize("good", [port(True, "Init"), port(None, "Unknown"), port(None)])
def test_one_bad_answer_or_none_is_no_fault(fed: Make, good: Answered) -> None:
    health = fed(NetHealth())
    for _ in range(5):
        health.quiet(port(False, "Fault"))
        health.quiet(port(False, "Fault"), HELD - 1)
        health.quiet(good, 1)


def test_a_port_that_is_down_cannot_reach_anybody(fed: Make) -> None:
    health = fed(NetHealth())
    for _ in range(20):
        health.quiet(port(False, "Unreachable", LinkState.DOWN))


def light(*rx: float | None, low: float | None = 0.1445) -> Optics:
    return Optics(present=True, rx_power_milliwatts=rx, rx_power_low_milliwatts=low)


def test_a_lane_below_the_modules_own_threshold(fed: Make) -> None:
    health = fed(NetHealth())
    health.quiet(port(optics=light(1.0, 0.15)))
    (sign,) = health.signs(port(optics=light(1.0, 0.05)))
    assert (sign.class_, sign.condition, sign.severity) == ("net_errors", "optics roce0 low power", Severity.DEGRADING)
    assert sign.message == "port roce0: lane 1 receives 0.050 mW of at least 0.144 mW, below the module's own threshold"
    health.quiet(port())
    health.quiet(port(optics=light(None, None)))
    assert len(health.gone(port(optics=light(1.0, 0.9)))) == 1


@pytest.mark.parametrize("optics", [light(0.0, low=None), light(None), Optics(), Optics(present=True)])
def test_what_a_module_does_not_tell_is_no_fault(fed: Make, optics: Optics) -> None:
    health = fed(NetHealth())
    health.quiet(port(optics=optics))


def test_a_module_that_was_there_and_is_not(fed: Make) -> None:
    gone = port(state=LinkState.DOWN, optics=Optics(present=False))
    fed(NetHealth()).quiet(gone)  # a cage that was always empty
    health = fed(NetHealth(), Context(links_seen_up=frozenset({(NPU, "roce0")})))
    (sign,) = health.signs(gone)
    assert sign.condition == "optics roce0 absent"
    assert len(health.gone(port(optics=light(1.0)))) == 1

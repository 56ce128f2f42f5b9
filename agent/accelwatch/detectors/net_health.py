"""The Ascend network check's own verdict, and optical modules that lose their light."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.net_links import KINDS, links_of
from accelwatch.detectors.subject import Subject
from accelwatch.faults.sign import Finding
from accelwatch.readings.link import Link, LinkKind, LinkState, Optics
from accelwatch.readings.severity import Severity

CLASS = "net_errors"
_KINDS = KINDS | {LinkKind.UB}

# net_health comes with every sixth poll and is repeated in between (design.md, Configuration): what is bad for longer
# has been bad in two answers. One bad answer may be one lost probe.
SLOW_POLLS = 6


class State(msgspec.Struct, frozen=True):
    """What is seen now."""

    holds: dict[str, Hold] = {}


class NetHealth:
    """Of ports that are up and were so when the agent knew them first: of one that is down, `net_links` tells."""

    name = "net_health"
    state_type = State

    def start(self) -> State:
        """Nothing is seen."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered) or (reading.repeats("links") and not state.holds):
            return state, ()
        conditions = Conditions(state.holds, now)
        held = SLOW_POLLS * reading.interval
        for subject, link in links_of(reading, _KINDS):
            _verdict(subject, link, held, conditions)
            _light(subject, link, conditions, (link.key, link.link) in context.links_seen_up)
        return (State(conditions.holds) if conditions.changed else state), conditions.findings


def _verdict(subject: Subject, link: Link, held: float, conditions: Conditions) -> None:
    condition = f"net health {link.link}"
    if link.healthy is None or link.state is not LinkState.UP:
        conditions.unknown(subject, CLASS, condition)
    elif link.healthy:
        conditions.good(subject, CLASS, condition, f"the network check says {link.verdict}")
    else:
        message = f"the network check of port {link.link} says {link.verdict or 'that it is not healthy'}"
        conditions.bad(subject, CLASS, condition, message, severity=Severity.DEGRADING, held=held, link=link.link)


def _light(subject: Subject, link: Link, conditions: Conditions, seen_up: bool) -> None:
    optics = link.optics
    absent, low = f"optics {link.link} absent", f"optics {link.link} low power"
    if optics is None:
        return
    if optics.present is False and (seen_up or link.state is LinkState.UP):
        message = f"port {link.link} was up once and has no optical module now"
        conditions.bad(subject, CLASS, absent, message, severity=Severity.DEGRADING, link=link.link)
    elif optics.present:
        conditions.good(subject, CLASS, absent, "the optical module is there")
    lanes = _dark_lanes(optics)
    if lanes is None or link.state is not LinkState.UP:
        conditions.unknown(subject, CLASS, low)
    elif lanes:
        message = f"port {link.link}: {'; '.join(lanes)}, below the module's own threshold"
        conditions.bad(subject, CLASS, low, message, severity=Severity.DEGRADING, link=link.link)
    else:
        conditions.good(subject, CLASS, low, "every lane is above the module's threshold")


def _dark_lanes(optics: Optics) -> list[str] | None:
    """Lanes below the module's own alarm threshold; `None` where it tells no power or no threshold."""
    found: list[str] = []
    told = False
    for way, powers, low in (
        ("receives", optics.rx_power_milliwatts, optics.rx_power_low_milliwatts),
        ("sends", optics.tx_power_milliwatts, optics.tx_power_low_milliwatts),
    ):
        for lane, power in enumerate(powers):
            if power is None or low is None:
                continue
            told = True
            if power < low:
                found.append(f"lane {lane} {way} {power:.3f} mW of at least {low:.3f} mW")
    return found if told else None

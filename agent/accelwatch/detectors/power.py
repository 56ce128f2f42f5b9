"""GPUs whose power is cut from outside. The power cap by software is how every busy GPU runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.subject import of_device
from accelwatch.detectors.thermal import CALM_SECONDS, HELD_READINGS
from accelwatch.faults.sign import Finding
from accelwatch.readings.sensors import Throttle
from accelwatch.readings.severity import Severity

CLASS = "power"

# A hardware slowdown that names neither heat nor the brake is the fast protection against too much power, but it is
# also shown during a change of clocks (nvml.h): a fault only when it stays. Ours.
UNNAMED_HELD_SECONDS = 30.0

_BRAKE, _UNNAMED = "power_brake", "hw_slowdown"
_REASONS = frozenset((Throttle.POWER_BRAKE, Throttle.HW_SLOWDOWN))


class State(msgspec.Struct, frozen=True):
    """What is seen now."""

    holds: dict[str, Hold] = {}


class Power:
    """NVML's clock event reasons. Ascend tells its power by codes."""

    name = "power"
    state_type = State

    def start(self) -> State:
        """Nothing is seen."""
        return State()

    def step(
        self,
        state: State,
        reading: Reading,
        now: float,
        context: Context,  # noqa: ARG002 - the protocol's
    ) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered):
            return state, ()
        conditions = Conditions(state.holds, now)
        for device in reading.snapshot.devices:
            sensors = device.sensors
            if sensors is None or device.identity.parent is not None:
                continue
            if not state.holds and _REASONS.isdisjoint(sensors.throttle or ()):
                continue  # as nearly always: nothing to tell, and nothing that could end
            subject = of_device(device.key)
            reasons = sensors.throttle
            if reasons is None:
                conditions.unknown(subject, CLASS, _BRAKE)
                conditions.unknown(subject, CLASS, _UNNAMED)
                continue
            watts = "" if sensors.power_watts is None else f" at {sensors.power_watts:.0f} W"
            if Throttle.POWER_BRAKE in reasons:
                message = f"the power brake of the host slows the GPU down{watts}"
                held = HELD_READINGS * reading.interval
                conditions.bad(subject, CLASS, _BRAKE, message, severity=Severity.DEGRADING, held=held)
            else:
                conditions.good(subject, CLASS, _BRAKE, "the power brake is released", calm=CALM_SECONDS)
            named = {Throttle.POWER_BRAKE, Throttle.HW_THERMAL, Throttle.SW_THERMAL} & set(reasons)
            if Throttle.HW_SLOWDOWN in reasons and not named:
                message = f"hardware slowdown that names no reason{watts}"
                conditions.bad(
                    subject, CLASS, _UNNAMED, message, severity=Severity.DEGRADING, held=UNNAMED_HELD_SECONDS
                )
            else:
                conditions.good(subject, CLASS, _UNNAMED, "no hardware slowdown any more", calm=CALM_SECONDS)
        return (State(conditions.holds) if conditions.changed else state), conditions.findings

"""GPUs that slow themselves down because they are too hot. Ascend tells heat by its codes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.subject import of_device
from accelwatch.faults.sign import Finding
from accelwatch.readings.sensors import Throttle
from accelwatch.readings.severity import Severity

CLASS = "thermal"

# The reasons are a sample of one moment (reference/nvidia.md section 3): one alone may have been a moment. Seen at
# two readings on end, less what a reading may come early.
HELD_READINGS = 0.9
# A GPU at its limit goes in and out of the slowdown: over when half a minute of readings shows none. Ours.
CALM_SECONDS = 30.0

_WORDS = {Throttle.HW_THERMAL: "hardware thermal slowdown", Throttle.SW_THERMAL: "software thermal slowdown"}


class State(msgspec.Struct, frozen=True):
    """What is seen now."""

    holds: dict[str, Hold] = {}


class Thermal:
    """NVML's clock event reasons."""

    name = "thermal"
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
            if not state.holds and _WORDS.keys().isdisjoint(sensors.throttle or ()):
                continue  # as nearly always: nothing to tell, and nothing that could end
            subject = of_device(device.key)
            reasons = sensors.throttle
            for reason, word in _WORDS.items():
                condition = reason.value
                if reasons is None:
                    conditions.unknown(subject, CLASS, condition)
                elif reason in reasons:
                    heat = sensors.temperature_celsius
                    message = f"{word}{'' if heat is None else f' at {heat:.0f} °C'}"
                    held = HELD_READINGS * reading.interval
                    conditions.bad(subject, CLASS, condition, message, severity=Severity.DEGRADING, held=held)
                else:
                    conditions.good(subject, CLASS, condition, f"no {word} any more", calm=CALM_SECONDS)
        return (State(conditions.holds) if conditions.changed else state), conditions.findings

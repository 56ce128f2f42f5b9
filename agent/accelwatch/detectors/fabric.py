"""The NVSwitch fabric, as each GPU is registered in it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.subject import of_device
from accelwatch.faults.sign import Finding
from accelwatch.readings.link import Fabric
from accelwatch.readings.severity import Severity

CLASS = "fabric_switch"
UNHEALTHY, UNREGISTERED = "fabric unhealthy", "fabric not registered"

# A GPU registers within moments of the fabric manager's start. One that never got there (the manager was down for
# 20 days on one fleet, NVSentinel 883) is told after ten minutes; one that was there, after a minute. Ours.
NEVER_SECONDS, AGAIN_SECONDS = 600.0, 60.0

# These leave the fabric working, only slower.
_MILD = frozenset(("degraded_bandwidth",))


class State(msgspec.Struct, frozen=True):
    """`completed`: by device, whether it was registered once."""

    completed: dict[str, bool] = {}
    holds: dict[str, Hold] = {}


class FabricSwitch:
    """nvmlDeviceGetGpuFabricInfoV (reference/nvidia.md section 3). A host without NVSwitches tells nothing."""

    name = "fabric"
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
        if not isinstance(reading, Answered) or (reading.repeats("fabric") and not state.holds):
            return state, ()
        completed, conditions = Draft(state.completed), Conditions(state.holds, now)
        for device in reading.snapshot.devices:
            fabric = device.fabric
            if fabric is None or device.identity.parent is not None:
                continue
            subject = of_device(device.key)
            if fabric.state == "completed":
                completed.put(subject.name, True)
                conditions.good(subject, CLASS, UNREGISTERED, "the GPU is registered in the fabric")
            else:
                held = AGAIN_SECONDS if completed.get(subject.name) else NEVER_SECONDS
                message = f"the GPU is not registered in the NVSwitch fabric: {fabric.state.replace('_', ' ')}"
                # Nothing runs over the switches like this; what runs on the GPU alone does.
                conditions.bad(subject, CLASS, UNREGISTERED, message, severity=Severity.DEGRADING, held=held)
            if fabric.healthy is False:
                mild = not fabric.status and fabric.problems and set(fabric.problems) <= _MILD
                severity = Severity.DEGRADING if mild else None
                conditions.bad(subject, CLASS, UNHEALTHY, _told(fabric), severity=severity)
            elif fabric.healthy:
                conditions.good(subject, CLASS, UNHEALTHY, "the fabric is healthy")
        if not (completed.changed or conditions.changed):
            return state, conditions.findings
        return State(completed.rows, conditions.holds), conditions.findings


def _told(fabric: Fabric) -> str:
    parts = [problem.replace("_", " ") for problem in fabric.problems]
    if fabric.status:
        parts.append(f"registration ended with status {fabric.status}")
    return f"the NVSwitch fabric is unhealthy: {', '.join(parts) or 'by its own summary'}"

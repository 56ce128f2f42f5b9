"""What the NVIDIA driver asks for: it is told even where no Xid was heard and every counter is 0."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.subject import Subject, of_device
from accelwatch.faults.sign import Finding
from accelwatch.readings.health import RecoveryAction
from accelwatch.readings.severity import Severity

CLASS = "driver_software"  # the driver's own word, without the fault that made it say so

# A reset or a drain can wait for the end of the run; a bus reset or reboot is asked for when the GPU cannot be used.
_WORDS = {
    RecoveryAction.RESET: ("reset", Severity.DEGRADING),
    RecoveryAction.REBOOT: ("reboot", Severity.RUN_ENDING),
    RecoveryAction.DRAIN_P2P: ("drain of peer-to-peer traffic", Severity.DEGRADING),
    RecoveryAction.DRAIN_AND_RESET: ("drain and reset", Severity.DEGRADING),
    RecoveryAction.RECOVER_IMEX: ("recovery of IMEX", Severity.DEGRADING),
    RecoveryAction.BUS_RESET: ("bus reset", Severity.RUN_ENDING),
    RecoveryAction.SYSTEM_REBOOT: ("system reboot", Severity.RUN_ENDING),
}


class State(msgspec.Struct, frozen=True):
    """What is asked for now."""

    holds: dict[str, Hold] = {}
    asked: dict[str, int] = {}  # by device: the action that is told


class AskedRecovery:
    """Field 230 of NVML other than none (reference/nvidia.md section 3)."""

    name = "recovery_action"
    state_type = State

    def start(self) -> State:
        """Nothing is asked for."""
        return State()

    def step(
        self,
        state: State,
        reading: Reading,
        now: float,
        context: Context,  # noqa: ARG002 - the protocol's
    ) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered) or (reading.repeats("health") and not state.holds):
            return state, ()
        conditions = Conditions(state.holds, now)
        asked = state.asked
        for device in reading.snapshot.devices:
            action = device.health.recovery_action if device.health is not None else None
            if action is None:
                continue
            subject = of_device(device.key)
            before = asked.get(subject.name, 0)
            if before not in (0, action):
                conditions.good(subject, CLASS, _condition(before), "the driver asks for something else now")
            if action != RecoveryAction.NONE:
                _tell(conditions, subject, action)
            elif before:
                conditions.good(subject, CLASS, _condition(before), "the driver asks for nothing any more")
            if before != action:
                asked = {**asked, subject.name: action}
        return (State(conditions.holds, asked) if conditions.changed else state), conditions.findings


def _tell(conditions: Conditions, subject: Subject, action: int) -> None:
    word, severity = _word(action)
    family = f"recovery_action_{action}"
    conditions.bad(
        subject, CLASS, _condition(action), f"the driver asks for a {word}", severity=severity, family=family
    )


def _condition(action: int) -> str:
    return f"recovery action {_word(action)[0]}"


def _word(action: int) -> tuple[str, Severity]:
    try:
        return _WORDS[RecoveryAction(action)]
    except (ValueError, KeyError):
        return f"recovery by an action newer than this agent ({action})", Severity.DEGRADING

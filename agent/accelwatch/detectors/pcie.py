"""The device's PCIe link: fewer lanes or a lower generation than device and slot can do together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.subject import Subject, of_device
from accelwatch.faults.sign import Finding
from accelwatch.readings.link import Pcie
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.severity import Severity

CLASS = "pcie_host_link"

# PCIe comes with every tenth poll of NVML and is repeated in between: what is there for longer is there in two
# readings, so no link that is just being trained.
SLOW_POLLS = 10
# A GPU lowers its generation when idle by design (reference/nvidia.md section 3): judged only when it has worked for
# three readings of PCIe on end, since the load may have come right after a reading.
LOADED_POLLS = 30
LOADED_UTILIZATION = 0.5
LOADED_POWER = 0.4  # of the limit, where both are told: a GPU that spins at 100 % draws little and may idle its link


class State(msgspec.Struct, frozen=True):
    """What is seen now."""

    holds: dict[str, Hold] = {}


class PcieLink:
    """NVML's maximum is that of device and slot together, so a card in a narrower slot is at its maximum there."""

    name = "pcie"
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
            if device.pcie is not None and device.identity.parent is None:
                subject = of_device(device.key)
                _width(subject, device.pcie, reading.interval, conditions)
                _generation(subject, device.pcie, device.sensors, reading.interval, conditions)
        return (State(conditions.holds) if conditions.changed else state), conditions.findings


def _width(subject: Subject, pcie: Pcie, interval: float, conditions: Conditions) -> None:
    condition = "pcie width"
    if not pcie.width or not pcie.width_max:  # 0 is no width: the device could not be read
        conditions.unknown(subject, CLASS, condition)
    elif pcie.width < pcie.width_max:
        message = f"the PCIe link runs on {pcie.width} of {pcie.width_max} lanes"
        held = SLOW_POLLS * interval
        conditions.bad(subject, CLASS, condition, message, severity=Severity.DEGRADING, held=held)
    else:
        conditions.good(subject, CLASS, condition, f"the PCIe link has {pcie.width} lanes again")


def _generation(subject: Subject, pcie: Pcie, sensors: Sensors | None, interval: float, conditions: Conditions) -> None:
    condition = "pcie generation"
    if not pcie.generation or not pcie.generation_max:
        conditions.unknown(subject, CLASS, condition)
    elif pcie.generation >= pcie.generation_max:
        conditions.good(subject, CLASS, condition, f"the PCIe link is at generation {pcie.generation} again")
    elif not _loaded(sensors):
        conditions.unknown(subject, CLASS, condition)
    else:
        message = f"the PCIe link runs at generation {pcie.generation} of {pcie.generation_max} under load"
        held = LOADED_POLLS * interval
        conditions.bad(subject, CLASS, condition, message, severity=Severity.DEGRADING, held=held)


def _loaded(sensors: Sensors | None) -> bool:
    if sensors is None or sensors.utilization_ratio is None or sensors.utilization_ratio < LOADED_UTILIZATION:
        return False
    if sensors.power_watts is None or not sensors.power_limit_watts:
        return True
    return sensors.power_watts >= LOADED_POWER * sensors.power_limit_watts

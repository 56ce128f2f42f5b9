"""How far a device's repair of its memory has come: remapped rows, retired pages, isolated pages."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.growth import Counts, grown
from accelwatch.detectors.subject import Subject, of_device, owner
from accelwatch.faults.sign import Finding, Sign
from accelwatch.readings.identity import Vendor
from accelwatch.readings.memory import ErrorKind, Repairs
from accelwatch.readings.severity import Severity

# A failed remap is here and not in mem_uncorrectable: no data was lost by it, the stock of repairs is at its end.
# (Xid 64, the moment of the failure, is what its code table says.) Reference/reliability.md section 3.
CLASS = "mem_repair"

# Ascend's own ladder of pages isolated for multi-bit errors (80E18401, 80E18402; reference/ascend.md section 5): from
# 16 it is recorded, at 64 the device is to be replaced.
ISOLATED_NOTED, ISOLATED_FULL = 16, 64
# GPUs from before Ampere: 60 retired pages were the driver's limit for replacement, 15 its first warning (DCGM).
RETIRED_NOTED, RETIRED_FULL = 15, 60


class State(msgspec.Struct, frozen=True):
    """By device."""

    counts: dict[str, Counts] = {}
    holds: dict[str, Hold] = {}


class MemoryRepair:
    """Repairs that were made are events; one that waits, failed, or used up the spares lasts."""

    name = "memory_repair"
    state_type = State

    def start(self) -> State:
        """Nothing has been seen."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered) or (reading.repeats("repairs") and not state.holds):
            return state, ()
        counts, conditions = Draft(state.counts), Conditions(state.holds, now)
        findings: list[Finding] = []
        for device in reading.snapshot.devices:
            repairs = device.repairs
            if repairs is None or device.identity.parent is not None:
                continue
            subject = of_device(device.key)
            unit = _unit(device.key.vendor, repairs)
            made = _made(repairs)
            growth = grown(
                counts, subject.name, owner(device, context), {f"{unit} {kind.value}": n for kind, n in made.items()}
            )
            findings += (
                _repaired(subject, unit, kind, growth[f"{unit} {kind.value}"], number, now)
                for kind, number in made.items()
                if f"{unit} {kind.value}" in growth
            )
            _flags(subject, repairs, conditions)
            _ladder(subject, unit, made, conditions)
        findings += conditions.findings
        if not (counts.changed or conditions.changed):
            return state, findings
        return State(counts.rows, conditions.holds), findings


def _unit(vendor: Vendor, repairs: Repairs) -> str:
    if vendor is Vendor.ASCEND:
        return "isolated page"
    return "retired page" if repairs.failed is None else "remapped row"


def _made(repairs: Repairs) -> dict[ErrorKind, int]:
    pairs = ((ErrorKind.CORRECTED, repairs.rows_corrected), (ErrorKind.UNCORRECTED, repairs.rows_uncorrected))
    return {kind: number for kind, number in pairs if number is not None}


def _repaired(subject: Subject, unit: str, kind: ErrorKind, growth: int, number: int, now: float) -> Sign:
    because = "uncorrectable" if kind is ErrorKind.UNCORRECTED else "corrected"
    return Sign(
        class_=CLASS,
        condition=f"{unit}s {kind.value}",
        at=now,
        vendor=subject.vendor,
        device=subject.device,
        # Repaired in good time: the device lost nothing.
        severity=Severity.INFORMATIONAL if kind is ErrorKind.CORRECTED else None,
        message=f"{growth} more {unit}{'s' if growth > 1 else ''} because of {because} errors, {number} in all",
        events=growth,
    )


def _flags(subject: Subject, repairs: Repairs, conditions: Conditions) -> None:
    waits = "a repair of memory waits for the next reset of the device"
    _flag(conditions, subject, "repair pending", repairs.pending, waits)
    failed = "remapping a row of memory has failed: the driver's criterion for replacement"
    _flag(conditions, subject, "row remap failed", repairs.failed, failed)
    spent = repairs.banks_without_spare
    # The device is sound until the next error in that bank: told, and nobody is sent for it.
    _flag(
        conditions,
        subject,
        "banks without spare",
        None if spent is None else spent > 0,
        f"{spent} bank{'s' if spent != 1 else ''} of memory without a spare row",
        Severity.INFORMATIONAL,
    )


def _flag(
    conditions: Conditions,
    subject: Subject,
    condition: str,
    value: bool | None,
    message: str,
    severity: Severity = Severity.DEGRADING,
) -> None:
    if value:
        conditions.bad(subject, CLASS, condition, message, severity=severity)
    elif value is not None:
        conditions.good(subject, CLASS, condition)


def _ladder(subject: Subject, unit: str, made: dict[ErrorKind, int], conditions: Conditions) -> None:
    if unit == "isolated page":
        noted, full, number = ISOLATED_NOTED, ISOLATED_FULL, made.get(ErrorKind.UNCORRECTED)
    elif unit == "retired page":
        noted, full, number = RETIRED_NOTED, RETIRED_FULL, sum(made.values()) if made else None
    else:
        return
    for condition, limit, severity in (
        (f"many {unit}s", noted, Severity.INFORMATIONAL),
        (f"no more {unit}s", full, Severity.DEGRADING),
    ):
        over = None if number is None else number >= limit
        _flag(conditions, subject, condition, over, f"{number} {unit}s: the limit is {limit}", severity)

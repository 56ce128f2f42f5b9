"""ECC errors by the growth of their counters: what was there when a counter was first seen is no fault."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.growth import Counts, another_board, grown
from accelwatch.detectors.subject import Subject, of_device, owner
from accelwatch.faults.sign import Finding, Sign
from accelwatch.readings.memory import EccCount, ErrorKind
from accelwatch.readings.severity import Severity
from accelwatch.readings.snapshot import Device

UNCORRECTABLE, CORRECTABLE, ON_CHIP = "mem_uncorrectable", "mem_correctable", "onchip_sram"

# Corrected errors cost nothing one by one. A memory that decays gave 4,647 to 17,657 a second under load (NVSentinel
# 1748, reference/nvidia.md section 3); a hundred a second is far below that and far above the few a day of a sound
# one. Over half a minute, since they come in bursts. It has ended when half a minute brought less than half of it.
HIGH_PER_SECOND = 100.0
RATE_SECONDS = 30.0
HIGH_ENDS_AT = 0.5


class Window(msgspec.Struct, frozen=True):
    """The stretch over which the rate of one counter is taken: its start (steady seconds) and count there."""

    since: float
    count: int


class State(msgspec.Struct, frozen=True):
    """By device; windows by device and counter."""

    counts: dict[str, Counts] = {}
    windows: dict[str, Window] = {}
    holds: dict[str, Hold] = {}


class Memory:
    """Both vendors' counters. Lifetime counters where the device has them: they keep what came just before a reset."""

    name = "memory"
    state_type = State

    def start(self) -> State:
        """No counter has been seen."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        # A count that is only repeated would make a rate look lower than it is.
        if not isinstance(reading, Answered) or reading.repeats("ecc", "repairs"):
            return state, ()
        counts, windows = Draft(state.counts), Draft(state.windows)
        conditions = Conditions(state.holds, now)
        findings: list[Finding] = []
        for device in reading.snapshot.devices:
            if device.repairs is not None:
                _threshold(device, conditions)
            if not device.ecc or device.identity.parent is not None:
                continue
            subject = of_device(device.key)
            counters = _counters(device.ecc)
            board = owner(device, context)
            before = counts.get(subject.name)
            if before is not None and another_board(before.owner, board):
                for name in [name for name in windows.rows if name.startswith(f"{subject.name} ")]:
                    windows.drop(name)
            raw = {label: count.count for label, count in counters.items()}
            growth = grown(counts, subject.name, board, raw)
            for label, count in counters.items():
                if label in growth:
                    findings.append(_sign(subject, count, growth[label], now))
                if count.kind is ErrorKind.CORRECTED:
                    _rate(subject, count, growth.get(label, 0), now, windows, conditions)
        findings += conditions.findings
        if not (counts.changed or windows.changed or conditions.changed):
            return state, findings
        return State(counts.rows, windows.rows, conditions.holds), findings


def _counters(ecc: Sequence[EccCount]) -> dict[str, EccCount]:
    """One counter for each memory and kind, by a name that changes with the kind of counter."""
    lifetime = {(count.memory, count.kind) for count in ecc if count.lifetime and not count.place}
    return {
        f"{count.memory} {count.kind.value}{' lifetime' if count.lifetime else ''}": count
        for count in ecc
        if not count.place and (count.lifetime or (count.memory, count.kind) not in lifetime)
    }


def _sign(subject: Subject, count: EccCount, growth: int, now: float) -> Sign:
    corrected = count.kind is ErrorKind.CORRECTED
    on_chip = count.memory.startswith("sram")
    whole = "in its whole life" if count.lifetime else "since the driver or device started"
    return Sign(
        class_=CORRECTABLE if corrected else ON_CHIP if on_chip else UNCORRECTABLE,
        condition=f"ecc {count.memory} {count.kind.value}",
        at=now,
        vendor=subject.vendor,
        device=subject.device,
        severity=Severity.INFORMATIONAL if corrected else None,
        message=f"{growth} {'corrected' if corrected else 'uncorrectable'} error{'s' if growth > 1 else ''} in "
        f"{_word(count.memory)} since the last reading, {count.count} {whole}",
        events=growth,
    )


def _rate(
    subject: Subject, count: EccCount, growth: int, now: float, windows: Draft[Window], conditions: Conditions
) -> None:
    name = f"{subject.name} {count.memory}{' lifetime' if count.lifetime else ''}"
    condition = f"ecc {count.memory} corrected rate"
    window = windows.get(name)
    if window is None or count.count < window.count:
        if growth:
            windows.put(name, Window(now, count.count))
        elif window is not None:
            windows.drop(name)
        return
    seconds = now - window.since
    if seconds < RATE_SECONDS:
        return
    rate = (count.count - window.count) / seconds
    told = conditions.told(subject, CORRECTABLE, condition)
    if rate >= (HIGH_PER_SECOND * HIGH_ENDS_AT if told else HIGH_PER_SECOND):
        message = f"{rate:.0f} corrected errors a second in {_word(count.memory)} over the last {seconds:.0f} s"
        conditions.bad(subject, CORRECTABLE, condition, message, severity=Severity.DEGRADING)
    else:
        conditions.good(subject, CORRECTABLE, condition, f"down to {rate:.0f} corrected errors a second")
    if rate > 0:
        windows.put(name, Window(now, count.count))
    else:
        windows.drop(name)


def _threshold(device: Device, conditions: Conditions) -> None:
    """NVIDIA's criterion for replacement (reference/nvidia.md section 3): the GPU works on until the next error."""
    exceeded = device.repairs.sram_threshold_exceeded if device.repairs is not None else None
    subject, condition = of_device(device.key), "sram threshold"
    if exceeded:
        message = "the uncorrectable errors in SRAM exceed the driver's threshold for replacement"
        conditions.bad(subject, ON_CHIP, condition, message, severity=Severity.DEGRADING)
    elif exceeded is not None:
        conditions.good(subject, ON_CHIP, condition)


def _word(memory: str) -> str:
    return memory.replace("_", " ").upper() if memory in ("hbm", "ddr", "sram") else f"SRAM ({memory[5:]})"

"""What a device's work shows: its load at a moment, and what it has done since the scenario began."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accelwatch.simulator.scenario import FaultSpec, Phase


@dataclass(frozen=True)
class Load:
    """One phase of one vendor. `share`: of the power between idle and limit; rates are per second."""

    utilization: int  # percent
    share: float
    memory: int = 0  # percent of the memory controller's time
    cpu: float = 0.0  # seconds of the process
    packets: int = 0
    read: int = 0  # bytes
    written: int = 0


_IDLE = Load(0, 0.0)
_SPIN = Load(100, 0.13, cpu=1.0)
_QUIET = Load(0, 0.05, cpu=0.02)
# A hang spins on NVIDIA and is quiet on Ascend (reference/nvidia.md section 7, reliability.md section 4).
_LOADS = {
    "nvidia": {
        "idle": _IDLE, "train": Load(96, 0.78, 55, 1.0, 90_000, 20 << 20), "save": Load(2, 0.12, 3, 0.9, 0, 0, 2 << 30),
        "validate": Load(70, 0.5, 40, 1.0, 20_000, 20 << 20), "stall": Load(0, 0.1, 0, 0.6, 0, 5 << 20),
        "hang": _SPIN, "spin": _SPIN, "quiet": _QUIET,
    },
    "ascend": {
        "idle": _IDLE, "train": Load(92, 0.75, 50, 1.0, 90_000, 20 << 20), "save": Load(1, 0.1, 2, 0.9, 0, 0, 2 << 30),
        "validate": Load(65, 0.5, 35, 1.0, 20_000, 20 << 20), "stall": Load(0, 0.08, 0, 0.6, 0, 5 << 20),
        "hang": _QUIET, "spin": _SPIN, "quiet": _QUIET,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Stretch:
    """A phase of one device from `begin` to `end`, in scenario seconds."""

    begin: float
    end: float
    phase: Phase

    @property
    def climb(self) -> float:
        """Share of its full power that it has reached by now."""
        ramp = float(self.phase.ramp)
        return min(1.0, (self.end - self.phase.at) / ramp) if ramp else 1.0


@dataclass(frozen=True)
class Span:
    """The life of one process: work without an idle moment. `end`: `None` while it goes on."""

    begin: float
    end: float | None


@dataclass(frozen=True)
class Done:
    """Sums since scenario second 0. `power`: seconds weighted with the share of the power."""

    power: float
    cpu: float
    packets: int
    read: int
    written: int


def load(vendor: str, phase: Phase) -> Load:
    """What the phase asks of that vendor's device."""
    return _LOADS[vendor][phase.phase]


def share(vendor: str, now: Stretch) -> float:
    """Of the power between idle and limit at the end of the stretch, without noise."""
    period = float(now.phase.period)
    swing = 1 + 0.1 * math.sin(2 * math.pi * now.end / period) if period else 1.0
    return load(vendor, now.phase).share * now.climb * swing


def stretches(
    workload: Sequence[Phase], faults: Iterable[FaultSpec], node: str, device: int, now: float
) -> list[Stretch]:
    """What one device has done up to `now`, oldest first; never empty. Faults may halt the work."""
    plan = [p for p in workload if p.node in (None, node) and p.device in (None, device)]
    halts = [f for f in faults if f.fault in _HALTS and f.node == node and f.device in (None, device)]
    halts.sort(key=lambda fault: fault.fault != "process_death")  # a process that hangs can still die
    edges = {0.0, now, *(float(p.at) for p in plan)}
    edges |= {float(f.at) for f in halts} | {float(f.at + f.clear_after) for f in halts if f.clear_after is not None}
    times = sorted(edge for edge in edges if 0 <= edge <= now)
    if len(times) == 1:
        times *= 2
    return [Stretch(begin, end, _phase(plan, halts, begin)) for begin, end in itertools.pairwise(times)]


def last(
    past: Sequence[Stretch], workload: Sequence[Phase], faults: Iterable[FaultSpec], node: str, device: int
) -> Stretch:
    """The stretch that is under way at the end of `past`: one that begins just then has no length yet."""
    now = past[-1].end
    ahead = stretches(workload, faults, node, device, now + 1e-6)[-1]
    return Stretch(ahead.begin, now, ahead.phase)


def spans(past: Sequence[Stretch], present: Stretch) -> list[Span]:
    """The processes that one device has had, oldest first: each stretch of work after an idle one is a new one's."""
    found: list[Span] = []
    begin: float | None = None
    for part in (*past, present):
        if part.phase.phase == "idle":
            if begin is not None:
                found.append(Span(begin, part.begin))
            begin = None
        elif begin is None:
            begin = part.begin
    return found if begin is None else [*found, Span(begin, None)]


def ended_by(faults: Iterable[FaultSpec], node: str, device: int, at: float) -> tuple[int | None, int | None, float]:
    """Exit code, signal and time of a process that ended then: as the fault says, else well.

    A fault of the whole node strikes the process of its first device; the launcher then ends the others with SIGTERM.
    """
    for fault in faults:
        if fault.fault == "process_death" and fault.node == node and fault.device in (None, device) and fault.at == at:
            if fault.device is None and device > 0:
                return None, 15, at + device / 1000
            number = int(fault.parameters.get("signal", 0))
            return (None, number, at) if number else (int(fault.parameters.get("code", 1)), None, at)
    return 0, None, at


def restarts(faults: Iterable[FaultSpec], node: str, now: float) -> int:
    """How often the launcher has begun anew on all of the node."""
    return sum(
        f.fault == "process_death" and f.node == node and f.device is None and f.clear_after is not None
        and f.at + f.clear_after <= now
        for f in faults
    )  # fmt: skip


def done(vendor: str, past: Iterable[Stretch]) -> Done:
    """The sums over `past`; they never fall as time goes on."""
    power = cpu = packets = read = written = 0.0
    for part in past:
        length, asked = part.end - part.begin, load(vendor, part.phase)
        power += asked.share * _climbed(part)
        cpu += asked.cpu * length
        packets += asked.packets * length
        read += asked.read * length
        written += asked.written * length
    return Done(power, cpu, int(packets), int(read), int(written))


_HALTS = {"hang": "hang", "process_death": "idle"}


def _phase(plan: Sequence[Phase], halts: Sequence[FaultSpec], at: float) -> Phase:
    for fault in halts:
        if fault.at <= at and (fault.clear_after is None or at < fault.at + fault.clear_after):
            name = _HALTS[fault.fault]
            kind = str(fault.parameters.get("kind", name)) if name == "hang" else name
            return Phase(at=fault.at, phase="spin" if kind == "spin" else "quiet" if kind == "quiet" else name)  # type: ignore[arg-type]
    begun = [phase for phase in plan if phase.at <= at]
    return max(begun, key=lambda phase: phase.at) if begun else Phase(phase="idle")


def _climbed(part: Stretch) -> float:
    """Seconds of the stretch weighted with how far the power has climbed."""
    ramp = float(part.phase.ramp)
    if not ramp:
        return part.end - part.begin

    def until(age: float) -> float:
        return age * age / (2 * ramp) if age < ramp else age - ramp / 2

    return until(part.end - part.phase.at) - until(part.begin - part.phase.at)

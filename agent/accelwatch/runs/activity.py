"""Whether a device works, spins in a collective, or is quiet: told by its power against its own working level.

Utilization alone reads a hang as busy on NVIDIA (a kernel spins in the collective) and as idle on Ascend, where it
also reads 0 while profiling is on. The thresholds are those of reference/reliability.md section 4.3.
"""

from __future__ import annotations

import enum
import math

import msgspec

from accelwatch.runs import reference
from accelwatch.runs.reference import Reference
from accelwatch.runs.sample import Sample

# Of the power between idle and the working level (4.3).
BUSY_POWER, WAITING_POWER = 0.5, 0.35
BUSY_UTILIZATION, SPIN_UTILIZATION, QUIET_UTILIZATION = 0.2, 0.9, 0.05
# The reference steps by 15 s: utilization that flickers around a threshold while power is low is one state. What is
# far from a threshold is cut, so that a device which goes from one to the other is seen to do so within 15 s.
UTILIZATION_SMOOTHING_SECONDS = 8.0
LOW_UTILIZATION_CUT, HIGH_UTILIZATION_CUT = 0.2, 0.7
# Work is not credible below this share of the power between idle and limit: a collective spins at 9 to 17 % of it
# (H100 12 %, H100 PCIe 9 %, H20 17 %: reference/nvidia.md section 7), so a run that hangs in its first collective
# would set its own level. Where no limit is told, below a fifth
# above idle, and never within the noise of a small chip's sensor.
LEAST_SPAN_OF_LIMIT, LEAST_SPAN_OF_IDLE, LEAST_SPAN_WATTS = 0.2, 0.2, 3.0
# Traffic is low below 2 % of its usual rate or 100 packets a minute; looked at by the minute, as the Ascend device
# plug-in does (reference/reliability.md 4.1), since the counters are read less often than power.
LOW_TRAFFIC_SHARE, LOW_TRAFFIC_PER_SECOND, TRAFFIC_WINDOW_SECONDS = 0.02, 100 / 60, 60.0
# A counter that has not moved may just not have been read again: sources read these every minute at the slowest.
STILL_WINDOW_SECONDS = 130.0
# By then each of them has been read again: a minute, and one reading more.
COUNTER_AGE_SECONDS = 70.0
# A reading stands for the time since the one before, but not for a gap: at most for twice the usual distance.
GAP_FACTOR = 2.0
# The memory of a process that is gone: what remains is the driver's own.
RELEASED_SHARE = 0.2


class Activity(enum.StrEnum):
    """What a device does. `MIXED`: neither at work nor waiting. `UNKNOWN`: fewer than two signals."""

    BUSY = "busy"
    SPIN = "spin"
    QUIET = "quiet"
    MIXED = "mixed"
    UNKNOWN = "unknown"

    @property
    def waiting(self) -> bool:
        """It does nothing for the run."""
        return self in (Activity.SPIN, Activity.QUIET)


class Counter(msgspec.Struct, frozen=True):
    """One counter of packets: when it last moved, and how long after the time before."""

    packets: int
    moved_at: float
    gap: float = COUNTER_AGE_SECONDS

    def seen(self, packets: int, at: float) -> Counter:
        """The counter after one more look."""
        return self if packets == self.packets else Counter(packets, at, at - self.moved_at)

    def read_at(self, now: float) -> float:
        """Its number is at least as new as that. One that stands still has been read since it moved."""
        return max(self.moved_at, now - max(self.gap, COUNTER_AGE_SECONDS))


class Traffic(msgspec.Struct, frozen=True):
    """A device's packets: where the present window began, the rate of the last whole one, the rate at work.

    What a window counts may have flowed before it began, after `since`: the counters are read less often than looked
    at. `rate_since` is the same of the last whole one.
    """

    began: float
    packets: int
    rate: float | None = None  # per second
    rate_since: float = 0.0
    usual: float | None = None
    since: float = 0.0
    counters: tuple[Counter, ...] = ()

    @property
    def flowing(self) -> bool | None:
        """By the last whole window."""
        if self.rate is None:
            return None
        return self.rate >= max(LOW_TRAFFIC_PER_SECOND, LOW_TRAFFIC_SHARE * (self.usual or 0.0))


class DeviceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of one device of a run. Times are steady seconds."""

    at: float
    activity: Activity = Activity.UNKNOWN
    cadence: float | None = None  # usual distance between readings
    covered: float = 0.0  # seconds that the last reading stands for
    last_busy: float | None = None  # its last progress
    busy_seconds: float = 0.0  # since the PID set began
    load: float | None = None  # (power - idle) / (working level - idle)
    low_utilization: float | None = None  # smoothed while power is low, and cut above
    high_utilization: float | None = None  # likewise, cut below
    power: Reference = Reference()
    clock_hertz: float | None = None  # at work
    traffic: Traffic | None = None
    memory_peak: int | None = None
    released: bool = False


def observe(
    state: DeviceState | None, sample: Sample, idle: float | None, *, frozen: bool, cpu_low: bool | None
) -> DeviceState:
    """The device after one reading. `idle`: watts; `frozen`: its run stalls, so its working level is not learned."""
    if state is None:
        state = DeviceState(at=sample.at)
        covered = 0.0
    elif sample.at <= state.at:
        return state
    else:
        distance = sample.at - state.at
        covered = min(distance, GAP_FACTOR * (state.cadence or distance))
    cadence = state.cadence
    if covered:
        cadence = covered if cadence is None else cadence + 0.2 * (covered - cadence)
    load, spin_load, works = _loads(state, sample, idle)
    low, high = _smoothed(state, sample, load, covered)
    traffic = _traffic(state.traffic, sample, state.activity)
    activity = _classify(sample, load, spin_load, low, high, traffic.flowing if traffic else None, cpu_low)
    busy = activity is Activity.BUSY
    power = state.power
    if works and not frozen and covered and not activity.waiting and sample.power_watts:
        power = reference.add(power, sample.power_watts, covered)
    clock = state.clock_hertz
    if busy and sample.clock_hertz:
        share = 1 - math.exp(-covered / reference.MEMORY_SECONDS)
        clock = sample.clock_hertz if clock is None else clock + share * (sample.clock_hertz - clock)
    used, peak = sample.memory_used_bytes, state.memory_peak
    if used is not None:
        peak = max(used, peak or 0)
    return DeviceState(
        at=sample.at,
        activity=activity,
        cadence=cadence,
        covered=covered,
        last_busy=sample.at if busy else state.last_busy,
        busy_seconds=state.busy_seconds + (covered if busy else 0.0),
        load=load,
        low_utilization=low,
        high_utilization=high,
        power=power,
        clock_hertz=clock,
        traffic=traffic,
        memory_peak=peak,
        released=used is not None and bool(peak) and used < RELEASED_SHARE * (peak or 0),
    )


def _loads(state: DeviceState, sample: Sample, idle: float | None) -> tuple[float | None, float | None, bool]:
    """The load, the load at which it would spin at its present clock, and whether its power is credible work."""
    watts, limit = sample.power_watts, sample.power_limit_watts
    if watts is None or idle is None:
        return None, None, False
    span = LEAST_SPAN_OF_LIMIT * (limit - idle) if limit is not None else LEAST_SPAN_OF_IDLE * idle
    span = max(span, LEAST_SPAN_WATTS)
    works = watts >= idle + span
    level = state.power.value
    if level is None:  # not known yet: it can only be said when it surely does not work
        return (None, None, works) if works else (0.0, 0.0, works)
    if limit is not None:
        level = min(level, limit)  # a power cap lowers it on all
    level = max(level, idle + span)
    load = spin_load = (watts - idle) / (level - idle)
    if state.clock_hertz and sample.clock_hertz and sample.clock_hertz < state.clock_hertz:
        # Slower clocks draw less at full work. A device that spins keeps its clock, so this hides no wait.
        spin_load = load * state.clock_hertz / sample.clock_hertz
    return load, spin_load, works


def _smoothed(
    state: DeviceState, sample: Sample, load: float | None, covered: float
) -> tuple[float | None, float | None]:
    """Utilization for the test of quiet and for that of spin."""
    now = sample.utilization_ratio
    if now is None:
        return None, None
    low, high = state.low_utilization, state.high_utilization
    low_now, high_now = min(now, LOW_UTILIZATION_CUT), max(now, HIGH_UTILIZATION_CUT)
    waited = state.load is not None and state.load < WAITING_POWER
    if low is None or high is None or load is None or load >= WAITING_POWER or not waited:
        return low_now, high_now  # what it did before it stopped working says nothing
    share = 1 - math.exp(-covered / UTILIZATION_SMOOTHING_SECONDS)
    return low + share * (low_now - low), high + share * (high_now - high)


def _traffic(traffic: Traffic | None, sample: Sample, activity: Activity) -> Traffic | None:
    packets = sample.traffic_packets
    if packets is None:
        return None
    parts = sample.traffic_parts or (packets,)
    if traffic is None or packets < traffic.packets or len(parts) != len(traffic.counters):
        counters = tuple(Counter(part, sample.at - COUNTER_AGE_SECONDS) for part in parts)
        return Traffic(sample.at, packets, since=sample.at - COUNTER_AGE_SECONDS, counters=counters)
    if parts != tuple(counter.packets for counter in traffic.counters):
        moved = tuple(c.seen(part, sample.at) for c, part in zip(traffic.counters, parts, strict=True))
        traffic = msgspec.structs.replace(traffic, counters=moved)
    length = sample.at - traffic.began
    if length < (TRAFFIC_WINDOW_SECONDS if packets > traffic.packets else STILL_WINDOW_SECONDS):
        return traffic
    rate, usual = (packets - traffic.packets) / length, traffic.usual
    if activity is Activity.BUSY:
        share = 1 - math.exp(-length / reference.MEMORY_SECONDS)
        usual = rate if usual is None else usual + share * (rate - usual)
    since = min(counter.read_at(sample.at) for counter in traffic.counters)
    return Traffic(sample.at, packets, rate, traffic.since, usual, since, traffic.counters)


def _classify(
    sample: Sample,
    load: float | None,
    spin_load: float | None,
    low: float | None,
    high: float | None,
    flowing: bool | None,
    cpu_low: bool | None,
) -> Activity:
    silent = (sample.power_watts, sample.utilization_ratio, flowing, cpu_low).count(None)
    if silent > 2:
        return Activity.UNKNOWN
    if load is None or spin_load is None:
        if sample.power_watts is not None:
            return Activity.UNKNOWN  # at work, as it seems, but its level is not known yet
        return _without_power(sample, flowing, cpu_low)
    if load >= BUSY_POWER:
        # An NPU that draws its power works, whatever its utilization says: that reads 0 while it is profiled.
        utilization = sample.utilization_ratio
        at_work = utilization is None or utilization >= BUSY_UTILIZATION or sample.vendor == "ascend"
        return Activity.BUSY if at_work else Activity.MIXED
    if load >= WAITING_POWER:
        return Activity.MIXED
    if low is None or high is None:
        return Activity.MIXED if flowing else Activity.QUIET
    if high >= SPIN_UTILIZATION:
        return Activity.MIXED if sample.throttled or spin_load >= WAITING_POWER else Activity.SPIN
    return Activity.QUIET if low <= QUIET_UTILIZATION else Activity.MIXED


def _without_power(sample: Sample, flowing: bool | None, cpu_low: bool | None) -> Activity:
    utilization = sample.utilization_ratio
    if utilization is None:
        return Activity.UNKNOWN if flowing or not cpu_low else Activity.QUIET
    if utilization <= QUIET_UTILIZATION:
        return Activity.QUIET  # its traffic, which is known late, is for its run to weigh
    if utilization < BUSY_UTILIZATION:
        return Activity.MIXED
    if flowing is None:  # a collective that waits leaves the AI Core idle, but a GPU at full utilization
        return Activity.BUSY if sample.vendor == "ascend" else Activity.UNKNOWN
    if flowing:
        return Activity.BUSY
    return Activity.SPIN if utilization >= SPIN_UTILIZATION else Activity.MIXED

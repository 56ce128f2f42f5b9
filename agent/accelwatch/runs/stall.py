"""Whether this node's share of a run stalls, since when, and what each of its devices does meanwhile.

The detector of reference/reliability.md section 4.3. Whether the *run* hangs is decided over all nodes in
alerts/rules/hangs.yml: a node cannot know whether the others work.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Iterable, Mapping

import msgspec

from accelwatch.runs import activity as activities
from accelwatch.runs import pauses
from accelwatch.runs.activity import Activity, DeviceState
from accelwatch.runs.idle import Floor, idle_watts
from accelwatch.runs.pauses import CEILING_SECONDS, HOLD_SECONDS, Io, Pause
from accelwatch.runs.sample import Sample, Work

# Thresholds of reference/reliability.md 4.3.
WARN_SECONDS = 180.0
LEAST_HANG_SECONDS, MOST_HANG_SECONDS, BENIGN_FACTOR = 300.0, 1800.0, 3.0
STARTUP_SECONDS = 7200.0
ARMED_BUSY_SECONDS = 60.0
WAITING_SHARE, PROGRESS_SHARE, KNOWN_SHARE = 0.9, 0.5, 0.8
CLEAR_BUSY_SECONDS = 60.0
LEAST_RUN_SIZE = 2
# A wait is flagged within 60 s where a member device has a fault in force: after half a minute, or a little later
# than the run's benign waits; 48 s leave room for one 10 s reading.
CAUSE_SECONDS, MOST_CAUSE_SECONDS, CAUSE_MARGIN_SECONDS = 30.0, 48.0, 10.0
# One step of the reference. Devices that neither work nor wait end a wait after so long; in shorter spells, up to a
# tenth of the time, they do not.
MIXED_SECONDS, MIXED_SHARE = 15.0, 0.1
# A stall is over, too, when its devices have not waited for so long, though none came back to its old level.
MIXED_CLEAR_SECONDS = 300.0
# A wait is dated back to the last progress where that was not longer before it: power and utilization lag.
BACKDATE_SECONDS = 30.0
# From then on working levels are not learned: an unfrozen one sank to the wait level in the reference's trial.
FREEZE_SECONDS = 30.0
# A run whose launcher tells no size may be a server or a notebook, which wait for people: it must have worked half of
# the last half hour to be judged, and half of its devices must spin for half of the wait, since only in a collective
# does a device wait like that.
STEADY_SHARE, STEADY_MEMORY_SECONDS = 0.5, 720.0
SPINNING_SHARE = 0.5
# A wait with a gap longer than this and with less than 80 % known begins anew: it might have been two.
GAP_SECONDS = 60.0
_MOST_STEP_SECONDS = 60.0


class Level(enum.IntEnum):
    """The value of `accelwatch_run_stalled`."""

    NONE = 0
    WARN = 1
    HANG = 2


class Wait(msgspec.Struct, frozen=True):
    """The wait under way. `covered`: seconds of it in which the devices were known."""

    since: float
    covered: float = 0.0
    mixed: float = 0.0
    steady: bool = True
    spun: float = 0.0  # seconds in which half of its devices spun, or more


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a run's share. Times are steady seconds; devices by `Sample.key`."""

    at: float
    began: float  # of the PID set
    pids: tuple[int, ...] = ()
    devices: dict[str, DeviceState] = {}
    io: Io | None = None
    wait: Wait | None = None
    longest: float = 0.0  # benign wait, in seconds
    level: Level = Level.NONE
    since: float | None = None  # onset of the stall that `level` speaks of
    recovered: float = 0.0  # seconds of work since
    mixed: float = 0.0  # seconds of neither since
    steady: float = 0.0  # share of time at work
    pause: Pause | None = None
    paused_at: float = 0.0  # the first sign of it without a break
    paused_until: float = 0.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported of a run's share."""

    level: Level | None  # `None`: fewer than 80 % of its devices are known
    since: float | None  # onset: the last progress before the stall, in steady seconds; `None` without one
    threshold: float  # seconds from onset to hang; before the run is armed, the ceiling of its start
    armed: bool
    pause: Pause | None
    activities: dict[str, Activity]  # of the devices whose readings are fresh
    last_progress: dict[str, float]


def step(
    state: State | None,
    samples: Iterable[Sample],
    work: Work,
    now: float,
    *,
    floors: Mapping[str, Floor],
    active_cause: bool = False,
) -> tuple[State, Verdict]:
    """The next state and what it says. `samples`: new or old readings of the devices that the run holds here.

    `floors`: `idle.observe` of the node. `active_cause`: a run-ending cause is in force on a member device or node.
    """
    pids = tuple(sorted(work.pids))
    if state is None:
        state = State(at=now, began=now, pids=pids)
    elif pids and pids != state.pids:
        state = msgspec.structs.replace(_disarmed(state, pids, now), io=None)
    io = pauses.measure(state.io, work)
    seconds = min(max(0.0, now - state.at), _MOST_STEP_SECONDS)
    devices = _observe(state, samples, work, io, now, floors)
    state = msgspec.structs.replace(state, at=now, devices=devices, io=io)
    if sum(device.released for device in devices.values()) * 2 > len(devices):
        state = _disarmed(state, state.pids, now)  # reset, or its processes are gone
    fresh = {key: device for key, device in devices.items() if now - device.at <= _fresh_for(device)}
    shown = {key: device.activity for key, device in fresh.items()}
    known = [device for device in fresh.values() if device.activity is not Activity.UNKNOWN]
    observed = bool(work.devices) and len(known) >= KNOWN_SHARE * len(work.devices)
    if observed:
        state = _judge(state, known, work, seconds, active_cause)
    armed = _armed(state)
    return state, Verdict(
        level=state.level if observed else None,
        since=state.since,
        threshold=threshold(state) if armed else STARTUP_SECONDS,
        armed=armed,
        pause=state.pause if now < state.paused_until else None,
        activities=shown,
        last_progress={key: device.last_busy for key, device in devices.items() if device.last_busy is not None},
    )


def threshold(state: State) -> float:
    """Seconds of waiting after which an armed run hangs."""
    return min(max(LEAST_HANG_SECONDS, BENIGN_FACTOR * state.longest), MOST_HANG_SECONDS)


def _cause_threshold(state: State) -> float:
    return min(max(CAUSE_SECONDS, state.longest + CAUSE_MARGIN_SECONDS), MOST_CAUSE_SECONDS)


def _disarmed(state: State, pids: tuple[int, ...], now: float) -> State:
    devices = {
        key: msgspec.structs.replace(device, busy_seconds=0.0, memory_peak=None, released=False)
        for key, device in state.devices.items()
    }
    return State(at=state.at, began=now, pids=pids, devices=devices, io=state.io, longest=state.longest)


def _observe(
    state: State, samples: Iterable[Sample], work: Work, io: Io, now: float, floors: Mapping[str, Floor]
) -> dict[str, DeviceState]:
    members = set(work.devices)
    waits = state.wait is not None and now - state.wait.since >= FREEZE_SECONDS
    frozen = state.level > Level.NONE or (waits and _armed(state))
    cpu_low = io.cpu_low(now, len(members))
    devices = {key: device for key, device in state.devices.items() if key in members}
    for sample in samples:
        key = sample.key
        if key in members:
            idle = idle_watts(sample, floors.get(key))
            devices[key] = activities.observe(devices.get(key), sample, idle, frozen=frozen, cpu_low=cpu_low)
    return devices


def _fresh_for(device: DeviceState) -> float:
    """A reading counts until the one after next is overdue."""
    return max(5.0, 2.5 * (device.cadence or 0.0))


def _armed(state: State) -> bool:
    """After real work: median BUSY of at least a minute since the PID set began."""
    if not state.devices:
        return False
    return statistics.median(device.busy_seconds for device in state.devices.values()) >= ARMED_BUSY_SECONDS


def _judge(state: State, known: list[DeviceState], work: Work, seconds: float, active_cause: bool) -> State:
    waiting = sum(device.activity.waiting for device in known)
    busy = sum(device.activity is Activity.BUSY for device in known)
    share = 1 - math.exp(-seconds / STEADY_MEMORY_SECONDS)
    if busy >= PROGRESS_SHARE * len(known):
        steady = state.steady + share * (1 - state.steady)
        return _progress(msgspec.structs.replace(state, steady=steady), known, seconds)
    if state.level is Level.NONE:
        state = msgspec.structs.replace(state, steady=state.steady * (1 - share))
    if waiting < WAITING_SHARE * len(known) or _flowing(known, state.wait):
        return _neither(state, seconds)
    return _waiting(state, known, work, seconds, active_cause)


def _progress(state: State, known: list[DeviceState], seconds: float) -> State:
    longest = state.longest
    if state.wait is not None and _armed(state):
        resumed = min(device.last_busy for device in known if device.activity is Activity.BUSY and device.last_busy)
        longest = max(longest, resumed - state.wait.since)
    recovered = state.recovered + seconds
    level, since = state.level, state.since
    if recovered >= CLEAR_BUSY_SECONDS:
        level, since = Level.NONE, None
    return msgspec.structs.replace(
        state, wait=None, longest=longest, level=level, since=since, recovered=recovered, mixed=0.0
    )


def _neither(state: State, seconds: float) -> State:
    wait = state.wait
    if wait is not None:
        mixed = wait.mixed + seconds
        covered = wait.covered + seconds
        wait = None if mixed >= MIXED_SECONDS else msgspec.structs.replace(wait, mixed=mixed, covered=covered)
    mixed_for = state.mixed + seconds
    level, since = state.level, state.since
    if mixed_for >= MIXED_CLEAR_SECONDS:
        level, since = Level.NONE, None
    return msgspec.structs.replace(state, wait=wait, level=level, since=since, mixed=mixed_for)


def _waiting(state: State, known: list[DeviceState], work: Work, seconds: float, active_cause: bool) -> State:
    now, wait = state.at, state.wait
    if wait is None:
        last = max((device.last_busy for device in known if device.last_busy is not None), default=-math.inf)
        recent = now - last <= max(BACKDATE_SECONDS, 3 * max(device.cadence or 0.0 for device in known))
        since = last if recent else now
        steady = work.world_size is not None or state.steady >= STEADY_SHARE
        wait = Wait(since, now - since, 0.0, steady)
    else:
        mixed = max(0.0, wait.mixed - MIXED_SHARE * seconds)
        wait = msgspec.structs.replace(wait, covered=wait.covered + seconds, mixed=mixed)
        elapsed = now - wait.since
        if elapsed - wait.covered > max(GAP_SECONDS, (1 - KNOWN_SHARE) * elapsed):
            wait = Wait(now, 0.0, 0.0, wait.steady)
    spinning = sum(device.activity is Activity.SPIN for device in known)
    if spinning >= SPINNING_SHARE * len(known):
        wait = msgspec.structs.replace(wait, spun=wait.spun + seconds)
    state = msgspec.structs.replace(state, wait=wait, mixed=0.0)
    shown = [device.activity for device in known]
    if state.io is None:
        seen = None
    else:
        # They worked on until the reading that found them waiting, at the latest.
        begun = wait.since + max(device.cadence or 0.0 for device in known)
        seen = pauses.evidence(state.io, work, shown, since=begun, now=now, active_cause=active_cause)
    if seen is not None:
        goes_on = seen is state.pause and now < state.paused_until
        state = msgspec.structs.replace(
            state, pause=seen, paused_at=state.paused_at if goes_on else now, paused_until=now + HOLD_SECONDS
        )
    level = _level(state, wait, work, now, active_cause)
    if level is Level.NONE:
        return state
    # A wait that began anew, after devices that did neither, is still of the stall that was told.
    since = wait.since if state.since is None or state.recovered else min(state.since, wait.since)
    return msgspec.structs.replace(state, level=max(level, state.level), since=since, recovered=0.0)


def _level(state: State, wait: Wait, work: Work, now: float, active_cause: bool) -> Level:
    """What the wait amounts to."""
    size = work.world_size if work.world_size is not None else len(work.devices)
    elapsed = now - wait.since
    if size < LEAST_RUN_SIZE or not wait.steady or wait.covered < KNOWN_SHARE * elapsed:
        return Level.NONE
    if work.world_size is None and wait.spun < SPINNING_SHARE * wait.covered:
        return Level.NONE
    if not _armed(state):
        return Level.HANG if elapsed >= STARTUP_SECONDS else Level.NONE
    if state.pause is not None and wait.since < state.paused_until:
        # Several pauses may follow each other without a step between: each has its own ceiling, all together the
        # highest. What comes after the last sign of one is a wait of its own.
        begun = wait.since if state.paused_at - wait.since <= HOLD_SECONDS else state.paused_at
        ceiling = max(CEILING_SECONDS[state.pause], threshold(state))
        if state.paused_until - HOLD_SECONDS - begun >= ceiling or elapsed >= STARTUP_SECONDS:
            return Level.HANG
        if now < state.paused_until:
            return Level.NONE
        elapsed = now - max(wait.since, state.paused_until - HOLD_SECONDS)
    if elapsed >= (_cause_threshold(state) if active_cause else threshold(state)):
        return Level.HANG
    return Level.WARN if elapsed >= WARN_SECONDS else Level.NONE


def _flowing(known: list[DeviceState], wait: Wait | None) -> bool:
    """Whether the run's links carry data, by windows that surely lie in the wait; unknown drops out."""
    rates = [device.traffic for device in known if device.traffic is not None and device.traffic.rate is not None]
    if wait is None:
        return False
    rates = [traffic for traffic in rates if traffic.rate_since >= wait.since]
    if not rates:
        return False
    usual = sum(traffic.usual or 0.0 for traffic in rates)
    least = max(activities.LOW_TRAFFIC_PER_SECOND * len(rates), activities.LOW_TRAFFIC_SHARE * usual)
    return sum(traffic.rate or 0.0 for traffic in rates) >= least

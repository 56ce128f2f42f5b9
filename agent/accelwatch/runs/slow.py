"""A device that works, but holds its run up: told from its peers, and from how it used to differ from them.

The straggler rule of reference/reliability.md section 4.4. All ranks of a synchronous run are slow together, so speed
tells nothing: the straggler is the one that waits least. Waiting within a step is shorter than a reading; it shows in
mean power, and what holds a device back in its clock.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

import msgspec

from accelwatch.runs.activity import Activity
from accelwatch.runs.sample import Sample

# 4.4: |z| > 4 and a tenth for at least 4 minutes (Minder's continuity), over 5 minutes, of at least four devices.
LEAST_Z, LEAST_DIFFERENCE, LASTING_SECONDS, LEAST_PEERS = 4.0, 0.1, 240.0, 4
# A mean with this time constant has forgotten 95 % after 5 minutes.
MEMORY_SECONDS = 100.0
# Devices differ by design (pipeline stages, place in the chassis): only a change against a device's own usual
# difference counts. It is learned over half an hour, and not while it stands out.
USUAL_SECONDS, LEAST_HISTORY_SECONDS = 1800.0, 600.0
# Equal devices have no spread to measure by; less than 1 % is noise of the sensors.
LEAST_SPREAD = 0.01
MAD_TO_SIGMA = 1.4826
# While most wait without a break, one works alone (validation, a save): that is not a slow one.
ALONE_SECONDS = 20.0
_MOST_STEP_SECONDS = 30.0
# A run that goes on is looked at so often: a twentieth of what its means remember, half the interval of npu-smi.
LOOK_SECONDS = 5.0


class Metric(msgspec.Struct, frozen=True):
    """What is compared. `slow`: the sign of a straggler's difference, 0 for either; `share`: an absolute one.

    `alone`: whether it proves a straggler by itself.
    """

    name: str
    slow: int
    share: bool = False
    alone: bool = True


WAITING = Metric("waiting", -1, share=True)
CLOCK = Metric("clock", -1)
POWER = Metric("power", 0)
TEMPERATURE = Metric("temperature", 1, alone=False)  # a hot place is no fault; it goes with one
STEP_TIME = Metric("step_time", 1)  # where something tells it
METRICS = (WAITING, CLOCK, POWER, TEMPERATURE, STEP_TIME)
_BY_NAME = {metric.name: metric for metric in METRICS}
_PACE = frozenset((WAITING.name, CLOCK.name, STEP_TIME.name))


class Track(msgspec.Struct, frozen=True):
    """One metric of one device: its mean, and its difference from its peers' median."""

    mean: float
    usual: float | None = None
    learned: float = 0.0  # seconds of history in `usual`
    since: float | None = None  # it stands out since then
    lasted: float = 0.0  # seconds that were judged since
    difference: float = 0.0
    z: float = 0.0


class State(msgspec.Struct, frozen=True):
    """Tracks by device and metric; times are steady seconds."""

    at: float
    tracks: dict[str, dict[str, Track]] = {}
    alone_since: float | None = None


class Straggler(msgspec.Struct, frozen=True):
    """A device that stands out. `difference`: of its peers' median (a share: in points), both as a fraction."""

    device: str
    metric: str
    since: float
    difference: float
    usual: float
    z: float
    also: tuple[str, ...] = ()  # further metrics in which it stands out

    @property
    def of_pace(self) -> bool:
        """Whether it is told as a fault: its clock shows it, or its waiting or its steps show it most.

        Power also rises on the one rank that validates or saves for all, for minutes, and it waits less meanwhile: in
        30 simulated days of ordinary work on a node of eight that named 13 devices that held nothing up.
        """
        return self.metric in _PACE or CLOCK.name in self.also

    @property
    def message(self) -> str:
        """For a person."""
        also = f"; also in {', '.join(self.also)}" if self.also else ""
        return (
            f"{self.metric} {self.difference:+.0%} against its peers (usually {self.usual:+.0%}), z {self.z:+.1f}{also}"
        )


def values(sample: Sample, activity: Activity) -> dict[str, float]:
    """What a device's reading tells of it, by metric."""
    found = {
        CLOCK.name: sample.clock_hertz,
        POWER.name: sample.power_watts,
        TEMPERATURE.name: sample.temperature_celsius,
        WAITING.name: None if activity is Activity.UNKNOWN else float(activity.waiting),
    }
    return {name: value for name, value in found.items() if value is not None}


def step(
    state: State | None,
    readings: Mapping[str, Mapping[str, float]],
    now: float,
    *,
    roles: Mapping[str, str] | None = None,
    stalled: bool = False,
) -> tuple[State, tuple[Straggler, ...]]:
    """The next state, and who holds the run up. `readings`: metrics of each device of the run on this node.

    `roles`: which devices do the same work; without, all of them. `stalled`: the run waits as a whole (any level, or
    not known, or in a pause), so nothing is learned from it.
    """
    if state is None:
        state = State(now)
    seconds = min(max(0.0, now - state.at), _MOST_STEP_SECONDS)
    alone = _alone_since(state, readings, now)
    if stalled or (alone is not None and now - alone >= ALONE_SECONDS):
        return State(now, state.tracks, alone), _stragglers(state)
    tracks = {device: _means(state.tracks.get(device, {}), got, seconds) for device, got in readings.items()}
    groups: dict[str, list[str]] = {}
    for device in tracks:
        groups.setdefault(roles.get(device, "") if roles else "", []).append(device)
    for members in groups.values():
        for metric in METRICS:
            _compare(tracks, members, metric, now, seconds)
    state = State(now, tracks, alone)
    return state, _stragglers(state)


def _alone_since(state: State, readings: Mapping[str, Mapping[str, float]], now: float) -> float | None:
    waiting = [got[WAITING.name] for got in readings.values() if WAITING.name in got]
    if not waiting or 2 * sum(waiting) <= len(waiting):
        return None
    return now if state.alone_since is None else state.alone_since


def _means(before: Mapping[str, Track], got: Mapping[str, float], seconds: float) -> dict[str, Track]:
    share = 1 - math.exp(-seconds / MEMORY_SECONDS)
    result = {}
    for name, value in got.items():
        track = before.get(name)
        if track is None:
            result[name] = Track(value)
        else:
            result[name] = msgspec.structs.replace(track, mean=track.mean + share * (value - track.mean))
    return result


def _compare(
    tracks: dict[str, dict[str, Track]], members: list[str], metric: Metric, now: float, seconds: float
) -> None:
    """Sets each member's difference, and since when it stands out."""
    peers = [device for device in members if metric.name in tracks[device]]
    if len(peers) < LEAST_PEERS:
        for device in peers:
            track = tracks[device][metric.name]
            tracks[device][metric.name] = msgspec.structs.replace(track, since=None, lasted=0.0)
        return
    means = [tracks[device][metric.name].mean for device in peers]
    median = statistics.median(means)
    scale = 1.0 if metric.share else abs(median)
    if scale == 0:
        return
    spread = MAD_TO_SIGMA * statistics.median(abs(mean - median) for mean in means) / scale
    for device, mean in zip(peers, means, strict=True):
        difference = (mean - median) / scale
        z = difference / max(spread, LEAST_SPREAD)
        track = tracks[device][metric.name]
        usual = difference if track.usual is None else track.usual
        out = (
            track.learned >= LEAST_HISTORY_SECONDS
            and abs(z) > LEAST_Z
            and abs(difference) >= LEAST_DIFFERENCE
            and _changed(difference - usual, metric)
            and (metric.slow == 0 or difference * metric.slow > 0)
        )
        if out:
            since, learned = now if track.since is None else track.since, track.learned
            lasted = 0.0 if track.since is None else track.lasted + seconds
        else:
            # It learns fast at first, so that the history does not hang on the first reading.
            share = 1 - math.exp(-seconds / min(USUAL_SECONDS, max(track.learned, MEMORY_SECONDS)))
            usual += share * (difference - usual)
            since, lasted, learned = None, 0.0, min(track.learned + seconds, USUAL_SECONDS)
        tracks[device][metric.name] = Track(track.mean, usual, learned, since, lasted, difference, z)


def _changed(change: float, metric: Metric) -> bool:
    if metric.slow == 0:
        return abs(change) >= LEAST_DIFFERENCE
    return change * metric.slow >= LEAST_DIFFERENCE


def _stragglers(state: State) -> tuple[Straggler, ...]:
    found = []
    for device, by_metric in state.tracks.items():
        out = {name: track for name, track in by_metric.items() if track.since is not None}
        lasting = [
            (name, track) for name, track in out.items() if _BY_NAME[name].alone and track.lasted >= LASTING_SECONDS
        ]
        if lasting:
            name, track = max(lasting, key=lambda item: abs(item[1].z))
            also = tuple(other for other in out if other != name)
            since, usual = track.since or state.at, track.usual or 0.0
            found.append(Straggler(device, name, since, track.difference, usual, track.z, also))
    return tuple(found)

"""Series of faults, of exposure, and of what can be seen at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from accelwatch.faults.episode import Episode
from accelwatch.metrics import catalogue as c
from accelwatch.metrics.exposition import Labels, Lines
from accelwatch.reliability.exposure import Exposure
from accelwatch.taxonomy.model import FaultClass


class DeviceCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one device, or of the host (device and model empty)."""

    vendor: str
    device: str
    model: str
    episodes: Mapping[str, float]  # class -> episodes
    exposure: Mapping[str, float] | None  # state -> seconds; `None` for the host


class FaultView(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of faults. `episodes`: active, or over for less than an hour."""

    counts: tuple[DeviceCounts, ...]
    episodes: tuple[Episode, ...]
    observable: Mapping[tuple[str, str], bool]  # (vendor, class)
    unjournalled: int = 0


def add_faults(lines: Lines, view: FaultView, classes: Mapping[str, FaultClass]) -> None:
    """All series of faults. Counters move rarely: their lines are kept from one page to the next."""
    for counts in view.counts:
        device = (counts.vendor, counts.device, counts.model)
        lines.keep(("episodes", *device), counts.episodes, partial(_add_episodes, device, counts.episodes, classes))
        if counts.exposure is not None:
            lines.keep(("exposure", *device), counts.exposure, partial(_add_exposure, device, counts.exposure))
    _add_active(lines, view.episodes)
    lines.keep(("observable",), view.observable, partial(_add_observable, view.observable))
    lines.add(c.FAULTS_UNJOURNALLED, (), view.unjournalled)


def _add_episodes(device: Labels, counts: Mapping[str, float], classes: Mapping[str, FaultClass], lines: Lines) -> None:
    for name, class_ in classes.items():
        count = counts.get(name, 0)
        lines.add(c.FAULT_EPISODES, (*device, name, class_.severity.value), count)
        if count > 0:
            lines.add(c.FAULT_EPISODES_NONZERO, (*device, name), count)


def _add_exposure(device: Labels, seconds: Mapping[str, float], lines: Lines) -> None:
    for state in Exposure:
        lines.add(c.EXPOSURE, (*device, state.value), round(seconds.get(state.value, 0.0), 3))


def _add_observable(observable: Mapping[tuple[str, str], bool], lines: Lines) -> None:
    for labels, seen in observable.items():
        lines.add(c.CLASS_OBSERVABLE, labels, int(seen))


def _add_active(lines: Lines, episodes: Iterable[Episode]) -> None:
    """Labels that an escalation replaced fall to 0; two episodes with the same ones are one series."""
    values: dict[tuple[str, ...], tuple[int, bool]] = {}
    for episode in episodes:
        device = (episode.vendor, episode.device or "", episode.model)
        for labels in episode.former_labels:
            values.setdefault((*device, *labels), (0, episode.drill))
        if episode.active or values.get((*device, *episode.labels), (0, False))[0] == 0:
            values[(*device, *episode.labels)] = (int(episode.active), episode.drill)
    for key, (value, drill) in values.items():
        if drill:
            names = (*c.FAULT_ACTIVE.labels, "drill")
            lines.add_with(c.FAULT_ACTIVE, dict(zip(names, (*key, "true"), strict=True)), value)
        else:
            lines.add(c.FAULT_ACTIVE, key, value)

"""Sums of what was recorded, by slot, by serial number, and by node."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from accelwatch.reliability.classes import primary
from accelwatch.reliability.recorded import DAY, RECORDED_EVERY, Value, Window

HOST = "host"
Key = TypeVar("Key")
Sums = defaultdict[Key, float]


def sums() -> defaultdict[Any, float]:
    """Of seconds, each 0 at first."""
    return defaultdict(float)


class Kin(NamedTuple):
    """Devices that are one group of the comparison."""

    cluster: str
    vendor: str
    model: str


class Place(NamedTuple):
    """A slot. The devices that were in it one after the other are one: a device that is taken out for its fault has
    one event over a short time, which says nothing of it."""

    kin: Kin
    node: str
    device: str


@dataclass
class Serial:
    """One serial number. Days are those of the window; samples of a day are taken to lie together."""

    kin: Kin
    node: str
    device: str
    installed: float
    first_day: int
    first_samples: int
    last_day: int
    last_samples: int
    failed_day: int = -1  # the last one with a hardware fault that ends runs
    down_day: int = -1  # the last one on which it was down, unplanned


@dataclass
class Tally:
    """Seconds, and counts that are whole."""

    window: Window
    period_days: int
    every: float = RECORDED_EVERY
    hosts_asked: bool = True  # else what befell hosts is not known
    serials: dict[tuple[str, str], Serial] = field(default_factory=dict)
    episodes: Counter[tuple[Place, str]] = field(default_factory=Counter)
    period_episodes: Counter[tuple[Kin, str, int]] = field(default_factory=Counter)
    maintenance_episodes: Counter[tuple[Kin, str]] = field(default_factory=Counter)
    # What stands on no device: (cluster, node, class). `None` until it is known whose node it is.
    host_episodes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    seconds: dict[Place, Sums[str]] = field(default_factory=lambda: defaultdict(sums))
    period_seconds: Sums[tuple[Kin, int]] = field(default_factory=sums)
    known_seconds: Sums[tuple[Kin, str]] = field(default_factory=sums)
    shares: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    recorded_seconds: Sums[str] = field(default_factory=sums)
    drills: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    repairs: dict[tuple[str, str, str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    detects: dict[tuple[Kin, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    interruptions: Counter[tuple[Kin, str, str]] = field(default_factory=Counter)
    lost: Counter[tuple[Kin, str, str]] = field(default_factory=Counter)

    def add(self, one: Value) -> None:
        """One day of one series. Raises `ValueError` for a count or a time below 0."""
        if one.value < 0:
            raise ValueError(f"{one.name} of {dict(one.labels)}: {one.value}, expected 0 or more")
        getattr(self, f"_{one.name}")(one.labels, one)

    def ended(self, day: int, samples: int) -> float:
        """When the last of so many samples of a day stood there, had they begun with the day."""
        return min(self.window.end, self.window.start + day * DAY + samples * self.every)

    def began(self, day: int, samples: int) -> float:
        """When the hour of the first of so many samples began, had they gone on to the day's end."""
        end = min(self.window.end, self.window.start + (day + 1) * DAY)
        return max(self.window.start, end - samples * self.every)

    def _episodes(self, labels: Mapping[str, str], one: Value) -> None:
        place, class_, count = _place(labels), labels.get("class", ""), round(one.value)
        self.episodes[place, class_] += count
        self.period_episodes[place.kin, class_, one.day // self.period_days] += count
        if class_ in primary():
            serial = self._serial(labels, place)
            serial.failed_day = max(serial.failed_day, one.day)

    def _host_episodes(self, labels: Mapping[str, str], one: Value) -> None:
        key = labels.get("cluster", ""), labels.get("node", ""), labels.get("class", "")
        self.host_episodes[key] += round(one.value)

    def _maintenance_episodes(self, labels: Mapping[str, str], one: Value) -> None:
        self.maintenance_episodes[_kin(labels), labels.get("class", "")] += round(one.value)

    def _exposure(self, labels: Mapping[str, str], one: Value) -> None:
        place, state = _place(labels), labels.get("state", "")
        self.seconds[place][state] += one.value
        if state == "powered":
            self.period_seconds[place.kin, one.day // self.period_days] += one.value

    def _down(self, labels: Mapping[str, str], one: Value) -> None:
        place = _place(labels)
        planned = labels.get("planned") == "true"
        self.seconds[place]["down_planned" if planned else "down"] += one.value
        if not planned:
            serial = self._serial(labels, place)
            serial.down_day = max(serial.down_day, one.day)

    def _installed(self, labels: Mapping[str, str], one: Value) -> None:
        serial = self._serial(labels, _place(labels))
        serial.installed = min(serial.installed, one.value)

    def _known(self, labels: Mapping[str, str], one: Value) -> None:
        place, samples = _place(labels), round(one.value)
        serial = self._serial(labels, place)
        if one.day < serial.first_day or serial.first_day < 0:
            serial.first_day, serial.first_samples = one.day, samples
        if one.day > serial.last_day:
            serial.last_day, serial.last_samples = one.day, samples
            serial.node, serial.device = place.node, place.device
        elif one.day == serial.last_day and place.node != serial.node:
            serial.last_samples += samples  # it was moved within the day
        self.known_seconds[place.kin, place.node] += samples * self.every

    def _observable(self, labels: Mapping[str, str], one: Value) -> None:
        self.shares[labels.get("cluster", ""), labels.get("vendor", ""), labels.get("class", "")].append(one.value)

    def _hours(self, labels: Mapping[str, str], one: Value) -> None:
        self.recorded_seconds[labels.get("cluster", "")] += one.value * self.every

    def _drills(self, labels: Mapping[str, str], one: Value) -> None:
        key = labels.get("cluster", ""), labels.get("vendor", ""), labels.get("class", "")
        self.drills[key] += round(one.value)

    def _repair(self, labels: Mapping[str, str], one: Value) -> None:
        key = tuple(labels.get(name, "") for name in ("cluster", "node", "vendor", "device", "class"))
        self.repairs[key].append(one.value)  # type: ignore[index]

    def _detect(self, labels: Mapping[str, str], one: Value) -> None:
        self.detects[_kin(labels), labels.get("cause", "")].append(one.value)

    def _interruptions(self, labels: Mapping[str, str], one: Value) -> None:
        self.interruptions[_kin(labels), labels.get("class", ""), labels.get("outcome", "")] += round(one.value)

    def _lost(self, labels: Mapping[str, str], one: Value) -> None:
        self.lost[_kin(labels), labels.get("class", ""), labels.get("outcome", "")] += round(one.value)

    def _serial(self, labels: Mapping[str, str], place: Place) -> Serial:
        key = labels.get("cluster", ""), labels.get("serial", "")
        found = self.serials.get(key)
        if found is None:
            found = self.serials[key] = Serial(place.kin, place.node, place.device, float("inf"), -1, 0, -1, 0)
        return found


def _kin(labels: Mapping[str, str]) -> Kin:
    return Kin(labels.get("cluster", ""), labels.get("vendor", ""), labels.get("model", ""))


def _place(labels: Mapping[str, str]) -> Place:
    return Place(_kin(labels), labels.get("node", ""), labels.get("device", ""))

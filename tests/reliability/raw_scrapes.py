"""Fifteen hours of raw scrapes of a small fleet, a minute apart, and what truly happened in them.

Two vendors; a replacement an hour after a fault of the old device; a spare with a past; an agent's restart; missed
scrapes; a node that is dark while its agent counts; planned work with a fault in it and a new driver after it; a drill; a
device that is lost for an hour; a journal that is lost; an hour without any scrape, as when Prometheus is down.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

HOURS = 15
MINUTES = HOURS * 60
# Nothing happens of the last two.
CLASSES = ("thermal", "mem_uncorrectable", "pcie_host_link", "device_lost", "power", "unknown")
STATES = ("powered", "busy", "maintenance")
PER_MINUTE = {"powered": 60.0, "busy": 30.0}
NO_PROMETHEUS = range(541, 600)
MAINTENANCE = range(361, 421)  # of node m1
DRILL = range(610, 625)  # on node m1
LOST = range(645, 703)  # m1's device 1, through the end of an hour
LOST_INCIDENT = "m1/lost"
# Node -> minutes in which a scrape fails: a restart, and a network that is gone.
UNSCRAPED = {"n1": range(200, 203), "n3": range(500, 701), "m2": range(800, 820)}
JOURNAL_LOST_AT = 810  # on node m2
MISSED_SHARE = 0.02
EPISODES_PER_MINUTE = 1 / 350  # of each device

Key = tuple[tuple[str, str], ...]


@dataclass
class Device:
    """One serial number in one slot. `since` and `until`: the minutes in which it is there."""

    node: str
    vendor: str
    model: str
    slot: str
    serial: str
    since: int = 0
    until: int = MINUTES + 1
    episodes: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STATES, 0.0))

    @property
    def labels(self) -> dict[str, str]:
        if not self.slot:
            return {"vendor": "host", "device": "", "model": ""}
        return {"vendor": self.vendor, "device": self.slot, "model": self.model}


@dataclass
class Truth:
    """By serial number, from when it was first scraped on."""

    episodes: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_maintenance: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))


def devices() -> list[Device]:
    """H100 on n1 to n3, 910C on m1 and m2; a host has no slot."""
    return [
        Device("n1", "nvidia", "H100", "0", "g0", episodes=Counter(thermal=3), seconds=_past(9_000.0)),
        Device("n1", "nvidia", "H100", "1", "g1", until=437),
        Device("n1", "nvidia", "H100", "1", "g2", since=440),
        Device("n2", "nvidia", "H100", "0", "g3", until=310),
        Device("n2", "nvidia", "H100", "0", "g4", 310, episodes=Counter(thermal=57), seconds=_past(416_200.0)),
        Device("n2", "nvidia", "H100", "1", "g5"),
        Device("n3", "nvidia", "H100", "0", "g6"),
        Device("m1", "ascend", "910C", "0", "a0"),
        Device("m1", "ascend", "910C", "1", "a1"),
        Device("m2", "ascend", "910C", "0", "a2"),
        Device("m2", "ascend", "910C", "1", "a3"),
        Device("m2", "host", "", "", "m2/host/"),
    ]


def _past(seconds: float) -> dict[str, float]:
    return {"powered": seconds, "busy": seconds / 2, "maintenance": 0.0}


class Fleet:
    """What each agent counts, minute by minute, and what a Prometheus gets of it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._devices = devices()
        self._planned = self._plan()
        self.truth = Truth()
        self.series: dict[Key, list[str]] = {}
        for minute in range(MINUTES + 1):
            self._count(minute)
            self._scrape(minute)

    def _plan(self) -> set[tuple[int, str, str]]:
        """(minute, serial, class). One just before the old device of n1 goes out, one at the spare, one in planned
        work, some in the dark, and the first of a journal that begins anew."""
        planned = {
            (431, "g1", "mem_uncorrectable"), (445, "g4", "thermal"), (380, "a0", "thermal"), (640, "g6", "device_lost"),
            (570, "g5", "pcie_host_link"), (645, "a1", "device_lost"), (790, "a2", "thermal"), (840, "a2", "thermal"),
            (845, "m2/host/", "thermal"),
        }  # fmt: skip
        for device in self._devices:
            for minute in range(2, MINUTES - 2):
                if self._random.random() < EPISODES_PER_MINUTE and not self._on_a_seam(device, minute):
                    planned.add((minute, device.serial, self._random.choice(CLASSES[:3])))
        return planned

    def _on_a_seam(self, device: Device, minute: int) -> bool:
        """What no scrape shows, and the minutes that planned work may have on either side."""
        if not device.since + 2 <= minute < device.until - 5:
            return True
        if device.node == "m1":
            return any(abs(minute - edge) <= 3 for edge in (MAINTENANCE.start, MAINTENANCE.stop))
        return device.node == "m2" and UNSCRAPED["m2"].start - 3 <= minute <= JOURNAL_LOST_AT

    def _count(self, minute: int) -> None:
        for device in self._devices:
            if device.node == "m2" and minute == JOURNAL_LOST_AT:
                device.episodes.clear()
                device.seconds = dict.fromkeys(STATES, 0.0)
            if not device.since <= minute < device.until:
                continue
            planned = device.node == "m1" and minute in MAINTENANCE
            for class_ in CLASSES:
                if (minute, device.serial, class_) in self._planned:
                    device.episodes[class_] += 1
                    counts = self.truth.in_maintenance if planned else self.truth.episodes
                    counts[device.serial, class_] += 1
            if minute == device.since or not device.slot or (device.serial == "a1" and minute in LOST):
                continue
            for state, seconds in ({"maintenance": 60.0} if planned else PER_MINUTE).items():
                device.seconds[state] += seconds
                self.truth.seconds[device.serial, state] += seconds

    def _scrape(self, minute: int) -> None:
        found: dict[Key, float] = {}
        if minute not in NO_PROMETHEUS:
            for node in sorted({device.node for device in self._devices}):
                # The last minute is scraped, so that what happened is known.
                missed = self._random.random() < MISSED_SHARE and 1 < minute < MINUTES
                if missed or minute in UNSCRAPED.get(node, ()):
                    found[_key("up", node, job="accelwatch")] = 0
                    continue
                found[_key("up", node, job="accelwatch")] = 1
                found.update(self._page(node, minute))
        for key in self.series.keys() | found.keys():
            values = self.series.setdefault(key, ["_"] * minute)
            if key in found:
                values.append(f"{found[key]:.17g}")
            else:
                there = values and values[-1] not in ("_", "stale")
                values.append("stale" if there and minute not in NO_PROMETHEUS else "_")

    def _page(self, node: str, minute: int) -> Iterator[tuple[Key, float]]:
        planned = node == "m1" and minute in MAINTENANCE
        until = 60 * MAINTENANCE.stop if planned else 0
        yield _key("accelwatch_maintenance_until_timestamp_seconds", node), until
        for class_ in CLASSES:
            for vendor in ("nvidia", "ascend"):
                here = vendor == ("nvidia" if node.startswith("n") else "ascend")
                yield _key("accelwatch_class_observable", node, vendor=vendor, **{"class": class_}), int(here)
        for device in self._devices:
            if device.node != node or not device.since <= minute < device.until:
                continue
            for class_ in CLASSES:
                labels = {**device.labels, "class": class_, "fault_severity": "degrading"}
                yield _key("accelwatch_fault_episodes_total", node, **labels), device.episodes[class_]
                if device.episodes[class_]:
                    nonzero = {**device.labels, "class": class_}
                    yield _key("accelwatch_fault_episodes_nonzero_total", node, **nonzero), device.episodes[class_]
            if not device.slot:
                continue
            driver = "2" if node == "m1" and minute >= MAINTENANCE.stop else "1"
            yield _key("accelwatch_device_info", node, **device.labels, serial=device.serial, driver=driver), 1
            lost = device.serial == "a1" and minute in LOST
            yield _key("accelwatch_device_up", node, **device.labels), int(not lost)
            for state, seconds in device.seconds.items():
                yield _key("accelwatch_device_exposure_seconds_total", node, **device.labels, state=state), seconds
        if node == "m1":
            yield from _active(node, "0", DRILL, minute, incident="m1/drill", drill="true")
            yield from _active(node, "1", LOST, minute, incident=LOST_INCIDENT)


def _active(node: str, device: str, active: range, minute: int, **more: str) -> Iterator[tuple[Key, float]]:
    """A cleared one is shown as 0 for an hour."""
    if active.start <= minute < active.stop + 60:
        labels = {
            "vendor": "ascend", "device": device, "model": "910C", "class": "device_lost",
            "fault_severity": "run_ending", **more,
        }  # fmt: skip
        yield _key("accelwatch_fault_active", node, **labels), int(minute in active)


def _key(name: str, node: str, **labels: str) -> Key:
    return (("__name__", name), ("cluster", "c1"), ("node", node), *sorted(labels.items()))


def text(key: Key) -> str:
    """As in a rule's unit test."""
    labels: Mapping[str, str] = dict(key[1:])
    return key[0][1] + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"

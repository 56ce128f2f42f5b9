"""The hourly series that the recording rules would have made of a fleet, as OpenMetrics, one hour after the other.

Each sample stands at the end of its hour, as when the rules are evaluated then. Only what is above 0 is there, but for
shares and times of installation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from accelwatch.taxonomy.loader import load
from quarters.fleet import Fleet
from quarters.lives import Life
from quarters.nodes import Node
from quarters.plan import HOUR

EXPOSURE = {"powered": "powered", "allocated": "allocated", "busy": "busy", "maintenance": "maintenance"}
DOWN = {"down_planned": "true", "down_unplanned": "false"}
Labels = Mapping[str, str]


class Writer:
    """Of one fleet whose first second is `began` (unix time)."""

    def __init__(self, fleet: Fleet, began: int) -> None:
        self._fleet, self._began = fleet, began
        self._cluster = fleet.plan.cluster
        self._now: dict[Node, list[Life]] = {node: [] for node in fleet.nodes}
        self._coming = sorted(fleet.lives, key=lambda life: life.first, reverse=True)
        self._lines: dict[str, dict[str, str]] = {}  # serial -> beginnings of its lines, as long as it is there
        self._events = self._by_hour()
        self._observable = [
            (
                series("accelwatch:class:observable1h", {"cluster": self._cluster, "vendor": vendor, "class": name}),
                int(bool(class_.observable.get(vendor))),
            )
            for name, class_ in load().classes.items()
            for vendor in ("nvidia", "ascend")
        ]

    def hours(self) -> Iterator[str]:
        """The samples of each hour, as lines."""
        for number in range(self._fleet.plan.span // HOUR):
            yield "".join(self._hour(number))

    def _hour(self, number: int) -> Iterator[str]:
        start, end = number * HOUR, (number + 1) * HOUR
        at = self._began + end
        while self._coming and self._coming[-1].first < end:
            life = self._coming.pop()
            self._now[life.node].append(life)
        for node, here in self._now.items():
            usual = _usual(node, start, end)
            for life in here:
                yield from self._device(life, start, end, at, usual)
            if any(life.last <= end for life in here):
                self._now[node] = [life for life in here if life.last > end]
        for series, value in self._events.pop(number, {}).items():
            yield f"{series} {value} {at}\n"
        for series, share in self._observable:
            yield f"{series} {share} {at}\n"

    def _device(self, life: Life, start: int, end: int, at: int, usual: Mapping[str, int]) -> Iterator[str]:
        whole = life.first <= start and life.last >= end
        disturbed = any(s < end and e > start for s, e in life.down.spans)
        seconds = usual if whole and not disturbed else life.seconds(start, end)
        lines = self._beginnings(life, end - 1)
        for state, value in seconds.items():
            if value:
                yield f"{lines[state]} {value} {at}\n"
        if life.last >= end:  # known when the hour ends
            yield f"{lines['installed']} {self._began + life.installed} {at}\n"

    def _beginnings(self, life: Life, second: int) -> dict[str, str]:
        driver = life.node.driver(second)
        found = self._lines.get(life.serial)
        if found is None or found["driver"] != driver:
            of_device = {"cluster": self._cluster, **life.identity(second)}
            found = {"driver": driver, "installed": series("accelwatch:serial:installed_timestamp_seconds", of_device)}
            for state, label in EXPOSURE.items():
                found[state] = series("accelwatch:serial_exposure:seconds1h", {**of_device, "state": label})
            for state, label in DOWN.items():
                found[state] = series("accelwatch:serial_down:seconds1h", {**of_device, "planned": label})
            self._lines[life.serial] = found
        return found

    def _by_hour(self) -> dict[int, dict[str, int]]:
        """What happens now and then: hour -> series -> value."""
        found: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for life in self._fleet.lives:
            for episode in life.episodes:
                hour = episode.at // HOUR
                labels = {"cluster": self._cluster, **life.identity((hour + 1) * HOUR - 1), "class": episode.class_}
                kind = "maintenance" if episode.planned else "fault"
                found[hour][series(f"accelwatch:serial_{kind}_episodes:count1h", labels)] += 1
                if episode.cleared is not None and episode.cleared < self._fleet.plan.span:
                    labels = {name: labels[name] for name in ("cluster", "node", "vendor", "device", "class")}
                    labels["incident"] = f"{life.serial}-{episode.at}"
                    repaired = series("accelwatch:fault:repair_seconds", labels)
                    found[episode.cleared // HOUR][repaired] = episode.cleared - episode.at
        for number, one in enumerate(self._fleet.interruptions):
            labels = {
                "cluster": self._cluster, "class": one.cause, "outcome": one.outcome, "vendor": one.model.vendor,
                "model": one.model.name,
            }  # fmt: skip
            found[one.at // HOUR][series("accelwatch:run_interruptions:count1h", labels)] += 1
            found[one.at // HOUR][series("accelwatch:run_interruptions:lost_device_seconds1h", labels)] += one.lost
            labels = {
                "cluster": self._cluster, "vendor": one.model.vendor, "model": one.model.name, "cause": one.cause,
                "run_id": str(number), "attempt": "0",
            }  # fmt: skip
            found[one.at // HOUR][series("accelwatch:run_interruption:detect_seconds", labels)] = one.detect
        for drill in self._fleet.drills:
            labels = {"cluster": self._cluster, "vendor": drill.vendor, "class": drill.class_}
            found[drill.at // HOUR][series("accelwatch:drills:count1h", labels)] += 1
        return found


def series(name: str, labels: Labels) -> str:
    """As it stands in a line. None of ours needs an escape."""
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def _usual(node: Node, start: int, end: int) -> dict[str, int]:
    """Of a device that is in service and up."""
    return {
        "powered": node.powered.within(start, end),
        "allocated": node.allocated.within(start, end),
        "busy": node.busy.within(start, end),
        "maintenance": node.maintained.within(start, end),
        "down_planned": node.off.within(start, end),
    }

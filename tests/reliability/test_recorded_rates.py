"""The recording rules, the report and what truly happened, on the same raw scrapes: k is exact, T within two minutes of
each stay of a device.

The same scrapes hold an agent's restart, missed scrapes, replacements, planned work, a drill, a lost journal, and an
hour in which nothing was scraped (raw_scrapes.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.prometheus_api import Prometheus
from accelwatch.reliability.cells import Inputs
from accelwatch.reliability.intervals import rate
from accelwatch.reliability.measured import read
from accelwatch.reliability.recorded import Window
from alerts.shipped_rules import needs_promtool
from prometheus_history import needs_prometheus
from reliability import recorded_history
from reliability.raw_scrapes import (
    HOURS,
    JOURNAL_LOST_AT,
    LOST,
    LOST_INCIDENT,
    MAINTENANCE,
    MINUTES,
    UNSCRAPED,
    Fleet,
    text,
)  # fmt: skip
from reliability.recorded_history import HOUR, START, Hours
from reliability.recording import Sample, recorded

# Increments, whose sum over an hour's evaluations is what an hourly one records.
SUMMED = (
    "accelwatch:serial_fault_episodes:count1h",
    "accelwatch:serial_maintenance_episodes:count1h",
    "accelwatch:serial_exposure:seconds1h",
    "accelwatch:fault_episodes:count1h",
    "accelwatch:device_exposure:seconds1h",
    "accelwatch:fault:repair_seconds",
    "accelwatch:serial_down:seconds1h",
    "accelwatch:drills:count1h",
)
# As they are at the hour.
READ = (
    "accelwatch:serial:installed_timestamp_seconds",
    "accelwatch:class:observable1h",
)
RATES = ("", "_low", "_high")
# Between the last scrape before a device goes out, or in, and the one after it.
SEAM_SECONDS = 120.0
# What Byar's limits may be off the exact ones (reference/reliability.md, 2.8); the lower one at four events.
LOW_OFF, HIGH_OFF = 0.014, 0.006

pytestmark = needs_promtool


class Recorded:
    """By series, hour (from 1 on) and labels."""

    def __init__(self, fleet: Fleet, scratch: Path) -> None:
        asked = {
            **{
                (series, hour): (f"sum_over_time({series}[59m59s999ms])", 60 * hour)
                for series in SUMMED
                for hour in range(1, HOURS + 1)
            },
            **{(series, hour): (series, 60 * hour) for series in READ for hour in range(1, HOURS + 1)},
            **{(f"rate{of}", HOURS): (f"accelwatch:fault_rate{of}:per_device_hour30d", MINUTES) for of in RATES},
        }
        got = recorded(((text(key), values) for key, values in fleet.series.items()), asked.values(), scratch)
        self.samples: dict[tuple[str, int], list[Sample]] = {key: got[query] for key, query in asked.items()}

    def sums(self, series: str, *by: str) -> Counter[tuple[str, ...]]:
        """Over all hours."""
        found: Counter[tuple[str, ...]] = Counter()
        for (name, _), samples in self.samples.items():
            for sample in samples if name == series else ():
                found[tuple(sample.labels.get(label, "") for label in by)] += sample.value  # type: ignore[assignment]
        return found

    def hours(self) -> Hours:
        """For a Prometheus that a report can be made from."""
        hours = Hours()
        for (series, hour), samples in self.samples.items():
            for labels, value in samples if series.startswith("accelwatch:") else ():
                named = {name: of for name, of in labels.items() if name != "__name__"}
                at_hour = value + START if series.endswith("installed_timestamp_seconds") else value
                hours.add(series, named, {hour - 1: at_hour})
        return hours


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(seed=5)


@pytest.fixture(scope="module")
def rules(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(fleet, tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="module")
def report(rules: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    with recorded_history.served(rules.hours(), tmp_path_factory.mktemp("hours")) as url:
        yield read(Prometheus(url, 60), Window(START, START + HOURS * HOUR))


def positive(found: Counter[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    return {key: value for key, value in found.items() if value}


def test_the_scrapes_hold_what_the_rules_have_to_survive(fleet: Fleet) -> None:
    assert fleet.truth.episodes["g1", "mem_uncorrectable"] >= 1
    assert fleet.truth.in_maintenance["a0", "thermal"] >= 1
    assert fleet.truth.episodes.total() >= 25
    stale = [values for key, values in fleet.series.items() if key[0][1] == "accelwatch_device_info"]
    assert sum(values.count("stale") for values in stale) > 50


def test_every_episode_is_of_its_serial_once(fleet: Fleet, rules: Recorded) -> None:
    k = rules.sums("accelwatch:serial_fault_episodes:count1h", "serial", "class")
    assert positive(k) == dict(fleet.truth.episodes)


def test_planned_work_is_apart_in_episodes_and_in_time(fleet: Fleet, rules: Recorded) -> None:
    k = rules.sums("accelwatch:serial_maintenance_episodes:count1h", "serial", "class")
    assert positive(k) == dict(fleet.truth.in_maintenance)
    seconds = rules.sums("accelwatch:serial_exposure:seconds1h", "serial", "state")
    assert seconds["a0", "maintenance"] == seconds["a1", "maintenance"] == 60 * len(MAINTENANCE)


def test_the_time_of_each_serial_is_its_own(fleet: Fleet, rules: Recorded) -> None:
    """A spare brings no past; what a journal that was lost had counted after the last scrape is lost with it."""
    seconds = rules.sums("accelwatch:serial_exposure:seconds1h", "serial", "state")
    assert positive(seconds).keys() == {key for key, value in fleet.truth.seconds.items() if value}
    vanished = 60.0 * (JOURNAL_LOST_AT - UNSCRAPED["m2"].start)
    for (serial, state), true in fleet.truth.seconds.items():
        lost = vanished if serial in ("a2", "a3") and state != "maintenance" else 0.0
        assert true - lost - SEAM_SECONDS <= seconds[serial, state] <= true, (serial, state)


def test_the_fleet_is_the_sum_of_its_serials(rules: Recorded) -> None:
    by = "cluster", "vendor", "model"
    serials, all_ = "accelwatch:serial_fault_episodes:count1h", "accelwatch:fault_episodes:count1h"
    assert positive(rules.sums(all_, *by, "class")) == positive(rules.sums(serials, *by, "class"))
    serials, all_ = "accelwatch:serial_exposure:seconds1h", "accelwatch:device_exposure:seconds1h"
    assert positive(rules.sums(all_, *by, "state")) == pytest.approx(positive(rules.sums(serials, *by, "state")))


def test_a_drill_is_counted_apart_and_a_lost_device_is_down_until_it_is_repaired(rules: Recorded) -> None:
    assert positive(rules.sums("accelwatch:drills:count1h", "vendor", "class")) == {("ascend", "device_lost"): 1}
    down = rules.sums("accelwatch:serial_down:seconds1h", "serial", "planned")
    assert positive(down) == {("a1", "false"): pytest.approx(60 * len(LOST), abs=SEAM_SECONDS)}
    repairs = rules.sums("accelwatch:fault:repair_seconds", "incident", "class", "device")
    assert positive(repairs) == {(LOST_INCIDENT, "device_lost", "1"): pytest.approx(60 * len(LOST), abs=SEAM_SECONDS)}


def test_devices_are_known_from_their_first_scrape_on_also_in_the_dark(rules: Recorded) -> None:
    """Node n3 is dark from 500 to 700 min: it is a target all the time."""
    installed: dict[str, dict[int, float]] = {}
    for (series, hour), samples in rules.samples.items():
        for sample in samples if series == "accelwatch:serial:installed_timestamp_seconds" else ():
            installed.setdefault(sample.labels["serial"], {})[hour] = sample.value
    assert set(installed["g6"]) == set(range(1, HOURS + 1))
    assert set(installed["g6"].values()) == {0.0}
    assert (min(installed["g4"]), set(installed["g4"].values())) == (6, {310 * 60.0})
    assert max(installed["g3"]) == 6


@needs_prometheus
def test_the_report_says_what_the_rules_say(fleet: Fleet, rules: Recorded, report: Inputs) -> None:
    k = rules.sums("accelwatch:fault_episodes:count1h", "model", "class")
    seconds = rules.sums("accelwatch:device_exposure:seconds1h", "model", "state")
    of_serial = {device: group for group, devices in _groups().items() for device in devices}
    true: Counter[tuple[str, str]] = Counter()
    for (serial, class_), count in fleet.truth.episodes.items():
        true[of_serial[serial], class_] += count
    on_host = Counter({class_: count for (of, class_), count in true.items() if not of})
    for cell in report.cells:
        here = k[cell.group, cell.class_] + (on_host[cell.class_] if cell.group == "910C" else 0)
        assert (
            cell.count == here == true[cell.group, cell.class_] + (on_host[cell.class_] if cell.group == "910C" else 0)
        )
        assert cell.hours == pytest.approx(seconds[cell.group, "powered"] / 3600)
    assert {cell.group for cell in report.cells} == {"H100", "910C"}


@needs_prometheus
def test_the_limits_of_the_rules_are_near_the_exact_ones(rules: Recorded, report: Inputs) -> None:
    hours = {cell.group: cell.hours for cell in report.cells}
    limits = [
        {(one.labels["model"], one.labels["class"]): one.value for one in rules.samples[f"rate{of}", HOURS]}
        for of in RATES
    ]
    counts = rules.sums("accelwatch:fault_episodes:count1h", "model", "class")
    seen = set()
    for key in ((model, class_) for model, class_ in limits[0] if model):
        exact = rate(round(counts[key]), hours[key[0]])
        seen.add(exact.count)
        found, low, high = (of[key] for of in limits)
        assert found == pytest.approx(exact.rate)
        assert low == pytest.approx(exact.low, rel=LOW_OFF)
        assert high == pytest.approx(exact.high, rel=HIGH_OFF)
    assert {0, 1} <= seen
    assert max(seen) >= 4


def _groups() -> dict[str, tuple[str, ...]]:
    return {"H100": ("g0", "g1", "g2", "g3", "g4", "g5", "g6"), "910C": ("a0", "a1", "a2", "a3"), "": ("m2/host/",)}

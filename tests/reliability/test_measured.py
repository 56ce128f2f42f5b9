"""The report's inputs from a real Prometheus: what was recorded is what is counted, and what is missing is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.prometheus_api import Prometheus, PrometheusError, PrometheusOverwhelmed, Series
from accelwatch.reliability import recorded
from accelwatch.reliability.cells import Cell, Inputs
from accelwatch.reliability.measured import NothingRecorded, read
from accelwatch.reliability.recorded import DAY, Window, asked, match
from prometheus_history import needs_prometheus
from reliability import recorded_history
from reliability.recorded_history import DAYS, END, FAILED_AT, HOUR, HOURS, REPLACED_AT, SILENT, START

WINDOW = Window(START, END)
GPU_HOURS = 4 * (HOURS - len(SILENT)) - (REPLACED_AT - FAILED_AT) - 2 * 24
NPU_HOURS = (HOURS - len(SILENT)) + 150 - len(SILENT)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with recorded_history.served(recorded_history.fleet(), tmp_path_factory.mktemp("hours")) as found:
        yield found


@pytest.fixture(scope="module")
def inputs(url: str) -> Inputs:
    return read(Prometheus(url, 60), WINDOW)


def cell(inputs: Inputs, group: str, class_: str) -> Cell:
    (found,) = (one for one in inputs.cells if (one.group, one.class_) == (group, class_))
    return found


@needs_prometheus
def test_each_hour_is_of_one_day(url: str, inputs: Inputs) -> None:
    """Samples stand on the seams of days, and a window that begins within a day ends in a shorter one."""
    assert cell(inputs, "910C", "mem_uncorrectable").count == 7
    assert {one.hours for one in inputs.cells if one.group == "H100"} == {GPU_HOURS}
    assert {one.hours for one in inputs.cells if one.group == "910C"} == {NPU_HOURS}
    later = read(Prometheus(url, 60), Window(START + 24 * HOUR, END))
    assert cell(later, "910C", "mem_uncorrectable").count == 5
    odd = read(Prometheus(url, 60), Window(START + 24.5 * HOUR, END - 0.25 * HOUR))
    assert cell(odd, "910C", "mem_uncorrectable").count == 1
    assert cell(odd, "910C", "device_lost").hours == NPU_HOURS - 2 * 24 - 1


@needs_prometheus
def test_every_class_has_its_cell_and_units_without_an_event_count(inputs: Inputs) -> None:
    lost = cell(inputs, "H100", "device_lost")
    assert (lost.count, lost.devices, lost.busy_hours) == (1, 4, GPU_HOURS / 2)
    # The slot of the failed device and its successor is one.
    assert [(unit.name, unit.count) for unit in lost.by_device] == [
        ("n1 0 g0", 0),
        ("n1 1 g1 g2", 1),
        ("n2 0 h0", 0),
        ("n2 1 h1", 0),
    ]
    assert [(unit.name, unit.count) for unit in lost.by_node] == [("n1", 1), ("n2", 0)]
    assert sum(unit.hours for unit in lost.by_device) == sum(unit.hours for unit in lost.by_period) == GPU_HOURS
    assert cell(inputs, "910C", "device_lost").count == 0
    # A host's faults are of its node's devices, as the node's.
    assert [(unit.name, unit.count) for unit in cell(inputs, "H100", "host").by_device] == [("n1", 2), ("n2", 0)]


@needs_prometheus
def test_what_is_not_seen_is_not_0(inputs: Inputs) -> None:
    """By what the nodes themselves said, and by the taxonomy where they said nothing."""
    assert not cell(inputs, "H100", "silent_corruption").observable
    assert cell(inputs, "910C", "silent_corruption").observable
    assert not cell(inputs, "910C", "fabric_switch").observable
    assert cell(inputs, "H100", "net_link_flap").observable


@needs_prometheus
def test_availability_is_of_watched_hours(inputs: Inputs) -> None:
    nodes = {node.node: node for fleet in inputs.fleets for node in fleet.nodes}
    hours = HOURS - len(SILENT)
    # It was down for ten hours, of which the rules recorded all.
    assert (nodes["n1"].installed, nodes["n1"].down) == (2 * hours, 10)
    assert (nodes["n2"].installed, nodes["n2"].unwatched) == (2 * (hours - 24), 48)
    assert nodes["m1"].planned == 0.25


@needs_prometheus
def test_devices_live_by_their_serial(inputs: Inputs) -> None:
    lives = {life.serial: life for life in inputs.lifetimes}
    assert {serial for serial, life in lives.items() if life.failed} == {"g1"}
    assert (lives["g0"].entered, lives["g0"].left) == (1000, 1000 + HOURS)
    assert (lives["g2"].entered, lives["g2"].left) == (0, HOURS - REPLACED_AT)
    assert lives["g1"].left == pytest.approx(1000 + REPLACED_AT - len(SILENT), abs=len(SILENT))
    assert lives["a1"].left == 1150


@needs_prometheus
def test_runs_and_times(inputs: Inputs) -> None:
    assert [(one.group, one.cause, one.count, one.hours, one.lost_device_hours) for one in inputs.interruptions] == [
        ("H100", "device_lost", 1, GPU_HOURS, 2.0)
    ]
    times = {(one.group, one.measure.value): sorted(one.seconds) for one in inputs.durations}
    assert times == {("H100", "time_to_detect"): [20, 40], ("H100", "time_to_repair"): [36_000]}


@needs_prometheus
@pytest.mark.parametrize(
    "said",
    [
        "nothing is recorded for 10.0 of the window's 216.0 hours",
        "H100: for 48 device-hours",
        "Not observable on nvidia: silent_corruption.",
        "H100: some nodes cannot see net_link_flap (50%)",
        "1 drills are counted apart",
        "910C 5.",
        "hang_no_error 3.",
        "1 interruptions name no vendor and model",
        "4 runs were killed without any fault",
        "910C: a card has two dies",
    ],
)
def test_what_is_missing_is_said(inputs: Inputs, said: str) -> None:
    assert sum(said in note for note in inputs.notes) == 1


@needs_prometheus
def test_a_label_narrows_it_and_what_has_no_such_label_is_left_out(url: str) -> None:
    one = read(Prometheus(url, 60), WINDOW, [match("node=n1"), match("driver=~1|2")])
    assert {found.group for found in one.cells} == {"H100"}
    assert {node.node for fleet in one.fleets for node in fleet.nodes} == {"n1"}
    assert one.interruptions == []
    assert any("accelwatch:run_interruptions:count1h" in note for note in one.notes)
    assert read(Prometheus(url, 60), WINDOW, [match("vendor=ascend")]).interruptions == []


@needs_prometheus
def test_a_hosts_faults_are_of_its_devices_whatever_is_matched(url: str) -> None:
    """They have no model of their own. Of one device alone they are unknown, not 0."""
    found = read(Prometheus(url, 60), WINDOW, [match("model=H100")])
    assert cell(found, "H100", "host").count == 2
    found = read(Prometheus(url, 60), WINDOW, [match("device=0")])
    assert not [one for one in found.cells if one.class_ == "host"]
    assert sum("What befell hosts" in note for note in found.notes) == 1


@needs_prometheus
def test_nothing_recorded_is_no_report(url: str) -> None:
    with pytest.raises(NothingRecorded, match=r"no accelwatch:serial_exposure:seconds1h above 0 .* with these --match"):
        read(Prometheus(url, 60), WINDOW, [match('model=x"} or up{y="')])
    with pytest.raises(PrometheusError, match="error parsing regexp"):
        read(Prometheus(url, 60), WINDOW, [match("model=~(")])


class Small(Prometheus):
    """Refuses questions over more than `days`."""

    def __init__(self, days: int) -> None:
        super().__init__("http://p")
        self.days = days
        self.spans: list[tuple[float, float]] = []

    def query_range(self, question: str, start: float, end: float, step: float) -> list[Series]:
        days = round((end - start) / step) + 1
        if days > self.days:
            raise PrometheusOverwhelmed("http://p: query processing would load too many samples into memory")
        if "serial_exposure" not in question:
            return []
        self.spans.append((start, end))
        return [Series({"n": "1"}, [(start + n * step, 1.0) for n in range(days)])]


@pytest.mark.parametrize("days", [1, 2, 3, 100])
def test_what_is_too_much_is_asked_in_halves(days: int) -> None:
    """Every day once, whatever it takes."""
    small, window = Small(days), Window(1000.0, 1000.0 + 16.5 * DAY)
    told: list[float] = []
    found = [value.day for value in asked(small, window, progress=told.append)]
    assert sorted(found) == list(range(17))
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert max(end for _, end in small.spans) == window.end


def test_where_one_day_is_too_much_it_says_what_to_do() -> None:
    with pytest.raises(PrometheusError, match=r"too many samples.*--match.*--query\.max-samples"):
        list(asked(Small(0), Window(0.0, 3 * DAY)))


@pytest.mark.parametrize("text", ["", "cluster", "class=x", "=x", "node = x", "node>=3", "__name__=up"])
def test_a_label_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--match: expected LABEL=VALUE"):
        match(text)


def test_no_label_leaves_its_quotes() -> None:
    assert str(match('node=a"} or up{x="\\')) == 'node="a\\"} or up{x=\\"\\\\"'
    assert str(match("model!~a=b")) == 'model!~"a=b"'


def test_every_question_knows_its_labels() -> None:
    """A label that can be matched is one of some series."""
    has = {label for question in recorded.QUESTIONS.values() for label in question.by + question.has}
    assert set(recorded.MATCHABLE) <= has
    assert DAYS > recorded.DAYS_AT_ONCE  # the tests above cross the seam of two questions


def test_the_readme_names_every_series_that_is_read() -> None:
    """They are what a site has to keep."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme[readme.index("## The comparison") : readme.index("## Dashboards")]
    assert set(re.findall(r"accelwatch:[a-z0-9_:]+", section)) == {one.series for one in recorded.QUESTIONS.values()}

"""`accelwatch fleet` against a real Prometheus with a history written by hand."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from accelwatch import cli
from accelwatch.faults.shown import rfc3339
from prometheus_history import History, needs_prometheus, served
from run_history import ASCEND, CLUSTER, NVIDIA, Run, fault

pytestmark = needs_prometheus

BASE = time.time() // 300 * 300 - 4 * 3600.0
ASKED, END = BASE + 3600.0, BASE + 3900.0


def node(history: History, name: str, end: float = END, cluster: str = CLUSTER) -> dict[str, str]:
    """Its target, up until `end` and silent then; gives its labels."""
    labels = {"cluster": cluster, "rack": f"r-{name[:2]}", "node": name}
    history.add("up", {**labels, "job": "accelwatch"}, BASE, end, 1)
    history.add("up", {**labels, "job": "accelwatch"}, end, END, 0)
    return labels


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    history = History()
    add = history.add
    for name in ("nv-01", "nv-02", "nv-04"):
        node(history, name)
    # A run of five nodes: one has a lost device, one is silent, one slows it, and the rest is well.
    run = Run(history, "500", ["nv-01", "nv-02", "nv-03"], BASE, END)
    run.page("nv-01", stopped={str(n): BASE + 1800.0 for n in range(8)})
    run.page("nv-02", stopped={str(n): BASE + 1800.0 for n in range(8)})
    run.page("nv-03", BASE + 2400)
    run.rules()
    run.hangs(BASE + 2000, BASE + 1800.0, {"node": "nv-02", "vendor": "nvidia", "device": "3", "rule": "cause"})
    add("accelwatch:run:stalled", {**run.of_run, "attempt": "9"}, BASE + 2000, END, 0)
    fault(history, "nv-02", BASE + 1785, END, class_="device_lost", code="79", device="3", run_id="500")
    of_device = {
        "cluster": CLUSTER,
        "rack": "r-nv",
        "node": "nv-02",
        "vendor": "nvidia",
        "device": "3",
        "model": "H100",
    }
    add("accelwatch_device_up", of_device, BASE, BASE + 1785, 1)
    add("accelwatch_device_up", of_device, BASE + 1785, END, 0)
    node(history, "nv-03", BASE + 2400)
    add("up", {"cluster": CLUSTER, "node": "nv-03", "job": "node"}, BASE, END, 1)
    fault(history, "nv-04", BASE + 1200, END, class_="thermal", severity="degrading", device="1")
    # None of these makes a node bad: the job's own doing, what informs, a drill, and what is over.
    fault(history, "nv-01", BASE + 1200, END, class_="software_job", run_id="500")
    fault(history, "nv-01", BASE + 1200, END, class_="mem_correctable", severity="informational", device="2")
    fault(history, "nv-01", BASE + 1200, END, class_="device_lost", device="5", drill="true")
    fault(history, "nv-01", BASE + 1200, BASE + 1500, class_="net_link_down", device="6")
    # Without a run: a device that is gone since a moment, and one that reports an alarm.
    labels = node(history, "as-01")
    lost = {**labels, "vendor": ASCEND[0], "device": "2", "model": ASCEND[1]}
    add("accelwatch_device_up", lost, BASE, BASE + 3570, 1)
    add("accelwatch_device_up", lost, BASE + 3570, END, 0)
    add("accelwatch_device_info", {**lost, "serial": "s"}, BASE, END, 1)
    labels = node(history, "as-02")
    add("accelwatch_device_health", {**labels, "vendor": ASCEND[0], "device": "0", "model": ASCEND[1]}, BASE, END, 2)
    labels = node(history, "as-03")
    add("accelwatch_source_up", {**labels, "source": "npu_smi"}, BASE, END, 0)
    add("accelwatch_source_last_success_timestamp_seconds", {**labels, "source": "npu_smi"}, BASE, END, BASE + 60)
    # Planned work, and a node of another cluster that is dark, with its other exporter.
    labels = node(history, "as-04", BASE + 900)
    add("accelwatch:node:maintenance_until_timestamp_seconds", {"cluster": CLUSTER, "node": "as-04"}, BASE, END, END)
    node(history, "x1", BASE + 900, cluster="c2")
    add("up", {"cluster": "c2", "node": "x1", "job": "node"}, BASE, END, 0)
    node(history, "x2", cluster="c3")
    with served(history, tmp_path_factory.mktemp("prometheus")) as url:
        yield url


class Asking:
    """The command, as JSON and as text."""

    def __init__(self, prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._prometheus, self._capsys = prometheus, capsys

    def text(self, *arguments: object, at: float = ASKED, status: int = 0) -> str:
        line = ["fleet", *(str(a) for a in arguments), "--prometheus", self._prometheus, "--at", str(at)]
        assert cli.main(line) == status
        out, err = self._capsys.readouterr()
        return err if status else out

    def json(self, *arguments: object, at: float = ASKED) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.text(*arguments, "--json", at=at))
        return document


@pytest.fixture
def fleet(prometheus: str, capsys: pytest.CaptureFixture[str]) -> Asking:
    return Asking(prometheus, capsys)


def test_the_bad_nodes_come_by_urgency(fleet: Asking) -> None:
    """What strikes a run first, planned work last, and nobody who is well."""
    answer = fleet.json()
    assert (answer["nodes"], answer["clusters"]) == (10, ["c1", "c2", "c3"])
    assert [(n["cluster"], n["node"], n["urgency"], n["run_id"]) for n in answer["bad"]] == [
        ("c1", "nv-03", "run_struck", "500"),
        ("c1", "nv-02", "run_struck", "500"),
        ("c1", "as-01", "run_ending", None),
        ("c2", "x1", "silent", None),
        ("c1", "nv-04", "degrading", None),
        ("c1", "as-02", "degrading", None),
        ("c1", "as-03", "source", None),
        ("c1", "as-04", "maintenance", None),
    ]


def test_each_says_what_it_has_and_since_when(fleet: Asking) -> None:
    """To the scrape, where it began within the hour."""
    bad = {n["node"]: n for n in fleet.json()["bad"]}
    lost = bad["nv-02"]["what"][0]
    assert (lost["kind"], lost["device"], lost["class"], lost["code"]) == ("fault", "3", "device_lost", "79")
    assert (bad["nv-02"]["since"], bad["nv-02"]["vendor"], bad["nv-02"]["rack"]) == (
        rfc3339(BASE + 1785),
        NVIDIA[0],
        "r-nv",
    )
    assert [item["kind"] for item in bad["nv-02"]["what"]] == ["fault", "hang"], "the lost device is not told twice"
    assert (bad["nv-03"]["what"][0]["text"], bad["nv-03"]["since"]) == ("its agent is silent", rfc3339(BASE + 2385))
    assert (bad["x1"]["what"][0]["text"], bad["as-01"]["since"]) == ("dark", rfc3339(BASE + 3555))
    assert (bad["as-03"]["what"][0]["source"], bad["as-03"]["since"]) == ("npu_smi", rfc3339(BASE + 60))
    assert bad["as-04"]["maintenance_until"] == rfc3339(END)
    assert bad["as-02"]["since"] is None


def test_a_hang_is_told_with_the_node_that_holds_it_up(fleet: Asking) -> None:
    """Its other nodes merely wait."""
    assert fleet.json()["hangs"] == [
        {"cluster": "c1", "run_id": "500", "attempt": "0", "node": "nv-02", "onset": rfc3339(BASE + 1800)}
    ]


def test_the_table_has_a_summary_and_a_line_per_node(fleet: Asking) -> None:
    """In two seconds."""
    began = time.monotonic()
    text = fleet.text()
    assert time.monotonic() - began <= 2.0
    summary, hang, blank, headings, *rows = text.rstrip("\n").split("\n")
    assert summary == (
        "c1, c2, c3: 8 of 10 nodes bad: 2 struck under a run, 1 with what ends runs, 1 silent, 2 degraded, "
        "1 with a source that fails, 1 in maintenance"
    )
    assert hang.startswith("run 500 (attempt 0) hangs since")
    assert hang.endswith("held up by nv-02")
    assert (blank, headings.split()) == ("", ["CLUSTER", "NODE", "RACK", "VENDOR", "WHAT", "SINCE", "RUN"])
    assert len(rows) == 8
    assert "nvidia 3: device_lost [79], run_ending (+1 more)" in rows[1]


def test_nothing_bad_is_one_line(fleet: Asking) -> None:
    """Also of one cluster only."""
    assert fleet.text("--cluster", "c3") == "c3: 1 node, none is bad\n"
    assert fleet.text("--cluster", "c1", at=BASE + 30).count("\n") > 1, "its source failed from the beginning"
    assert [n["node"] for n in fleet.json("--cluster", "c2")["bad"]] == ["x1"]


def test_no_agent_at_all_is_no_health(fleet: Asking) -> None:
    """Nothing is known."""
    assert "scrapes no agent of cluster c9 (job accelwatch)" in fleet.text("--cluster", "c9", status=3)
    assert "(job other)" in fleet.text("--job", "other", status=3)

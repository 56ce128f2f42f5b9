"""`accelwatch why` against a real Prometheus with a history written by hand."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from accelwatch import cli
from accelwatch.commands.fleet_wide import moment
from accelwatch.faults.shown import rfc3339
from prometheus_history import History, needs_prometheus, served
from run_history import ASCEND, CLUSTER, Run, fault

pytestmark = needs_prometheus

BASE = time.time() // 300 * 300 - 4 * 3600.0
LONG_AGO = BASE - 40 * 86400.0
HALF_HOUR = 1800.0


def nodes(prefix: str, count: int = 4) -> list[str]:
    return [f"{prefix}-{number:02d}" for number in range(1, count + 1)]


def a_link_drops_and_all_wait(history: History) -> None:
    """Run 500 on nv-01 to nv-04: port of nv-03's device 5 at +600, all wait from +601, a hang from +780."""
    run = Run(history, "500", nodes("nv"), BASE, BASE + HALF_HOUR)
    for node in run.nodes:
        last = BASE + 600.0
        run.page(node, stopped={str(n): last + 1.0 + (2.0 if node == "nv-01" else 0.0) for n in range(8)})
    run.rules()
    culprit = {"node": "nv-03", "vendor": "nvidia", "device": "5", "rule": "cause"}
    run.hangs(BASE + 780, BASE + 603.0, culprit)
    fault(history, "nv-03", BASE + 600, BASE + HALF_HOUR, class_="net_link_down", device="5", run_id="500")
    # What the others see of it, and what was wrong before.
    fault(history, "nv-01", BASE + 780, BASE + HALF_HOUR, class_="collective_timeout", device="1", run_id="500")
    fault(history, "nv-02", BASE, BASE + HALF_HOUR, class_="pcie_host_link", severity="degrading", device="4")


def an_ecc_error_ends_it(history: History) -> None:
    """Run 4711 on ec-01 to ec-04: attempt 0 completed before; 1 was ended by ec-02's device 3 at +900."""
    first = Run(history, "4711", nodes("ec"), BASE - 3600, BASE - 1800)
    run = Run(history, "4711", nodes("ec"), BASE, BASE + 900, attempt="1")
    for node in run.nodes:
        first.page(node)
        first.ended(node, BASE - 1800, "completed", BASE + 7200, 0.0)
        end = BASE + 900 if node == "ec-02" else BASE + 915
        run.page(node, end)
        run.ended(node, end, "failed" if node == "ec-02" else "killed", BASE + 7200, 100.0)
    first.rules()
    run.rules()
    cause = {"class": "mem_uncorrectable", "node": "ec-02", "vendor": "nvidia", "model": "H100", "device": "3"}
    run.interrupted(BASE + 900, "failed", cause, BASE + 885, 7200.0, BASE + 7200)
    fault(history, "ec-02", BASE + 885, BASE + 2400, class_="mem_uncorrectable", code="48", device="3", run_id="4711")
    fault(history, "ec-04", BASE + 300, BASE + 450, class_="thermal", severity="degrading", run_id="", device="")
    # A drill, and a fault of a device of another node, are none of its business.
    fault(history, "ec-01", BASE + 600, BASE + 2400, class_="device_lost", device="0", run_id="4711", drill="true")
    fault(history, "nv-99", BASE + 600, BASE + 2400, class_="device_lost", device="0")


def a_node_goes_dark(history: History) -> None:
    """Run dk on as-01 to as-03, Ascend: as-03 falls silent at +600."""
    run = Run(history, "dk", nodes("as", 3), BASE, BASE + HALF_HOUR, vendor=ASCEND)
    for node in run.nodes:
        stopped = {str(n): BASE + 590.0 if node == "as-03" else BASE + 605.0 for n in range(8)}
        run.page(node, BASE + 600 if node == "as-03" else None, stopped)
    run.rules()
    run.hangs(BASE + 800, BASE + 605.0, {"node": "as-03", "rule": "dark"})
    kept = {**run.of_run, "node": "as-03"}
    history.add("accelwatch:run_node:last_seen_timestamp_seconds", kept, BASE + 600, BASE + HALF_HOUR, BASE + 585.0)
    history.add("accelwatch:run_node:devices", kept, BASE + 600, BASE + HALF_HOUR, 8)


def nobody_is_singled_out(history: History) -> None:
    """Run un on un-1, un-2 of 24 ranks: hangs at +600, unlocated; run ct: ended by a time-out without a cause."""
    run = Run(history, "un", ["un-1", "un-2"], BASE, BASE + HALF_HOUR, world_size=24)
    for node in run.nodes:
        run.page(node, stopped={str(n): BASE + 600.0 for n in range(8)})
    run.rules()
    run.hangs(BASE + 780, BASE + 600.0, {"rule": "unlocated"})
    timed_out = Run(history, "ct", ["ct-1", "ct-2"], BASE, BASE + 900)
    for node in timed_out.nodes:
        timed_out.page(node, stopped={str(n): BASE + 300.0 for n in range(8)})
        timed_out.ended(node, BASE + 900, "failed", BASE + 7200, 4800.0)
    timed_out.rules()
    seen = {"class": "collective_timeout", "vendor": "nvidia", "model": "H100"}
    timed_out.interrupted(BASE + 900, "failed", seen, BASE + 300, 9600.0, BASE + 7200)


def struck_a_moment_ago(history: History) -> None:
    """Run fr on fr-1, fr-2: an Xid 79 at +600 that no rule has judged."""
    run = Run(history, "fr", ["fr-1", "fr-2"], BASE, BASE + 660)
    for node in run.nodes:
        run.page(node)
    run.rules()
    history.add("accelwatch:run:stalled", run.of_run, BASE, BASE + 660, 0)
    fault(history, "fr-2", BASE + 600, BASE + 660, class_="device_lost", code="79", device="7", run_id="fr")
    fault(
        history, "fr-2", BASE + 600, BASE + 660, class_="pcie_host_link", severity="degrading", device="7", run_id="fr"
    )


def long_over(history: History) -> None:
    """Run old, forty days ago; run one, whose only node fell silent then."""
    run = Run(history, "old", ["ol-1", "ol-2"], LONG_AGO, LONG_AGO + 1800)
    for node in run.nodes:
        run.page(node)
        run.ended(node, LONG_AGO + 1800, "failed", LONG_AGO + 1800 + 86400, 30.0)
    run.rules()
    cause = {"class": "software_job", "node": "ol-2", "vendor": "nvidia", "model": "H100"}
    run.interrupted(LONG_AGO + 1800, "failed", cause, LONG_AGO + 1800, 60.0, LONG_AGO + 1800 + 86400)
    alone = Run(history, "one", ["on-1"], LONG_AGO, LONG_AGO + 1800)
    alone.page("on-1")
    alone.rules()
    kept = {**alone.of_run, "node": "on-1"}
    last = LONG_AGO + 1785
    history.add("accelwatch:run_node:last_seen_timestamp_seconds", kept, LONG_AGO, last + 86400, last)


def without_rules(history: History) -> None:
    """Run raw on ra-1, ra-2, whose Prometheus has no recording rules: ra-1 found the cause, ra-2 a time-out."""
    run = Run(history, "raw", ["ra-1", "ra-2"], BASE, BASE + 900)
    for node in run.nodes:
        run.page(node)
        run.ended(node, BASE + 900, "failed", BASE + 7200, 120.0)
        class_, at = ("collective_timeout", BASE + 300) if node == "ra-2" else ("device_lost", BASE + 600)
        labels = {**run.of_run, "node": node, "vendor": "nvidia", "model": "H100", "device": "2", "class": class_}
        history.add("accelwatch_run_cause_timestamp_seconds", labels, BASE + 1200, BASE + 7200, at)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    history = History()
    for scene in (
        a_link_drops_and_all_wait, an_ecc_error_ends_it, a_node_goes_dark, nobody_is_singled_out, struck_a_moment_ago,
        long_over, without_rules,
    ):  # fmt: skip
        scene(history)
    with served(history, tmp_path_factory.mktemp("prometheus")) as url:
        yield url


class Asking:
    """The command, as JSON and as a screen."""

    def __init__(self, prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._prometheus, self._capsys = prometheus, capsys

    def text(self, *arguments: object, status: int = 0) -> str:
        line = ["why", *(str(argument) for argument in arguments), "--prometheus", self._prometheus]
        assert cli.main(line) == status
        out, err = self._capsys.readouterr()
        return err if status else out

    def json(self, *arguments: object) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.text(*arguments, "--json"))
        return document


@pytest.fixture
def why(prometheus: str, capsys: pytest.CaptureFixture[str]) -> Asking:
    return Asking(prometheus, capsys)


def test_a_hang_names_device_serial_class_and_whom_to_exclude(why: Asking) -> None:
    """While it goes on; the link's fault is the cause, its peers' time-out is not even a suspect."""
    answer = why.json("500", "--at", BASE + 1200)
    assert (answer["state"], answer["cluster"], answer["nodes"], answer["devices"]) == ("hangs", CLUSTER, 4, 32)
    assert answer["culprit"] == {
        "node": "nv-03",
        "vendor": "nvidia",
        "device": "5",
        "rack": "r-nv",
        "model": "H100",
        "serial": "nv-03-5",
        "pci": "0000:05:00.0",
        "uuid": "GPU-nv-03-5",
        "class": "net_link_down",
        "severity": "run_ending",
        "code": None,
        "since": rfc3339(BASE + 600),
        "by": "the first fault before all devices stopped",
        "final": True,
    }
    assert answer["onset"] == rfc3339(BASE + 603)
    assert answer["lost_device_seconds"] == 24 * 599.0 + 8 * 597.0
    assert [(s["node"], s["device"], s["class"], s["active"]) for s in answer["suspects"]] == [
        ("nv-02", "4", "pcie_host_link", True)
    ]
    assert answer["exclude"] == {"nodes": ["nv-03"], "notation": "--exclude=nv-03"}
    assert answer["missing"] == answer["dark"] == []


def test_the_timeline_marks_ties_within_five_seconds(why: Asking) -> None:
    """All 32 devices stopped within 2 s: who was first is not known."""
    fault_, stopped = why.json("500", "--at", BASE + 1200)["timeline"]
    assert (fault_["what"], fault_["note"], fault_["at"]) == ("fault", "net_link_down", rfc3339(BASE + 600))
    assert (stopped["what"], stopped["tie"], stopped["at"]) == ("stopped", True, rfc3339(BASE + 601))
    assert len(stopped["places"]) == 32


def test_a_run_that_ended_names_the_cause_with_its_code(why: Asking) -> None:
    """The latest attempt, asked hours later; a completed one is listed."""
    answer = why.json("4711", "--at", BASE + 6000)
    culprit = answer["culprit"]
    assert (answer["state"], answer["outcome"], answer["attempt"]) == ("ended", "failed", "1")
    assert (culprit["node"], culprit["device"], culprit["serial"]) == ("ec-02", "3", "ec-02-3")
    assert (culprit["class"], culprit["code"], culprit["since"]) == ("mem_uncorrectable", "48", rfc3339(BASE + 885))
    assert answer["lost_device_seconds"] == 7200.0
    assert "nvidia-smi --gpu-reset -i 0000:03:00.0" in answer["action"]
    assert answer["exclude"]["nodes"] == ["ec-02"]
    assert [(s["node"], s["class"], s["active"]) for s in answer["suspects"]] == [("ec-04", "thermal", False)]
    assert answer["others"] == [{"cluster": CLUSTER, "attempt": "0", "ended": rfc3339(BASE - 1800)}]
    ends = [(m["note"], len(m["places"]), m["at"]) for m in answer["timeline"] if m["what"] == "ended"]
    assert ends == [("failed", 1, rfc3339(BASE + 900)), ("killed", 3, rfc3339(BASE + 915))]


def test_an_attempt_can_be_asked_for(why: Asking) -> None:
    """It completed: nobody is to blame, and nothing is to be done."""
    answer = why.json("4711", "--attempt", "0", "--at", BASE + 6000)
    assert (answer["attempt"], answer["outcome"], answer["culprit"], answer["action"]) == ("0", "completed", None, None)
    assert answer["exclude"]["nodes"] == []
    assert answer["suspects"] == []
    assert "no attempt 7; there are: 1, 0" in why.text("4711", "--attempt", "7", "--at", BASE + 6000, status=3)


def test_before_its_end_the_same_attempt_goes_on(why: Asking) -> None:
    """A moment of the past is answered as it was then."""
    answer = why.json("4711", "--at", BASE + 600)
    assert (answer["state"], answer["attempt"], answer["culprit"], answer["action"]) == ("running", "1", None, None)
    assert answer["why_not"].startswith("nothing: it goes on")


def test_a_node_without_series_is_said_to_be_dark(why: Asking) -> None:
    """It is the culprit, and its devices' last word is in the timeline."""
    answer = why.json("dk", "--at", BASE + 1200)
    assert (answer["culprit"]["node"], answer["culprit"]["device"], answer["culprit"]["class"]) == ("as-03", None, None)
    assert answer["dark"] == [{"node": "as-03", "last_seen": rfc3339(BASE + 585)}]
    assert answer["exclude"]["nodes"] == ["as-03"]
    assert "ipmitool sol activate" in answer["action"]
    assert [(m["what"], m["places"][0]["node"], len(m["places"])) for m in answer["timeline"]] == [
        ("dark", "as-03", 1),
        ("stopped", "as-01", 16),
    ]


def test_nothing_singled_out_is_unlocated(why: Asking) -> None:
    """And nobody is excluded; ranks on nodes without an agent are missing data."""
    answer = why.json("un", "--at", BASE + 1200)
    assert (answer["state"], answer["culprit"]) == ("hangs", None)
    assert answer["why_not"].startswith("unlocated")
    assert answer["exclude"] == {"nodes": [], "notation": None}
    assert answer["missing"] == ["8 of its 24 ranks are on no node that is known here"]
    assert "py-spy dump" in answer["action"]


def test_a_time_out_without_a_cause_names_nobody(why: Asking) -> None:
    """A symptom is what its nodes saw; who merely waited is not blamed."""
    answer = why.json("ct", "--at", BASE + 3600)
    assert (answer["cause"], answer["culprit"]) == ("collective_timeout", None)
    assert answer["why_not"].startswith("unlocated: collective_timeout")
    assert answer["lost_device_seconds"] == 9600.0
    assert [(m["what"], len(m["places"]), m["at"]) for m in answer["timeline"]] == [
        ("stopped", 16, rfc3339(BASE + 300)),
        ("ended", 2, rfc3339(BASE + 900)),
    ]


def test_a_fault_that_nobody_has_judged_yet_is_named_as_likely(why: Asking) -> None:
    """Between the fast page and the judgement lie minutes."""
    answer = why.json("fr", "--at", BASE + 630)
    culprit = answer["culprit"]
    assert (culprit["node"], culprit["device"], culprit["code"], culprit["final"]) == ("fr-2", "7", "79", False)
    assert [s["class"] for s in answer["suspects"]] == ["pcie_host_link"]


def test_a_run_of_forty_days_ago_is_found(why: Asking) -> None:
    """As far back as Prometheus keeps; the job's own doing excludes no node."""
    answer = why.json("old")
    assert (answer["outcome"], answer["culprit"]["class"], answer["culprit"]["node"]) == (
        "failed",
        "software_job",
        "ol-2",
    )
    assert (answer["lost_device_seconds"], answer["exclude"]["nodes"]) == (60.0, [])


def test_a_run_whose_only_node_fell_silent_is_gone(why: Asking) -> None:
    """Without a word of its end."""
    answer = why.json("one")
    assert (answer["state"], answer["outcome"], answer["culprit"]["node"]) == ("dark", None, "on-1")
    assert answer["lost_device_seconds"] is None


def test_without_recording_rules_it_says_so_and_uses_what_nodes_judged(why: Asking) -> None:
    """A cause on one node comes before the earlier time-out on another."""
    answer = why.json("raw", "--at", BASE + 3600)
    assert (answer["culprit"]["node"], answer["culprit"]["class"]) == ("ra-1", "device_lost")
    assert answer["lost_device_seconds"] == 240.0
    assert any("recording rules" in line for line in answer["missing"])


def test_no_such_run_names_the_nearest(why: Asking) -> None:
    """A digit was mistyped."""
    said = why.text("4712", status=3)
    assert "no run '4712'" in said
    assert "nearest: 4711" in said
    assert "nearest: 500" in why.text("50", status=3)
    assert "in cluster c9, and no other either" in why.text("4711", "--cluster", "c9", status=3)


@pytest.mark.parametrize("run_id", ["500", "4711", "dk", "un", "ct", "old", "one", "raw"])
def test_the_screen_is_80_by_24_and_comes_in_two_seconds(why: Asking, run_id: str) -> None:
    """One line is left for the prompt."""
    began = time.monotonic()
    text = why.text(run_id, "--at", BASE + 1200)
    assert time.monotonic() - began <= 2.0
    lines = text.rstrip("\n").split("\n")
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80


def test_the_screen_of_a_hang(why: Asking) -> None:
    """Who, what, what to do and whom to leave out, in this order."""
    text = why.text("500", "--at", BASE + 1200)
    assert "HANGS since" in text
    order = ["run 500", "culprit   nv-03 (rack r-nv), nvidia 5, H100, serial nv-03-5", "net_link_down", "do  ",
             "exclude   --exclude=nv-03", "timeline", "nv-[01-04], 32 devices: stopped", "suspects"]  # fmt: skip
    assert [text.find(words) for words in order] == sorted(text.find(words) for words in order)
    assert all(words in text for words in order)


def test_a_moment_is_a_time_or_a_duration() -> None:
    """Without a zone it is UTC, as all times that we print."""
    now = 1_790_000_000.0
    assert moment(None, now) == now
    assert moment("2h", now) == now - 7200
    assert moment("1789999999.5", now) == 1_789_999_999.5
    assert moment("2026-09-21T14:13:20Z", now) == moment("2026-09-21 14:13:20", now) == now
    for wrong in ("yesterday", "2099-01-01"):
        with pytest.raises(ValueError, match="--at"):
            moment(wrong, now)

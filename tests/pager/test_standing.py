"""Which faults are posted, and in which words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from accelwatch.detectors.base import Known
from accelwatch.faults.episode import Episode
from accelwatch.faults.labels import labelled
from accelwatch.maintenance import Maintenance
from accelwatch.pager import wording
from accelwatch.pager.notice import Standing
from accelwatch.pager.standing import candidates, standing_of
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import Kind, Notify

KEY = DeviceKey(Vendor.NVIDIA, "0000:3b:00.0")
KNOWN = Known(key=KEY, label="3", model="H100", pci="0000:3b:00.0", serial="1650123", uuid="GPU-7")
WORK = Maintenance(since_at=500.0, until_at=5000.0, reason="board swap")


def episode(class_: str = "device_lost", **changes: Any) -> Episode:
    made = Episode(
        id=7, class_=class_, severity=Severity.RUN_ENDING, notify=Notify.PAGE, vendor="nvidia", device="3", model="H100",
        code="79", codes=("79", "154"), incident="n1/nvidia-3/x-7", message="the GPU fell off the bus",
        action="Power-cycle the host.", first_at=1000.0, last_at=1000.0, first_wall=1_790_000_000.0,
        last_wall=1_790_000_000.0, run_id="job-1", attempt="0", run_devices=64,
    )  # fmt: skip
    return labelled(msgspec.structs.replace(made, **changes))


def standing(of: Episode, planned: Maintenance | None = None, least: int = 8) -> Standing | None:
    return standing_of(of, load().class_(of.class_), planned, least)


def test_a_root_that_ends_a_run_of_some_size_is_posted() -> None:
    assert standing(episode()) is Standing.POST
    assert standing(episode(run_devices=8)) is Standing.POST
    assert standing(episode(run_devices=2), least=2) is Standing.POST
    assert standing(episode(run_devices=63), least=64) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"run_devices": 7},
        {"run_devices": None},
        {"run_id": None},
        {"historical": True},
        {"severity": Severity.DEGRADING},
        {"class_": "hang_no_error"},
        {"class_": "collective_timeout"},
        {"class_": "app_device_exception"},
    ],
    ids=lambda changes: ",".join(f"{name}={value}" for name, value in changes.items()),
)
def test_nobody_is_woken_for(changes: dict[str, Any]) -> None:
    """Small runs, idle devices, what was there before the agent, what only degrades, symptoms, the application."""
    assert standing(episode(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"root": False}, Standing.KEEP),
        ({"echo": True}, Standing.KEEP),
        ({"notify": Notify.TICKET}, Standing.KEEP),
        ({"application": True}, Standing.END),
        ({"active": False}, Standing.END),
    ],
)
def test_what_was_posted_goes_on_until_its_fault_is_over(changes: dict[str, Any], wanted: Standing) -> None:
    assert standing(episode(**changes)) is wanted


def test_a_drill_needs_no_run() -> None:
    assert standing(episode(drill=True, run_id=None, run_devices=None)) is Standing.POST


def test_planned_work_begins_no_page_and_ends_none() -> None:
    """What was posted before goes on; what struck since is kept until the work is over."""
    assert standing(episode(first_at=400.0), WORK) is Standing.RESUME
    assert standing(episode(first_at=600.0), WORK) is Standing.KEEP
    assert standing(episode(first_at=600.0, drill=True), WORK) is Standing.KEEP
    assert standing(episode(first_at=600.0, active=False), WORK) is Standing.END


def test_a_candidate_knows_its_device_and_whether_it_is_of_now() -> None:
    small = episode(run_devices=1)
    (found,) = candidates([episode(), small], load(), {KEY: KNOWN}, None, 1030.0, 8)
    assert (found.known, found.fresh, found.standing) == (KNOWN, True, Standing.POST)
    (old,) = candidates([episode()], load(), {}, None, 1100.0, 8)
    assert (old.known, old.fresh) == (None, False)


# --- words


def test_labels_are_those_of_the_rules_alert_and_the_sites_own() -> None:
    labels = wording.labels(episode(), "n1", {"cluster": "c", "rack": "r7", "class": "mine"})
    assert labels == {
        "alertname": "AccelwatchDeviceLost", "severity": "page", "incident": "run/job-1", "cluster": "c", "rack": "r7",
        "node": "n1", "vendor": "nvidia", "device": "3", "class": "device_lost", "fault_severity": "run_ending",
        "code": "79", "run_id": "job-1", "path": "fast",
    }  # fmt: skip


def test_labels_stay_those_of_the_page_when_the_episode_is_no_root_any_more() -> None:
    """An agent that restarts has to find the same alert again."""
    before = episode()
    after = labelled(msgspec.structs.replace(before, root=False, code="48"))
    assert after.labels != before.labels
    assert wording.labels(after, "n1", {}) == wording.labels(before, "n1", {})


def test_label_values_are_cut_and_clean_and_empty_ones_left_out() -> None:
    """As the page has them; Alertmanager holds an empty label for none."""
    labels = wording.labels(episode(run_id="x" * 500, device=None, code=None, codes=()), "n1", {"rack": "a\nb"})
    assert labels["incident"] == "run/" + "x" * 124
    assert (labels["rack"], "device" in labels, "code" in labels) == ("a b", False, False)


def test_the_summary_is_one_sentence_and_the_description_says_what_to_do() -> None:
    texts = wording.texts(episode(links=("roce0",)), KNOWN, "n1", load().class_("device_lost"), "http://prom:9090")
    assert texts["summary"] == "n1: NVIDIA GPU 3 is lost (run job-1)"
    assert texts["description"].splitlines() == [
        "Run job-1 (64 devices) cannot go on.",
        "Device: nvidia 3, H100, PCI 0000:3b:00.0, serial 1650123, GPU-7, roce0.",
        "What: code 79 154: the GPU fell off the bus. The device fell off its bus, or its driver cannot reach it or does "
        "not list it any more.",
        "Do: Power-cycle the host.",
        "accelwatch why job-1 --prometheus http://prom:9090",
    ]
    asked = wording.texts(episode(run_id=None, drill=True), KNOWN, "n1", load().class_("device_lost"))
    assert asked["description"].splitlines()[-1] == "On n1: accelwatch check"


def test_a_fault_of_the_node_and_a_drill_are_told_as_such() -> None:
    host = wording.texts(episode("host", device=None, model=""), None, "n1", load().class_("host"))
    assert host["summary"] == "n1: the node has failed (processor, memory or kernel) (run job-1)"
    assert "Device: none, the node as a whole." in host["description"]
    drill = episode(drill=True, run_id=None)
    texts = wording.texts(drill, KNOWN, "n1", load().class_("device_lost"))
    assert texts["summary"] == "DRILL: n1: NVIDIA GPU 3 is lost"
    assert wording.labels(drill, "n1", {})["drill"] == "true"
    assert wording.labels(drill, "n1", {})["incident"] == "node/n1"


def test_a_line_of_kilobytes_does_not_fill_a_phone() -> None:
    texts = wording.texts(episode(message="x" * 100_000), KNOWN, "n1", load().class_("device_lost"))
    assert len(texts["description"]) == 4 * wording.TEXT_LIMIT_CHARACTERS


def test_every_class_that_can_page_has_words() -> None:
    can = {
        name
        for name, c in load().classes.items()
        if c.kind is Kind.CAUSE and c.notify_at(Severity.RUN_ENDING) == "page"
    }
    assert can - set(wording.PHRASES) == set()


@pytest.mark.parametrize(
    ("node", "listen", "url"),
    [
        ("gpu-12", "0.0.0.0:9817", "http://gpu-12:9817/"),
        ("gpu-12", "[::]:9817", "http://gpu-12:9817/"),
        ("gpu-12", "10.0.0.7:80", "http://10.0.0.7:80/"),
        ("a name", "0.0.0.0:9817", ""),
    ],
)
def test_the_nodes_page_is_linked_where_its_address_is_known(node: str, listen: str, url: str) -> None:
    assert wording.node_page(node, listen) == url


def test_a_page_behind_tls_is_linked_as_such() -> None:
    assert wording.node_page("gpu-12", "0.0.0.0:9817", secure=True) == "https://gpu-12:9817/"


def test_runbooks_have_one_base() -> None:
    assert wording.runbook("https://x/run/", "A") == {"runbook_url": "https://x/run/A.md"}
    assert wording.runbook("", "A") == {}


def test_dashboards_are_those_that_the_rules_link_to() -> None:
    of_run = {"run_id": "a/b c", "node": "n", "cluster": "k"}
    base = "https://grafana/d/accelwatch"
    url = f"{base}-run?var-run=a%2Fb+c&var-cluster=k&from=now-1h&to=now"
    assert wording.dashboard("https://grafana/", of_run) == {"dashboard_url": url}
    url = f"{base}-node?var-node=n&from=now-1h&to=now"
    assert wording.dashboard("https://grafana", {"node": "n"}) == {"dashboard_url": url}
    assert wording.dashboard(None, of_run) == {}

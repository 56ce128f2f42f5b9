"""The shipped Alertmanager configuration: its routes, and what hides what, in a real Alertmanager."""

from __future__ import annotations

import graphlib
import itertools
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from paging_alerts import (
    DARK,
    DARK_IDLE,
    DRILL,
    ECC,
    ELSEWHERE,
    FAST,
    HANG,
    HOST,
    HOT,
    IDLE,
    INFO,
    LINK,
    LOST,
    MISSING,
    NODE,
    OTHER_RUN,
    PAGE,
    RACK,
    RACK_IDLE,
    RUN,
    SILENT,
    SOURCE,
    TICKET,
    WORK,
    fault,
    merged,
    other,
)
from real_alertmanager import (
    SHIPPED,
    Alertmanager,
    Receiver,
    running,
    serving,
    shipped,
    silent,
    until,
    with_examples,
    without_waiting,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("prometheus-alertmanager") is None, reason="Alertmanager is not installed"),
]

# name: alert, what else fires, whether the alert is hidden
CASES = {
    "a lost device over its ECC error": (ECC, LOST, True),
    "a lost device over its own ticket": (HOT, LOST, True),
    "a lost device over the count of devices": (merged(MISSING, PAGE), LOST, True),
    "a lost device, not over another device": (merged(ECC, {"device": "4"}), LOST, False),
    "a lost device, not over another node's of the same number": (merged(ECC, ELSEWHERE, OTHER_RUN), LOST, False),
    "a lost device, not over another vendor's of the same number": (merged(ECC, {"vendor": "ascend"}), LOST, False),
    "an ECC error, not over the lost device": (LOST, ECC, False),
    "a lost device in no run, a ticket, not over a page": (ECC, merged(LOST, TICKET, IDLE, {"run_id": ""}), False),
    "an ECC error over the hang of its run": (HANG, ECC, True),
    "an ECC error over the hang of its node": (fault("hang_no_error", OTHER_RUN), ECC, True),
    "an ECC error, not over the hang of another run": (merged(HANG, OTHER_RUN), ECC, False),
    "a ticket of a small fault, not over the hang": (HANG, HOT, False),
    "a hang, not over the ECC error": (ECC, HANG, False),
    "a small run's ECC error over its hang": (merged(HANG, TICKET), merged(ECC, TICKET), True),
    "a dark node over its devices": (ECC, DARK, True),
    "a dark node over its silent agent": (SILENT, DARK, True),
    "a dark node over the hang of its run": (HANG, DARK, True),
    "a dark node, not over other nodes": (merged(ECC, ELSEWHERE), DARK, False),
    "an idle dark node, a ticket, over its silent agent": (SILENT, DARK_IDLE, True),
    "an idle dark node, a ticket, not over a page": (ECC, DARK_IDLE, False),
    "a dark node, not over what the fast path sent": (merged(ECC, FAST), DARK, False),
    "a silent agent over its sources": (SOURCE, SILENT, True),
    "a silent agent, not over a fault": (merged(ECC, TICKET, IDLE), SILENT, False),
    "a silent agent that is paged, not over a page": (ECC, merged(SILENT, PAGE, RUN), False),
    "a rack over its links": (LINK, RACK, True),
    "a rack over its links in another run": (merged(LINK, OTHER_RUN), RACK, True),
    "a rack over its dark nodes": (DARK, RACK, True),
    "a rack over the hang of its run": (HANG, RACK, True),
    "a rack over its links' tickets": (fault("net_link_flap", TICKET, OTHER_RUN), RACK, True),
    "a rack, not over memory": (merged(ECC, OTHER_RUN), RACK, False),
    "a rack, not over another rack's link": (merged(LINK, {"rack": "r13"}, OTHER_RUN), RACK, False),
    "a rack in no run, a ticket, over tickets": (fault("net_link_down", TICKET, IDLE), RACK_IDLE, True),
    "a rack in no run, a ticket, not over a page": (LINK, RACK_IDLE, False),
    "a link, not over its rack": (RACK, LINK, False),
    "maintenance over a page": (ECC, WORK, True),
    "maintenance over the fast path": (merged(ECC, FAST), WORK, True),
    "maintenance over the dark node": (DARK, WORK, True),
    "maintenance over tickets": (SOURCE, WORK, True),
    "maintenance, not over other nodes": (merged(ECC, ELSEWHERE), WORK, False),
    "maintenance, not over others' alerts": ({"alertname": "DiskFull", **NODE, **PAGE}, WORK, False),
    "maintenance, not over a drill": (merged(ECC, DRILL), WORK, False),
    "the fast path over the rule": (ECC, merged(ECC, FAST), True),
    "the fast path over the rule of the same fault, once a ticket": (
        merged(ECC, TICKET, IDLE),
        merged(ECC, FAST),
        True,
    ),
    "the fast path over the rule, of a host": (HOST, merged(HOST, FAST), True),
    "the rule, not over the fast path": (merged(ECC, FAST), ECC, False),
    "the fast path, not over another device's": (merged(ECC, {"device": "4"}, OTHER_RUN), merged(ECC, FAST), False),
    "the fast path, not over another class": (merged(HOT, PAGE, OTHER_RUN), merged(ECC, FAST), False),
    "the fast path of a host, not over its devices": (
        fault("host", OTHER_RUN, {"vendor": "host"}),
        merged(HOST, FAST),
        False,
    ),
    "the fast path over the hang of its run": (HANG, merged(LINK, FAST), True),
    "the fast path over the dark node of its run": (DARK, merged(ECC, FAST), True),
    "the fast path over the rack of its run": (RACK, merged(LINK, FAST), True),
    "a rack, not over what the fast path sent": (merged(LINK, FAST), RACK, False),
    "the fast path, not over another run's hang": (merged(HANG, OTHER_RUN), merged(LINK, FAST), False),
    "a page over a ticket of its incident": (fault("net_errors", TICKET, ELSEWHERE), ECC, True),
    "a page, not over another incident's ticket": (fault("net_errors", TICKET, ELSEWHERE, OTHER_RUN), ECC, False),
    "a ticket, not over a page": (ECC, fault("net_errors", TICKET), False),
    "a page, not over what is only information": (other("RunInterrupted", INFO, RUN), ECC, False),
    "a drill, not over the real fault": (ECC, merged(ECC, FAST, DRILL), False),
    "a drill, not over a ticket": (HOT, merged(ECC, DRILL), False),
    "a fault, not over the drill": (merged(ECC, DRILL), LOST, False),
    "the drill's fast path over the drill's rule": (merged(ECC, DRILL), merged(ECC, FAST, DRILL), True),
}
# Alertmanager takes two absent labels for equal: each of these would be hidden without its guard.
ABSENT = {
    "device": (merged(ECC, {"device": ""}, OTHER_RUN), merged(LOST, {"device": ""})),
    "node": (merged(ECC, {"node": ""}, OTHER_RUN), merged(DARK, {"node": ""})),
    "node in maintenance": (merged(ECC, {"node": ""}), merged(WORK, {"node": ""})),
    "rack": (merged(LINK, {"rack": ""}, OTHER_RUN), merged(RACK, {"rack": ""})),
    "incident of a ticket": (fault("net_errors", TICKET, {"incident": ""}), merged(ECC, {"incident": ""})),
    "incident of a hang": (merged(HANG, {"incident": ""}), merged(ECC, {"incident": ""})),
    "incident of the fast path": (merged(HANG, {"incident": ""}), merged(ECC, FAST, {"incident": ""})),
    "class": (merged(SILENT, {"vendor": "nvidia"}), merged(ECC, FAST, {"class": "", "device": ""})),
    "vendor": (merged(ECC, TICKET, IDLE, {"vendor": ""}), merged(ECC, FAST, {"vendor": ""})),
}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """One that sends nothing: asked what hides what. Each case is a cluster of its own."""
    with running(silent(shipped()), tmp_path_factory.mktemp("judge")) as alertmanager:
        yield alertmanager


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    with serving(one.server):
        yield one


@pytest.fixture(scope="module")
def pager(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """One whose receivers are web hooks, named by the path."""
    document = without_waiting(shipped())
    for one in document["receivers"]:
        one["webhook_configs"] = [{"url": f"{receiver.url}/{one['name']}"}]
    with running(document, tmp_path_factory.mktemp("pager")) as alertmanager:
        yield alertmanager


@pytest.mark.parametrize("document", [shipped(), with_examples()], ids=["as shipped", "with every example made real"])
def test_amtool_accepts_it(document: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(document))
    done = subprocess.run(
        ["amtool", "check-config", str(tmp_path / "alertmanager.yml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 templates" in done.stdout


def test_the_examples_cover_each_kind_of_receiver_and_hold_no_secret() -> None:
    document = with_examples()
    kinds = {key for receiver in document["receivers"] for key in receiver if key.endswith("_configs")}
    assert kinds == {"pagerduty_configs", "webhook_configs", "email_configs", "slack_configs"}
    assert any("mute_time_intervals" in route for route in document["route"]["routes"])
    secret = re.compile(r"(password|credentials|routing_key|service_key|api_url|api_key|token|secret):", re.IGNORECASE)
    assert not secret.search(SHIPPED.read_text())
    assert len(re.findall(r"(credentials|password|key|url)_file: /", SHIPPED.read_text())) >= 5


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (ECC, "page"),
        (merged(ECC, FAST), "page"),
        (HANG, "page"),
        (HOT, "ticket"),
        (merged(ECC, DRILL), "page"),
        (merged(ECC, DRILL, FAST), "page"),
        (merged(HOT, DRILL), "ticket"),
        (other("RunInterrupted", INFO, RUN), "info"),
        (other("Watchdog", INFO), "watchdog"),
        (other("Watchdog"), "watchdog"),
        ({"alertname": "AccelwatchNew", "severity": "strange"}, "ticket"),
        ({"alertname": "AccelwatchNew"}, "ticket"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_each_severity_goes_to_its_receiver(labels: dict[str, str], expected: str) -> None:
    done = subprocess.run(
        ["amtool", "config", "routes", "test", f"--config.file={SHIPPED}", f"--verify.receivers={expected}",
         *(f"{name}={value}" for name, value in labels.items())],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_of_the_fast_path_and_of_the_rules_share_one_group() -> None:
    """One route, one group: the rule's alert of a fault goes on when the fast path's is resolved, and rings no second
    time. What waits is told at once, but for a quarter of a second."""
    routes = shipped()["route"]["routes"]
    assert not [route for route in routes if any("path=" in str(matcher) for matcher in route["matchers"])]
    (page,) = [route for route in routes if route["matchers"] == ['severity="page"']]
    assert page["group_wait"] == "250ms"


def test_every_equal_label_has_a_guard() -> None:
    for rule in shipped()["inhibit_rules"]:
        matchers = [*rule["source_matchers"], *rule["target_matchers"]]
        for label in rule["equal"]:
            present = [m for m in matchers if re.match(rf'{label}(!=""|=~?"[^"]+")', m)]
            assert present, f"{label} may be absent on both sides of {rule}"


def test_causes_hide_their_symptoms_and_nothing_else(judge: Alertmanager) -> None:
    for number, (target, source, _) in enumerate(CASES.values()):
        cluster = f"case-{number}"
        judge.post({**target, "cluster": cluster, "id": "target"}, {**source, "cluster": cluster, "id": "source"})
    judge.settle()
    states = {(a["labels"]["cluster"], a["labels"]["id"]): bool(a["status"]["inhibitedBy"]) for a in judge.alerts()}
    found = {name: states[f"case-{number}", "target"] for number, name in enumerate(CASES)}
    assert found == {name: hidden for name, (_, _, hidden) in CASES.items()}
    assert not [name for number, name in enumerate(CASES) if CASES[name][2] and states[f"case-{number}", "source"]]


def test_a_label_that_is_absent_on_both_sides_equals_nothing(judge: Alertmanager) -> None:
    for name, (target, source) in ABSENT.items():
        judge.post(
            {**target, "cluster": f"no {name}", "id": "target"}, {**source, "cluster": f"no {name}", "id": "source"}
        )
    for name in ABSENT:
        assert judge.hidden(f"no {name}") == {"target": False, "source": False}, name


def test_alerts_without_a_cluster_hide_nothing(judge: Alertmanager) -> None:
    sources = (LOST, DARK, RACK, WORK, merged(ECC, FAST), SILENT, merged(ECC, FAST, DRILL))
    judge.post(
        *({**alert, "id": f"lone {number}"} for number, alert in enumerate((*sources, ECC, HANG, LINK, SOURCE, HOT)))
    )
    judge.settle()
    lone = [alert for alert in judge.alerts() if alert["labels"]["id"].startswith("lone")]
    assert len(lone) == len(sources) + 5
    assert not [alert["labels"] for alert in lone if alert["status"]["inhibitedBy"]]


def test_no_two_alerts_of_an_incident_hide_each_other_and_no_ticket_a_page(judge: Alertmanager) -> None:
    """Else both would be lost. Every pair is put to Alertmanager; who hides whom must have no circle."""
    pages = [
        LOST,
        ECC,
        HOST,
        LINK,
        HANG,
        DARK,
        RACK,
        fault("hang_no_error"),
        merged(SILENT, PAGE, RUN),
        fault("thermal"),
    ]
    tickets = [merged(alert, TICKET) for alert in pages] + [SILENT, SOURCE, MISSING, HOT, RACK_IDLE, DARK_IDLE]
    alerts = [*pages, *(merged(alert, FAST) for alert in (LOST, ECC, HOST, LINK)), *tickets, WORK]
    names = [f"{a['alertname']} {a['severity']} {a.get('path', '')} {a['incident']}" for a in alerts]
    pairs = list(itertools.combinations(range(len(alerts)), 2))
    judge.post(*({**alerts[n], "cluster": f"pair {pair}", "id": str(n)} for pair in pairs for n in pair))
    judge.settle()
    hidden_by: dict[int, set[int]] = {number: set() for number in range(len(alerts))}
    for alert in judge.alerts():
        if alert["labels"].get("cluster", "").startswith("pair") and alert["status"]["inhibitedBy"]:
            number = int(alert["labels"]["id"])
            one, two = map(int, re.findall(r"\d+", alert["labels"]["cluster"]))
            hidden_by[number].add(one + two - number)
    assert sum(map(len, hidden_by.values())) > 100, "they do hide each other"
    order = list(graphlib.TopologicalSorter(hidden_by).static_order())  # raises at a circle
    assert len(order) == len(alerts)
    for number, sources in hidden_by.items():
        if alerts[number]["severity"] == "page":
            lesser = [names[n] for n in sources if alerts[n]["severity"] != "page" and alerts[n] is not WORK]
            assert not lesser, names[number]


def test_everything_of_one_incident_at_once_leaves_its_root(judge: Alertmanager) -> None:
    rules = {"ecc": ECC, "lost": LOST, "hang": HANG, "dark": DARK, "silent": SILENT, "source": SOURCE, "hot": HOT}
    judge.post(*({**alert, "cluster": "rules", "id": name} for name, alert in rules.items()))
    assert [name for name, hidden in judge.hidden("rules").items() if not hidden] == ["dark"]
    judge.post(*({**a, "cluster": "fast", "id": name} for name, a in {**rules, "fast": merged(LOST, FAST)}.items()))
    assert [name for name, hidden in judge.hidden("fast").items() if not hidden] == ["fast"]


def test_what_hid_a_symptom_and_is_over_hides_it_no_longer(judge: Alertmanager) -> None:
    hang, ecc = {**HANG, "cluster": "over", "id": "hang"}, {**ECC, "cluster": "over", "id": "ecc"}
    judge.post(hang, ecc)
    assert judge.hidden("over")["hang"]
    judge.post(ecc, minutes=0)
    assert not judge.hidden("over")["hang"]


def test_one_incident_is_one_page_and_one_resolution(pager: Alertmanager, receiver: Receiver) -> None:
    """64 nodes hang, one link is the cause: the rules' alerts in several requests, 0.1 s apart."""
    link, hang = {**LINK, "cluster": "one"}, {**HANG, "cluster": "one"}
    peers = [fault("net_errors", TICKET, {"node": f"gpu-{n}", "cluster": "one"}, ends_run=False) for n in range(20, 83)]
    pager.post(hang)
    time.sleep(0.1)
    pager.post(link, *peers)
    until("the page", lambda: receiver.of("one"))
    time.sleep(2.5)  # two group intervals
    assert [(path, body["status"]) for path, body in receiver.of("one")] == [("/page", "firing")]
    assert [alert["labels"]["alertname"] for alert in receiver.of("one")[0][1]["alerts"]] == ["AccelwatchNetLinkDown"]
    pager.post(link, hang, *peers, minutes=0)
    until("the resolution", lambda: len(receiver.of("one")) > 1)
    assert [(path, body["status"]) for path, body in receiver.of("one")] == [("/page", "firing"), ("/page", "resolved")]


def test_the_fast_path_pages_at_once_and_the_rule_does_not_page_again(pager: Alertmanager, receiver: Receiver) -> None:
    began = time.time()
    pager.post({**ECC, **FAST, "cluster": "swift"})
    until("the page", lambda: receiver.of("swift"))
    arrived = next(at for _, at, body in receiver.received if body.get("groupLabels", {}).get("cluster") == "swift")
    assert arrived - began < 1.0
    pager.post({**ECC, "cluster": "swift"}, {**HANG, "cluster": "swift"}, {**HOT, "cluster": "swift"})
    time.sleep(2.5)
    assert [(path, len(body["alerts"])) for path, body in receiver.of("swift")] == [("/page", 1)]


def test_a_fault_that_the_fast_path_resolves_first_rings_no_second_time(
    pager: Alertmanager, receiver: Receiver
) -> None:
    """The rule's alert outlives it by its keep_firing_for: the same page goes on, and ends once."""
    rule, fast = {**ECC, "cluster": "twice"}, {**ECC, **FAST, "cluster": "twice"}
    pager.post(fast)
    until("the page", lambda: receiver.of("twice"))
    pager.post(rule)
    pager.post(fast, minutes=0)
    time.sleep(3)
    pager.post(rule, minutes=0)
    until("the resolution", lambda: any(body["status"] == "resolved" for _, body in receiver.of("twice")))
    bodies = [body for _, body in receiver.of("twice")]
    assert len({body["groupKey"] for body in bodies}) == 1
    assert [body["status"] for body in bodies].count("resolved") == 1
    assert bodies[-1]["status"] == "resolved"


def test_incidents_are_pages_of_their_own(pager: Alertmanager, receiver: Receiver) -> None:
    pager.post(*({**ECC, **FAST, "cluster": "many", **run} for run in (RUN, OTHER_RUN, IDLE)))
    until("three pages", lambda: len(receiver.of("many")) >= 3)
    assert {body["groupLabels"]["incident"] for _, body in receiver.of("many")} == {
        "run/4711",
        "run/4712",
        "node/gpu-17",
    }
    assert len(receiver.of("many")) == 3


def test_a_drill_is_a_page_apart_from_a_real_one(pager: Alertmanager, receiver: Receiver) -> None:
    pager.post({**ECC, **FAST, "cluster": "drill"}, {**ECC, **FAST, **DRILL, "cluster": "drill"})
    until("both", lambda: len(receiver.of("drill")) >= 2)
    assert sorted(body["commonLabels"].get("drill", "") for _, body in receiver.of("drill")) == ["", "true"]


def test_the_watchdog_is_told_again_and_again(pager: Alertmanager, receiver: Receiver) -> None:
    pager.post({"alertname": "AccelwatchWatchdog", "severity": "info", "cluster": "alive"})
    document = shipped()
    watchdog = next(route for route in document["route"]["routes"] if route["receiver"] == "watchdog")
    assert watchdog["repeat_interval"] == "30s"
    assert watchdog["group_interval"] == "1m", "a repeat is due at the first interval"
    until("the first", lambda: receiver.of("alive"))
    assert receiver.of("alive")[0][0] == "/watchdog"

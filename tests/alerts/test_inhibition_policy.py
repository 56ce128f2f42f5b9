"""What hides what, said a second time in words of its own, and compared with a real Alertmanager pair by pair.

An inhibition rule that loses a guard, a matcher or an `equal` label, or is dropped, differs from it in some pair.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from paging_alerts import (
    DARK,
    DRILL,
    ECC,
    FAST,
    HANG,
    HOST,
    HOT,
    INFO,
    LINK,
    LOST,
    MISSING,
    PAGE,
    RACK,
    SILENT,
    SOURCE,
    TICKET,
    WORK,
    fault,
    merged,
)
from real_alertmanager import ALERTS, running, shipped, silent

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("prometheus-alertmanager") is None, reason="Alertmanager is not installed"),
]

Alert = Mapping[str, str]
HANG_OF_NODE = fault("hang_no_error")
SYMPTOMS = {"RunHang", "RunStalls", "HangNoError", "CollectiveTimeout", "FailSlow"}
OF_A_RACK = {
    "NetLinkDown",
    "NetLinkFlap",
    "NetErrors",
    "FabricSwitch",
    "Power",
    "DeviceLost",
    "NodeDark",
    "AgentSilent",
}
OF_AN_AGENT = {
    "SourceFailing", "DevicesMissing", "DeviceUnhealthy", "VersionDrift", "DriverDrift", "ConfigDrift", "ClockSkew",
    "ConfigReloadFailed", "PagerFailing", "JournalDegraded", "FaultsUnjournalled", "KernelLogLost", "TargetMislabelled",
}  # fmt: skip


def hides(source: Alert, target: Alert) -> bool:
    """The policy."""
    one, two = (alert["alertname"].removeprefix("Accelwatch") for alert in (source, target))
    level, below = source.get("severity"), target.get("severity")

    def same(*labels: str) -> bool:
        return all(source.get(label) and source[label] == target.get(label) for label in labels)

    if source.get("cluster") != target.get("cluster") or not target["alertname"].startswith("Accelwatch"):
        return False
    if one == "Maintenance":
        return same("node") and "drill" not in target and below in ("page", "ticket")
    if "path" in target or source.get("drill") != target.get("drill"):
        return False
    fast, ours = "path" in source, source["alertname"].startswith("Accelwatch")
    of_host = "device" not in source and "device" not in target
    if fast and same("node", "vendor", "class") and (same("device") or of_host or "drill" in source):
        return True
    if "drill" in source or below not in ("page", "ticket"):
        return False
    not_above = level == below or level == "page"
    return (
        (fast and below == "page" and same("incident"))
        or (one == "SharedComponent" and not_above and same("rack") and two in OF_A_RACK)
        or (one == "NodeDark" and not_above and same("node") and two not in ("NodeDark", "SharedComponent"))
        or (one == "AgentSilent" and below == "ticket" and level != "info" and same("node") and two in OF_AN_AGENT)
        or (one == "DeviceLost" and level == below and same("node") and two == "DevicesMissing")
        or (one == "DeviceLost" and level == below and same("node", "vendor", "device")
            and two not in ("DeviceLost", "NodeDark", "SharedComponent"))
        or (two in SYMPTOMS and level == below and one in ("NodeDark", "SharedComponent") and same("incident"))
        or (two in SYMPTOMS and level == below and one not in SYMPTOMS and ours
            and source.get("fault_severity") == "run_ending" and (same("incident") or same("node")))
        or (level == "page" and below == "ticket" and ours and same("incident"))
    )  # fmt: skip


# A label `cluster` is made one's own by the number of the pair.
SOURCES = [
    WORK,
    merged(ECC, FAST),
    merged(HOST, FAST),
    merged(ECC, FAST, DRILL),
    RACK,
    merged(RACK, TICKET),
    DARK,
    merged(DARK, TICKET),
    merged(SILENT, PAGE),
    LOST,
    ECC,
    HOT,
    HANG_OF_NODE,
]
TARGETS = [ECC, HOST, LINK, DARK, RACK, SOURCE, MISSING, HANG, HANG_OF_NODE]


def pairs() -> Iterator[tuple[Alert, Alert]]:
    """Sources and targets that agree in everything, in all but the incident, and then in all but one more thing."""
    for source, target, severity in itertools.product(SOURCES, TARGETS, (PAGE, TICKET)):
        one = merged(source, {"incident": "run/4711"})
        two = merged(target, severity, {"incident": "run/4711"}, DRILL if "drill" in one else {})
        yield from alike(one, two)
        yield merged(one, {"incident": ""}), merged(two, {"incident": ""})
        two = merged(two, {"incident": "run/4712"})
        yield one, two
        if one["severity"] == two["severity"] or source in (WORK, merged(SILENT, PAGE)):
            for label in ("node", "vendor", "device", "class", "rack"):
                if label in one and label in two:
                    yield one, merged(two, {label: "another"})
                    yield merged(one, {label: ""}), merged(two, {label: ""})
                elif label in two:
                    yield merged(one, {label: two[label]}), two
            yield from alike(one, two)
            yield one, merged(two, {"device": ""})
            yield merged(one, {"device": ""}), two


def alike(one: Alert, two: Alert) -> Iterator[tuple[Alert, Alert]]:
    """The two, and with the other severity, path, drill, cluster or origin."""
    yield one, two
    yield one, merged(two, INFO)
    yield one, merged(two, {"cluster": " of another"})
    yield one, merged(two, {"alertname": "NotOurs"})
    yield merged(one, {"alertname": "NotOurs"}), two
    yield merged(one, {"drill": "" if "drill" in one else "true"}), two
    yield one, merged(two, {"drill": "" if "drill" in two else "true"})
    if "path" not in one and one["severity"] == "page":
        yield merged(one, INFO), two
        yield merged(one, INFO), merged(two, INFO)
        yield merged(one, TICKET), two
    if two["severity"] == "page" and "class" in two:
        yield one, merged(two, FAST)


def test_alertmanager_hides_what_the_policy_hides(tmp_path: Path) -> None:
    # Each pair once, whatever it was made from.
    tried = list({repr((sorted(one.items()), sorted(two.items()))): (one, two) for one, two in pairs()}.values())
    states: dict[str, bool] = {}
    for first in range(0, len(tried), 500):  # it compares each target with all sources: many at once take long
        with running(silent(shipped()), tmp_path / str(first)) as alertmanager:
            alertmanager.post(
                *(
                    {**alert, "cluster": f"pair {number}{alert.get('cluster', '')}", "pair": str(number), "role": role}
                    for number, pair in enumerate(tried[first : first + 500], first)
                    for role, alert in zip(("source", "target"), pair, strict=True)
                )
            )
            alertmanager.settle()
            for alert in alertmanager.alerts():
                if alert["labels"].get("role") == "target":
                    states[alert["labels"]["pair"]] = bool(alert["status"]["inhibitedBy"])
    found = [states[str(number)] for number in range(len(tried))]
    expected = [hides(source, target) for source, target in tried]
    wrong = [(was, *pair) for was, wanted, pair in zip(found, expected, tried, strict=True) if was != wanted]
    assert not wrong, f"{len(wrong)} of {len(tried)}, such as (hidden, source, target): {wrong[:3]}"
    assert sum(expected) > 400


def test_every_alert_that_a_rule_names_is_one_that_the_rules_send() -> None:
    """A name that is spelt otherwise hides nothing."""
    rules = [yaml.safe_load(path.read_text()) for path in (ALERTS / "rules").glob("*.yml")]
    sent = {
        rule["alert"]
        for document in rules
        for group in document["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    named = [
        re.compile(found[1])
        for rule in shipped()["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        if (found := re.fullmatch(r'alertname[=!]~?"(.+)"', matcher))
    ]
    for name in {f"Accelwatch{word}" for word in SYMPTOMS | OF_A_RACK | OF_AN_AGENT}:
        assert name in sent
        assert any(pattern.fullmatch(name) for pattern in named if pattern.pattern != "Accelwatch.+"), name
    for pattern in named:
        assert any(pattern.fullmatch(name) for name in sent), pattern.pattern

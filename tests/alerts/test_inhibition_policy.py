"""What hides what, said a second time in words of its own, and compared with a real Alertmanager pair by pair.

An inhibition rule that loses a guard, a matcher or an `equal` label, or is dropped, differs from it in some pair.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

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
    other,
)
from real_alertmanager import running, shipped

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("prometheus-alertmanager") is None, reason="Alertmanager is not installed"),
]

Alert = Mapping[str, str]
HANG_OF_NODE = fault("hang_no_error")
SYMPTOMS = {"RunHang", "HangNoError", "CollectiveTimeout", "FailSlow"}
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
OF_AN_AGENT = {"SourceFailing", "DevicesMissing", "VersionDrift", "ConfigDrift", "ClockSkew", "ConfigReloadFailed", "JournalDegraded"}  # fmt: skip


def hides(source: Alert, target: Alert) -> bool:
    """The policy."""
    one, two = (alert["alertname"].removeprefix("Accelwatch") for alert in (source, target))
    level, below = source.get("severity"), target.get("severity")

    def same(*labels: str) -> bool:
        return all(source.get(label) and source[label] == target.get(label) for label in labels)

    if not target["alertname"].startswith("Accelwatch") or below not in ("page", "ticket"):
        return False
    if one == "Maintenance":
        return same("node") and "drill" not in target
    if "path" in target or source.get("drill") != target.get("drill"):
        return False
    fast = "path" in source
    if "drill" in source:
        return fast and same("node", "vendor", "class")
    of_host = "device" not in source and "device" not in target
    not_above = level == below or level == "page"
    return (
        (fast and same("node", "vendor", "class") and (same("device") or of_host))
        or (fast and below == "page" and same("incident"))
        or (one == "SharedComponent" and not_above and same("rack") and two in OF_A_RACK)
        or (one == "NodeDark" and not_above and same("node") and two not in ("NodeDark", "SharedComponent"))
        or (one == "AgentSilent" and below == "ticket" and level != "info" and same("node") and two in OF_AN_AGENT)
        or (one == "DeviceLost" and level == below and same("node") and two == "DevicesMissing")
        or (one == "DeviceLost" and level == below and same("node", "vendor", "device")
            and two not in ("DeviceLost", "NodeDark", "SharedComponent"))
        or (two in SYMPTOMS and level == below and one in ("NodeDark", "SharedComponent") and same("incident"))
        or (two in SYMPTOMS and level == below and one not in SYMPTOMS
            and source.get("fault_severity") == "run_ending" and (same("incident") or same("node")))
        or (level == "page" and below == "ticket" and same("incident"))
    )  # fmt: skip


def pairs() -> Iterator[tuple[Alert, Alert]]:
    """Sources and targets that agree in everything, in all but the incident, and then in all but one more thing."""
    sources = [
        WORK,
        merged(ECC, FAST),
        merged(HOST, FAST),
        RACK,
        DARK,
        merged(SILENT, PAGE),
        LOST,
        ECC,
        HOT,
        HANG_OF_NODE,
    ]
    targets = [
        ECC,
        HOST,
        LOST,
        LINK,
        DARK,
        RACK,
        SILENT,
        SOURCE,
        MISSING,
        HANG,
        HANG_OF_NODE,
        HOT,
        other("RunInterrupted", INFO),
    ]
    for source, target in itertools.product(sources, targets):
        for incident, severity in itertools.product(("run/4711", "run/4712"), (PAGE, TICKET)):
            one, two = merged(source, {"incident": "run/4711"}), merged(target, severity, {"incident": incident})
            if source["severity"] == "ticket":
                one = merged(one, severity)
            yield one, two
            yield merged(one, DRILL), two
            yield one, merged(two, DRILL)
            yield merged(one, DRILL), merged(two, DRILL)
            if "path" not in one and source is not WORK:
                yield merged(one, TICKET), two
                yield merged(one, INFO), two
            if severity is PAGE and "class" in two:
                yield one, merged(two, FAST)
            yield one, merged(two, {"alertname": "NotOurs"})
            if one["incident"] == two["incident"]:
                yield merged(one, {"incident": ""}), merged(two, {"incident": ""})
                continue
            for label in ("node", "vendor", "device", "class", "rack"):
                if label in one and label in two:
                    yield one, merged(two, {label: "another"})
                    yield merged(one, {label: ""}), merged(two, {label: ""})
                elif label in two:
                    yield merged(one, {label: two[label]}), two


def test_alertmanager_hides_what_the_policy_hides(tmp_path: Path) -> None:
    # Each pair once, whatever it was made from.
    tried = list({repr((sorted(one.items()), sorted(two.items()))): (one, two) for one, two in pairs()}.values())
    states: dict[tuple[str, str], bool] = {}
    for first in range(0, len(tried), 500):  # it compares each target with all sources: many at once take long
        with running(shipped(), tmp_path / str(first)) as alertmanager:
            alertmanager.post(
                *(
                    {**alert, "cluster": f"pair {number}", "id": role}
                    for number, pair in enumerate(tried[first : first + 500], first)
                    for role, alert in zip(("source", "target"), pair, strict=True)
                )
            )
            alertmanager.settle()
            for alert in alertmanager.alerts():
                states[alert["labels"]["cluster"], alert["labels"]["id"]] = bool(alert["status"]["inhibitedBy"])
    found = [states[f"pair {number}", "target"] for number in range(len(tried))]
    expected = [hides(source, target) for source, target in tried]
    wrong = [(was, *pair) for was, wanted, pair in zip(found, expected, tried, strict=True) if was != wanted]
    assert not wrong, f"{len(wrong)} of {len(tried)}, such as (hidden, source, target): {wrong[:3]}"
    assert 0.1 < sum(expected) / len(expected) < 0.9

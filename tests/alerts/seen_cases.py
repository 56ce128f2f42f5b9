"""What the unit tests of the rules see of each alert: that it fires, is silent just before, and is over afterwards."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alerts.shipped_rules import TESTS, rules

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Look:
    """One question of a unit test. `shown`: the label sets of an alert that it expects; none: the alert is silent."""

    alert: str
    question: str
    at: float
    shown: frozenset[str]


def looks() -> list[list[Look]]:
    """Those of each unit test."""
    return [
        list(_looks_of(test, {Path(name).name for name in document["rule_files"]}))
        for document in (yaml.safe_load(path.read_text()) for path in TESTS)
        for test in document["tests"]
    ]


def fires(tests: list[list[Look]]) -> set[str]:
    """Alerts that some test sees fire."""
    return {look.alert for test in tests for look in test if look.shown}


def silent_before(tests: list[list[Look]]) -> set[str]:
    """Alerts that a test sees silent, and later fire on the same series."""
    return {
        one.alert
        for test in tests
        for one in test
        if not one.shown and any(two.alert == one.alert and two.shown and two.at > one.at for two in test)
    }


def over_afterwards(tests: list[list[Look]]) -> set[str]:
    """Alerts of which a test sees one end: all are silent later, or the same question shows it no more."""
    return {
        one.alert
        for test in tests
        for one in test
        for two in test
        if one.alert == two.alert
        and two.at > one.at
        and one.shown
        and (not two.shown or (one.question == two.question and one.shown - two.shown))
    }


def _looks_of(test: dict[str, Any], loaded: set[str]) -> Iterator[Look]:
    known = {rule["alert"] for file, rule in rules() if "alert" in rule and file.name in loaded}
    for case in test.get("alert_rule_test", ()):
        shown = frozenset(str(sorted(alert["exp_labels"].items())) for alert in case["exp_alerts"])
        yield Look(case["alertname"], "", _seconds(case["eval_time"]), shown)
    for case in test.get("promql_expr_test", ()):
        if "ALERTS" not in case["expr"]:
            continue
        asked = re.search(r'alertname=~?"([^"]*)"', case["expr"])
        meant = {name for name in known if re.fullmatch(asked[1] if asked else "Accelwatch.*", name)}
        shown_of: dict[str, set[str]] = defaultdict(set)
        for sample in case["exp_samples"]:
            named = re.search(r'alertname="([^"]*)"', sample["labels"])
            for name in {named[1]} if named else meant if len(meant) == 1 else ():
                shown_of[name].add(sample["labels"])
        for name in meant:
            yield Look(name, case["expr"], _seconds(case["eval_time"]), frozenset(shown_of[name]))


def _seconds(duration: str | int) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhd])", str(duration)))

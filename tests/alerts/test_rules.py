"""The shipped rules: accepted by promtool, right in their own unit tests, and in step with the taxonomy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import Kind
from alerts.shipped_rules import ALERTS, RULES, TESTS, needs_promtool, promtool


@needs_promtool
@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_promtool_accepts_the_rules(path: Path) -> None:
    done = promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_the_rules_do_what_their_unit_tests_say(path: Path) -> None:
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_unit_test_that_expects_something_else_fails(tmp_path: Path) -> None:
    """Otherwise the test before would prove nothing."""
    document = yaml.safe_load((ALERTS / "tests" / "runs_test.yml").read_text())
    document["rule_files"] = [str(ALERTS / "rules" / "runs.yml")]
    document["tests"] = document["tests"][-4:-3]
    sample = document["tests"][0]["promql_expr_test"][0]["exp_samples"][0]
    sample["value"] += 1
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", str(tmp_path / "wrong.yml"))
    assert done.returncode == 1
    assert "accelwatch:run_interruption:cause_timestamp_seconds" in done.stdout + done.stderr


def expression(record: str) -> str:
    groups = yaml.safe_load((ALERTS / "rules" / "runs.yml").read_text())["groups"]
    found: str = next(rule["expr"] for group in groups for rule in group["rules"] if rule.get("record") == record)
    return found


def test_every_class_is_a_cause_an_application_or_a_symptom_in_the_rules_as_in_the_taxonomy() -> None:
    """The rules cannot read the taxonomy: a class that is missing here would be taken for a cause."""
    classes = load().classes
    application = {name for name, class_ in classes.items() if class_.kind is Kind.APPLICATION}
    symptoms = {name for name, class_ in classes.items() if class_.kind is Kind.SYMPTOM}
    text = expression("accelwatch:run_interruption:cause_timestamp_seconds")
    no_causes = [set(names.split("|")) for names in re.findall(r'class!~"([^"]+)"', text)]
    assert no_causes == [application | symptoms | {"operator", "unknown"}] * 2
    named = [set(names.split("|")) for names in re.findall(r'class=~"([^"]+)"', text)]
    assert named == [application | {"operator"}, application, symptoms]


def test_every_recorded_series_is_explained() -> None:
    """A comment stands above each rule, or above the first of its group."""
    lines = (ALERTS / "rules" / "runs.yml").read_text().splitlines()
    for number, line in enumerate(lines):
        if "- record:" in line:
            above = [text.strip() for text in lines[max(0, number - 5) : number] if text.strip() != "rules:"]
            above = [text for text in above if not text.startswith(("- name:", "interval:"))]
            assert above[-1].startswith("#"), line

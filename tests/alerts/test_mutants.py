"""The mutation test of the rules in short form; `make mutants` tries all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerts.mutants import EQUIVALENT, Equivalent, Mutant, cases_of, killed_by, mutants
from alerts.shipped_rules import RULES, needs_promtool, rules
from alerts.unit_cases import dependents, unit_cases

ALL = {path.name: list(mutants(path)) for path in RULES}
# Their unit tests take a second or two. One in thirteen, so that the two directions of a change and all kinds take part.
QUICK = ("nodes.yml", "agents.yml", "interruptions.yml")
CASES = unit_cases()
READERS = dependents()
SOME = [one for name in QUICK for one in ALL[name]][::13]


@needs_promtool
@pytest.mark.parametrize("mutant", SOME, ids=str)
def test_a_changed_number_fails_a_unit_test(mutant: Mutant) -> None:
    assert killed_by(mutant, cases_of(mutant, CASES, READERS)) is not None


@needs_promtool
def test_an_unchanged_rule_fails_none() -> None:
    """Otherwise the test before would prove nothing."""
    one = SOME[0]
    same = Mutant(one.path, one.rule, one.start, one.end, one.old, one.old)
    assert killed_by(same, cases_of(one, CASES, READERS)) is None


@pytest.mark.parametrize("entry", EQUIVALENT, ids=lambda entry: f"{entry.rule} {entry.new}")
def test_what_is_excused_is_there(entry: Equivalent) -> None:
    assert any(mutant.equivalent is entry for found in ALL.values() for mutant in found)


def test_every_wait_and_every_threshold_is_changed() -> None:
    changed = {(name, one.rule) for name, found in ALL.items() for one in found}
    for path, rule in rules():
        name = rule.get("alert") or rule["record"]
        numbered = re.search(r"\[\d|(?:[<>]=?|[=!]=)(?: bool)? \d", rule["expr"])
        if numbered or "for" in rule or "keep_firing_for" in rule:
            assert (path.name, name) in changed


def test_a_mutant_differs_in_its_number_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(
        "groups:\n  - name: g\n    rules:\n      # 5m\n      - alert: A\n"
        '        expr: 0 * x{a="7"} + rate(y[5m]) > 3\n        for: 2m\n        annotations: {summary: "9 > 8"}\n'
    )
    text = path.read_text()
    made = [text[: one.start] + one.new + text[one.end :] for one in mutants(path)]
    assert [one.old for one in mutants(path)] == ["5m", "5m", "3", "3", "2m", "2m"]
    assert text.replace("[5m]", "[150s]") in made
    assert text.replace("> 3", "> 4") in made
    assert text.replace("for: 2m", "for: 240s") in made


def test_a_window_may_be_of_several_units(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text("groups: [{name: g, rules: [{record: r, expr: 'sum_over_time(x[1h59m59s999ms])'}]}]\n")
    assert [(one.old, one.new) for one in mutants(path)] == [("1h59m59s999ms", "3599s"), ("1h59m59s999ms", "14399s")]

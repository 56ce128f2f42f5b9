"""Every alert: what it must carry, that it is tested, that it has a runbook, and that all that is named exists."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from accelwatch import cli
from accelwatch.commands import class_rules
from accelwatch.metrics.catalogue import FAMILIES
from accelwatch.taxonomy.loader import load
from alerts.seen_cases import fires, looks, over_afterwards, silent_before
from alerts.shipped_rules import ALERTS, RULES, RUNBOOKS, TESTS, alerts, needs_promtool, promtool, records, rules

TARGET_LABELS = {"cluster", "node", "rack", "instance", "job"}
NAMES = sorted({alert["alert"] for alert in alerts()})
CLASSES = load().classes


def alert_of(class_: str) -> dict[str, Any]:
    return next(alert for alert in alerts() if alert["alert"] == class_rules.alert_name(class_))


# --- what each carries


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_says_how_urgent_it_is_what_it_belongs_to_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket", "info", "{{ $labels.severity }}")
    assert re.match(r"(run|node|rack|cluster|fleet)/|\{\{ with \$labels\.run_id \}\}run/", alert["labels"]["incident"])
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"runbooks/{alert['alert']}.md"
    assert "\n" not in notes["summary"].strip()
    if alert["labels"]["severity"] != "info":
        assert "Do: " in notes["description"]
    if "run_id" in alert["labels"]["incident"] and not alert["alert"].startswith("AccelwatchTarget"):
        assert "why {{ " in notes["description"]


def test_every_class_has_one_alert_and_one_runbook() -> None:
    assert {class_rules.alert_name(name) for name in CLASSES} <= set(NAMES)
    assert len([alert for alert in alerts() if 'class="' in alert["expr"]]) == len(CLASSES)
    assert [path.stem for path in RUNBOOKS] == NAMES


def test_the_alerts_of_classes_are_the_taxonomys() -> None:
    """`make rules` writes them; what stands in the file is what it would write now."""
    assert (ALERTS / "rules" / "faults.yml").read_text().endswith(class_rules.rules_text())


@pytest.mark.parametrize("name", CLASSES)
def test_alert_and_runbook_give_the_taxonomys_action(name: str) -> None:
    runbook = " ".join((ALERTS / "runbooks" / f"{class_rules.alert_name(name)}.md").read_text().split())
    runbook = runbook.replace("\\<", "<")
    description = " ".join(alert_of(name)["annotations"]["description"].split())
    for actions in CLASSES[name].actions.values():
        for text in (actions.first, actions.after_reset, actions.after_repair):
            assert " ".join(text.split()) in runbook
        first = actions.first.replace("<GPU>", "{{ $gpu }}") if "{{ $gpu }}" in description else actions.first
        if name in class_rules.OF_A_RUN:
            first = first.replace("<run>", "{{ $labels.run_id }}").replace("<URL>", "{{ $externalURL }}")
        assert " ".join(first.split()) in description


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_answers_what_is_asked_at_night(path: Path) -> None:
    text = path.read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        f"# {path.stem}",
        "## Meaning",
        "## Impact on the run",
        "## Confirm",
        "## Do",
        "## Replace hardware",
        "## Keep as evidence",
    ]
    assert all(section.strip() for section in re.split(r"^#+ .*$", text, flags=re.MULTILINE)[1:])
    assert len(text.split()) < 600


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_waiting_has_a_reason(alert: dict[str, Any]) -> None:
    """A comment stands above each `for`, and above the first `keep_firing_for` of a kind."""
    if "for" not in alert:
        return
    lines = next(path for path, rule in rules() if rule == alert).read_text().splitlines()
    places = [number for number, line in enumerate(lines) if line.strip() == f"for: {alert['for']}"]
    assert places
    assert all(lines[number - 1].lstrip().startswith("#") for number in places)


# --- that it is tested


LOOKS = looks()
FIRES, BEFORE, AFTERWARDS = fires(LOOKS), silent_before(LOOKS), over_afterwards(LOOKS)
WORDED = {
    case["alertname"]
    for path in TESTS
    for test in yaml.safe_load(path.read_text())["tests"]
    for case in test.get("alert_rule_test", ())
    if case["exp_alerts"]
}


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_seen_to_fire_to_be_silent_just_before_and_to_be_over(name: str) -> None:
    assert name in FIRES
    if name != "AccelwatchWatchdog":  # which always fires
        assert name in BEFORE
        assert name in AFTERWARDS


@pytest.mark.parametrize("name", NAMES)
def test_the_words_of_every_alert_are_tested(name: str) -> None:
    """Those of classes come from one mould: four of them, and the test below."""
    assert name in WORDED or name in {class_rules.alert_name(class_) for class_ in CLASSES}


@needs_promtool
def test_the_words_of_every_class_can_be_made_for_every_vendor(tmp_path: Path) -> None:
    """No template fails, or says `<no value>`, whatever of the labels is there."""
    series = [{"series": 'up{job="accelwatch",cluster="k",node="a"}', "values": "1x10"}]
    cases = []
    for name, class_ in CLASSES.items():
        for vendor in ("nvidia", "ascend", "host"):
            for device, run in (("0", "7"), ("", "")):
                series.append(
                    {
                        "series": f'accelwatch_fault_active{{cluster="k",node="a",vendor="{vendor}",device="{device}",'
                        f'class="{name}",fault_severity="{class_.severity.value}",code="c-{name}",run_id="{run}",'
                        f'notify="{class_.notify.value}"}}',
                        "values": "1x10",
                    }
                )
        cases.append({"alertname": class_rules.alert_name(name), "eval_time": "2m", "exp_alerts": []})
    # Else a cause would explain the time-outs.
    series = [one for one in series if not ('run_id="7"' in one["series"] and "timeout" in one["series"])]
    document = {
        "rule_files": [str(path) for path in RULES if path.stem in ("faults", "hangs")],
        "evaluation_interval": "30s",
        "tests": [{"interval": "30s", "input_series": series, "alert_rule_test": cases}],
    }
    path = tmp_path / "words_test.yml"
    path.write_text(yaml.safe_dump(document, width=1_000_000))
    said = promtool("test", "rules", str(path))
    words = said.stdout + said.stderr
    for name in CLASSES:
        assert f'alertname="{class_rules.alert_name(name)}"' in words
    assert "error expanding" not in words
    assert "<no value>" not in words
    assert "%!" not in words


# --- that all it names exists


TEXTS = [*RULES, *RUNBOOKS]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_series_that_is_named_is_exported_or_recorded(path: Path) -> None:
    text = path.read_text()
    exported = {family.full_name for family in FAMILIES}
    assert set(re.findall(r"\baccelwatch_[a-z0-9_]+", text)) <= exported
    recorded = records()
    assert {name for name in re.findall(r"\baccelwatch:[a-z0-9_:]+\b", text) if name not in recorded} == set()


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_every_label_that_a_series_is_asked_for_is_one_that_it_has(path: Path) -> None:
    labels = {family.full_name: set(family.labels) for family in FAMILIES}
    labels["accelwatch_fault_active"].add("drill")
    labels["accelwatch_agent_info"].add("exported_node")
    for name, matchers in re.findall(r"\b(accelwatch_[a-z0-9_]+)\{([^}]*)\}", path.read_text()):
        asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers))
        assert asked <= labels[name] | TARGET_LABELS, f"{name}{{{matchers}}}"


VALUES = {"RUN_ID": "4711", "URL": "http://p:9090", "FAULT_ID": "12", "FILE": "f", "TEXT": "t", "DIR": "d", "J": "j"}


def _commands() -> set[str]:
    """Commands of ours in runbooks and rules, with values for their placeholders."""
    found: set[str] = set()
    for path in RUNBOOKS:
        found |= set(re.findall(r"`accelwatch ([^`]+)`", " ".join(path.read_text().split())))
    for alert in alerts():
        text = re.sub(r"\{\{ \$externalURL \}\}", "URL", alert["annotations"]["description"])
        text = re.sub(r"\{\{[^}]*\}\}", " ", text)
        found |= set(re.findall(r"accelwatch ((?:check|config check|inventory|maintenance|fleet)\b[^.:;,(\n]*)", text))
        found |= {f"why RUN_ID {rest}" for rest in re.findall(r"\bwhy +(--prometheus URL)", text)}
    ended = (re.sub(r" (?:says|prints) .*| on the node.*", "", command) for command in found)
    return {" ".join(command.split()) for command in ended}


@pytest.mark.parametrize("command", sorted(_commands()))
def test_every_command_of_ours_that_is_named_exists(command: str) -> None:
    words = [VALUES.get(word, re.sub(r"^FILE", "f", word)) for word in shlex.split(command)]
    if words == ["--version"]:
        return
    module = importlib.import_module(f"accelwatch.{cli.COMMANDS[words[0]][0]}")
    parser = cli.Parser()
    module.add_arguments(parser)
    parser.parse_args(words[1:])

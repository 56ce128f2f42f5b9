"""The examples for several Prometheus: accepted by promtool, their allow-lists current, no rule forgotten."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from accelwatch.metrics.catalogue import FAMILIES
from alerts.shipped_rules import ALERTS, RULES, needs_promtool, records

SCALE = ALERTS / "scale"
ROOT = ALERTS.parent
PROMETHEUS = sorted(SCALE.glob("prometheus-*.yml"))
PROMETHEUS_OWN = {"up", "scrape_duration_seconds", "ALERTS"}


def _loaded() -> ModuleType:
    specification = importlib.util.spec_from_file_location("allow_list", SCALE / "allow_list.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


allow_list = _loaded()


def example(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((SCALE / f"{name}.yml").read_text())
    return document


def kept() -> set[str]:
    """Names that the remote write keeps."""
    (rule,) = example("prometheus-remote-write")["remote_write"][0]["write_relabel_configs"]
    assert (rule["action"], rule["source_labels"]) == ("keep", ["__name__"])
    return set(rule["regex"].split("|"))


def federated() -> set[str]:
    (job,) = example("prometheus-global")["scrape_configs"]
    everything, selector = job["params"]["match[]"]
    assert everything == "up"
    match = re.fullmatch(r'\{job="accelwatch",__name__=~"([a-zA-Z0-9_|]+)"\}', selector)
    assert match is not None
    return set(match[1].split("|"))


@needs_promtool
@pytest.mark.parametrize("path", PROMETHEUS, ids=lambda path: path.stem)
def test_promtool_accepts_the_examples_with_their_rules(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path)
    shutil.copytree(ALERTS / "rules", tmp_path / "accelwatch")
    (tmp_path / "targets").mkdir()
    shutil.copy(ALERTS / "scrape" / "targets.example.yml", tmp_path / "targets" / "nodes.yml")
    (tmp_path / "targets" / "more.json").write_text("[]")
    done = subprocess.run(["promtool", "check", "config", str(tmp_path / path.name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout


def test_every_rule_file_is_evaluated_in_one_place() -> None:
    shard, whole = (example(f"prometheus-{name}")["rule_files"] for name in ("shard", "global"))
    assert sorted([*shard, *whole]) == [f"accelwatch/{path.name}" for path in RULES]


def test_a_shard_scrapes_as_the_examples_for_one_prometheus_do() -> None:
    (one,) = yaml.safe_load((ALERTS / "scrape" / "prometheus-file.yml").read_text())["scrape_configs"]
    (shard,) = example("prometheus-shard")["scrape_configs"]
    assert shard["relabel_configs"][0] == one["relabel_configs"][0]
    hashing, keeping = shard["relabel_configs"][1:]
    assert (hashing["action"], hashing["source_labels"], hashing["modulus"]) == ("hashmod", ["node"], 2)
    assert (keeping["action"], keeping["source_labels"]) == ("keep", [hashing["target_label"]])
    assert {key: value for key, value in shard.items() if key != "relabel_configs"} == {
        key: value for key, value in one.items() if key != "relabel_configs"
    }


def test_the_lists_are_current() -> None:
    """`make allow-list` writes them."""
    done = subprocess.run([sys.executable, SCALE / "allow_list.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_all_that_rules_record_and_ask_for_and_dashboards_show_is_kept() -> None:
    exported = {family.full_name for family in FAMILIES}
    named: set[str] = set()
    for path in RULES:
        text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        named |= set(re.findall(r"\baccelwatch[_:][a-z0-9_:]+\b", text))
    for path in (ROOT / "dashboards" / "json").glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                named |= set(re.findall(r"\baccelwatch[_:][a-z0-9_:]+\b", target["expr"]))
    assert len(named) > 130
    assert records() <= named <= kept()
    assert {name for name in named if name in exported} <= federated()


def test_the_reports_questions_are_kept() -> None:
    from accelwatch.reliability.recorded import QUESTIONS

    assert {question.series for question in QUESTIONS.values()} <= kept()


def test_nothing_else_is_kept() -> None:
    """Each name stands in a rule, a dashboard, or code that asks."""
    texts = [path.read_text() for path in [*RULES, *(ROOT / "dashboards" / "json").glob("*.json")]]
    for folder in allow_list.ASKING:
        texts += [path.read_text() for path in (ROOT / "agent" / "accelwatch" / folder).glob("*.py")]
    everything = "\n".join(texts)
    for name in kept() - PROMETHEUS_OWN:
        assert re.search(rf"\b{name}\b", everything), name
    assert {name for name in kept() if name.startswith("accelwatch:")} == records()
    assert federated() == {name for name in kept() if not name.startswith("accelwatch:")} - {"ALERTS"}


def test_a_list_that_lacks_a_name_is_told_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "example.yml"
    text = (SCALE / "prometheus-global.yml").read_text()
    path.write_text(text.replace("accelwatch_run_devices|\\\n", ""))
    assert allow_list.main(["--check", str(path)]) == 1
    assert path.read_text() != text
    assert allow_list.main([str(path)]) == 0
    assert path.read_text() == text


def test_labels_of_a_shard_are_taken_off_by_all_that_joins_shards() -> None:
    own = set(example("prometheus-shard")["global"]["external_labels"])
    assert own == {"prometheus_shard", "prometheus_replica"}
    (job,) = example("prometheus-global")["scrape_configs"]
    (drop,) = job["metric_relabel_configs"]
    assert drop["action"] == "labeldrop"
    assert all(re.fullmatch(drop["regex"], label) for label in own)
    limits = example("mimir")["limits"]
    assert {limits["ha_cluster_label"], limits["ha_replica_label"]} == own
    assert limits["drop_labels"] == ["prometheus_shard"]  # the other one is Mimir's own to take off
    text = (SCALE / "README.md").read_text()
    assert all(f"--query.replica-label={label}" in text for label in own)


def test_no_group_is_larger_than_mimir_is_told_to_take() -> None:
    largest = max(len(group["rules"]) for path in RULES for group in yaml.safe_load(path.read_text())["groups"])
    assert 20 < largest <= example("mimir")["limits"]["ruler_max_rules_per_rule_group"]


def test_the_page_has_a_place_for_every_rule_file() -> None:
    rows = [line for line in (SCALE / "README.md").read_text().splitlines() if line.startswith("| `")]
    placed = [name for line in rows for name in re.findall(r"`(\w+\.yml)`", line.split("|")[1])]
    assert sorted(placed) == sorted([path.name for path in RULES] + ["mimir.yml"])


def test_the_table_of_sizes_is_computed_from_what_was_measured() -> None:
    text = (SCALE / "SIZING.md").read_text()
    series, samples = (
        int(re.search(rf"\| {what}[^|]* \| (\d+)", text)[1]) for what in ("series in memory", "samples per scrape")
    )  # type: ignore[index]
    per_day = series * 86_400 / 15 * 1.01 + 12 * series * 116
    assert f"{per_day / 1e6:.2f} MB" in text
    units = {"million": 1e6, "GB": 1e9, "TB": 1e12}
    rows = re.findall(r"^\| ([\d,]+) \| (.*) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["1,000", "3,000", "10,000", "30,000", "100,000"]
    for devices, rest in rows:
        number = float(devices.replace(",", ""))
        cells = [cell.split() for cell in rest.replace(",", "").split(" | ")]
        told = [float(words[0]) * (units[words[1]] if len(words) > 1 else 1) for words in cells]
        memory = number * series * 5_000
        computed = [number * series, memory, 2 * memory, number * samples / 15, number * per_day * 30]
        assert told == pytest.approx(computed, rel=0.07)

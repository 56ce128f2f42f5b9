"""The report of `make run`: made by the command, at its times, and said where it lies."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from accelwatch import cli
from accelwatch.commands import report
from accelwatch.simulator import cluster_report
from accelwatch.simulator.cluster_report import AGAIN_SECONDS, Reports, hastened
from prometheus_history import needs_prometheus
from real_alertmanager import until

RULES = Path(__file__).parents[2] / "alerts" / "rules"


class Shown:
    """Reports whose command is a script, and what they say."""

    def __init__(self, directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page = directory / "report.html"
        self.calls = directory / "calls"
        program = directory / "python"
        program.write_text(f'#!/bin/sh\necho "$@" >> {self.calls}\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setattr(cluster_report.sys, "executable", str(program))
        self.said: list[str] = []
        self.reports = Reports("http://127.0.0.1:9", self.page, 180.0, self.said.append)

    def step(self, passed: float) -> None:
        """Until the command that it begins has ended."""
        self.reports.step(passed)
        begun = len(self.said)
        if self.reports._child is not None:
            until("the end of the report", lambda: self.reports.step(passed) or len(self.said) > begun, 20)


def test_it_is_written_after_three_minutes_and_every_five(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(tmp_path, f"touch {tmp_path}/report.html", monkeypatch)
    for passed in (0.0, 179.0, 180.0, 200.0, 180.0 + AGAIN_SECONDS):
        shown.step(passed)
    assert shown.said == [f"REPORT {shown.page}"] * 2
    first, second = shown.calls.read_text().splitlines()
    parser = cli.Parser()
    report.add_arguments(parser)
    options = parser.parse_args(first.removeprefix("-m accelwatch report ").split())
    assert (options.prometheus, options.window, options.out) == ("http://127.0.0.1:9", "180s", shown.page)
    assert options.recorded_every == f"{cluster_report.RECORDED_SECONDS}s"
    assert "--window 480s" in second


def test_a_report_that_fails_is_said_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(tmp_path, "echo no data; exit 3", monkeypatch)
    shown.step(180.0)
    assert shown.said == [f"REPORT failed (status 3); see {tmp_path / 'report.log'}"]
    assert (tmp_path / "report.log").read_text() == "no data\n"
    shown.step(180.0 + AGAIN_SECONDS)
    assert len(shown.said) == 2


def test_one_that_is_being_written_ends_with_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(tmp_path, "exec sleep 600", monkeypatch)
    began = time.monotonic()
    shown.reports.step(180.0)
    shown.reports.close()
    assert time.monotonic() - began < 20


@needs_prometheus
def test_its_rules_are_the_shipped_ones_recorded_each_minute(tmp_path: Path) -> None:
    pattern = hastened(RULES, tmp_path / "rules")
    assert pattern == str(tmp_path / "rules" / "*.yml")
    for path in RULES.glob("*.yml"):
        shipped, copy = (yaml.safe_load((where / path.name).read_text()) for where in (RULES, tmp_path / "rules"))
        for group in shipped["groups"]:
            if group.get("interval") in ("1h", "5m"):
                group["interval"] = "60s"
        assert copy == shipped
    assert re.search(r"interval: 60s", (tmp_path / "rules" / "reliability.yml").read_text())

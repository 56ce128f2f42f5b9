"""Short forms of what `make quarters` asks of 200 quarters of each kind. Equal rates and a ratio of three over counts
alone are in tests/reliability/test_document.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelwatch.cli import main
from quarters import counted, fleet, shares, truth
from quarters.coverage import least, through_cells
from quarters.plan import LEMON_CLASS


def test_counts_with_replacements_outages_and_maintenance_hold_their_true_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command: what was drawn is what it counts, and over what exposure."""
    one = fleet.draw(shares.COUNTED)
    true = truth.of(one)
    counted.write(tmp_path / "counts.csv", one, true)
    assert main(["report", "--counts", str(tmp_path / "counts.csv"), "--json"]) == 0
    rates = json.loads(capsys.readouterr().out)["rates"]
    assert len(rates) == len(one.models) * len(one.plan.rates)
    assert {(r["model"], r["class"]): r["count"] for r in rates if r["count"]} == dict(true.episodes)
    assert all(round(r["device_hours"] * 3600) == true.seconds[r["model"], "powered"] for r in rates)
    lines = shares.equal_rates(range(5), tmp_path)
    assert [str(line) for line in lines if not line.kept] == []


def test_with_bad_devices_the_bootstrap_is_shown_and_holds_what_the_exact_interval_does_not() -> None:
    """The rate of the population that fleets are drawn from: one device in 80 has 40 times the others' rate."""
    found = through_cells(shares.CLUSTERED["one device in 80 bad, by chance"], range(30), (LEMON_CLASS,))
    alike = through_cells(shares.CLUSTERED["devices alike"], range(30), (LEMON_CLASS,))
    assert found.bootstrap.of >= 0.5 * found.exact.of
    assert alike.bootstrap.of <= 0.1 * alike.exact.of
    assert found.exact.value < 0.85
    assert found.bootstrap.value >= least(0.95, found.bootstrap.of)
    assert found.shown.value >= found.exact.value + 0.1

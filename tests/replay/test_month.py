"""A shorter run of `make month`: everything of it happens, and nothing is told that is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import load

from .boards import A2, A3, H100, Model
from .month import Month, live
from .operations import PER_MONTH

# A cable is swapped while nothing runs: a ticket. Nothing else in it is a fault.
DEGRADING = {"net_link_down"}
# What every node shows that is well: kept for the comparison, told to nobody.
INFORMATIONAL = {"mem_correctable", "pcie_host_link", "host"}


def month(model: Model, devices: int, days: float, directory: Path) -> Month:
    return live(model, devices, days, 41, directory, dense_seconds=200)


@pytest.mark.parametrize(
    ("model", "devices", "days"),
    [(H100, 8, 1.0), (A2, 8, 0.6), (A3, 16, 0.4)],
    ids=["nvidia", "ascend-A2", "ascend-A3"],
)
def test_ordinary_work_raises_no_alarm(model: Model, devices: int, days: float, tmp_path: Path) -> None:
    found = month(model, devices, days, tmp_path)
    assert found.false_endings(load()) == []
    assert found.warned == []
    assert found.wrong_outcomes == []
    assert {episode.class_ for episode in found.of(Severity.DEGRADING)} <= DEGRADING
    assert {episode.class_ for episode in found.of(Severity.INFORMATIONAL)} <= INFORMATIONAL
    # It was no empty month.
    assert found.runs
    assert found.ingredients["train: train"] > 5
    assert all(found.ingredients[what] for what in PER_MONTH)

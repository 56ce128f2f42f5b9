"""Agents killed with SIGKILL while faults are injected, in short; `make campaign` kills two hundred times."""

import time
from pathlib import Path

import pytest

from accelwatch.simulator.scenario import NodeSpec
from campaign import kills
from campaign.fleet import Fleet


@pytest.mark.e2e
def test_kills_lose_nothing_and_double_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault is in the journal once, each line is counted once, no counter falls; over a reboot, too."""
    monkeypatch.setattr(kills, "SETTLE_SECONDS", 10.0)  # the slow queries of npu-smi are in the long form
    seed = int(time.time())
    print(f"seed {seed}")
    fleet = Fleet(tmp_path / "fleet", (NodeSpec(name="nv-1", vendor="nvidia", family="hopper", devices=4),))
    try:
        flaws = kills.run(fleet, seed, 8, 1, tmp_path / "report", print)
    finally:
        fleet.close()
    assert flaws == []

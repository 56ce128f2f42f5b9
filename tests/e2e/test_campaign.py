"""A short campaign of faults: real agents and child tools, random order; `make campaign` is the long one."""

import random
import time
from pathlib import Path

import pytest

from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.scenario import NodeSpec
from campaign.catalogue import CASES, EXCEPTIONS
from campaign.fleet import Fleet
from campaign.following import Campaign, quick

INJECTIONS, AT_ONCE, SECONDS = 32, 12, 60.0
# Told, and seen to be over, within a minute's run.
QUICK_SECONDS = 25.0


@pytest.mark.e2e
def test_every_injected_fault_is_told_once_and_nothing_else(tmp_path: Path) -> None:
    """Right class, device, code, severity and run, in time; each condition is taken back when the fault is over."""
    seed = int(time.time())
    print(f"seed {seed}")
    nodes = (
        NodeSpec(name="nv-1", vendor="nvidia", family="hopper"), NodeSpec(name="as-1", vendor="ascend", family="A3"),
    )  # fmt: skip
    fleet = Fleet(tmp_path / "fleet", nodes)
    campaign = Campaign(fleet, seed, print)
    cases = quick(fleet, QUICK_SECONDS)
    random.Random(seed).shuffle(cases)
    # Two of one class on a host need a minute between them.
    once = {(case.vendor, case.class_): case for case in cases if case.where == "host"}
    chosen = [case for case in cases if case.where != "host" or once[(case.vendor, case.class_)] is case][:INJECTIONS]
    try:
        campaign.begin()
        campaign.run(chosen, AT_ONCE, SECONDS)
    finally:
        fleet.close()
    print(campaign.report(tmp_path / "report", seed))
    assert campaign.failures == []
    assert len(campaign.injections) == len(chosen)


def test_every_kind_of_the_simulator_is_in_the_catalogue_or_excused() -> None:
    """None is forgotten, and none is excused that is there."""
    kinds = {case.fault for case in CASES} - {"log"}
    assert kinds | set(EXCEPTIONS) == set(KINDS)
    assert not kinds & set(EXCEPTIONS)

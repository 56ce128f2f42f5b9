"""Two shards and a Prometheus that federates them say what a single one says: figures of the fleet, and pages.

Short, with what waits shortened, here; `make shards` takes the rules as they are shipped, and a hang.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from dashboards.fleet_history import hours_shortened
from prometheus_history import needs_prometheus
from shards.comparing import EXPOSURE, EXPOSURE_STEPS, differences, exposure_apart, pages
from shards.fleet import Fleet, until

pytestmark = [pytest.mark.e2e, needs_prometheus]
NODES, DEVICES, STEP_SECONDS = 24, 4, 2
EXPECTED = {
    "AccelwatchDeviceLost", "AccelwatchNetLinkDown", "AccelwatchSharedComponent", "AccelwatchNodeDark",
    "AccelwatchRunInterrupted", "AccelwatchDevicesMissing", "AccelwatchWatchdog",
}  # fmt: skip
CAUSE = "accelwatch:run_interruption:cause_timestamp_seconds"


def shortened(text: str) -> str:
    """A rule file whose hours, minutes and waits are steps."""
    text = re.sub(r"^( +(?:for|keep_firing_for): )[25]m$", rf"\g<1>{2 * STEP_SECONDS}s", text, flags=re.MULTILINE)
    return hours_shortened(text)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("shards"), NODES, DEVICES, STEP_SECONDS, shortened)
    try:
        until("work", lambda: len(made.ask("global", 'accelwatch:run:activity:count{state="busy"} > 0')) == 2)
        yield made
    finally:
        made.close()


def break_things(fleet: Fleet) -> None:
    """Faults on both shards, a rack that loses its links, a dark node, a run that ends."""
    gpus = [node for node in fleet.nodes if "gpu" in node]
    npus = [node for node in fleet.nodes if "npu" in node]
    fleet.order("inject", "lost", "--node", gpus[1], "--device", "2")
    fleet.order("inject", "ecc_uncorrected", "--node", gpus[4], "--device", "1", "count=1")
    for node in npus[5:9]:
        fleet.order("inject", "roce_down", "--node", node, "--device", "1")
    fleet.order("inject", "lost", "--node", npus[10], "--device", "3")
    fleet.order("steer", "dark", gpus[0])
    until(
        "what ends the run", lambda: fleet.ask("single", 'accelwatch_fault_active{run_id="5002",class="device_lost"}')
    )
    fleet.order("steer", "end", "5002", "--how", "failed")


def test_figures_and_pages_are_those_of_a_single_prometheus(fleet: Fleet) -> None:
    sizes = [next(iter(fleet.ask(f"shard-{n}", 'count(up{job="accelwatch"})').values())) for n in (0, 1)]
    assert sum(sizes) == NODES
    assert min(sizes) > NODES / 4
    for run in ("5001", "5002"):
        for shard in ("shard-0", "shard-1"):
            assert fleet.ask(shard, f'accelwatch_run_devices{{run_id="{run}"}}'), "no run is on one shard alone"
    break_things(fleet)

    def named(*parts: str) -> set[str]:
        return {dict(labels)["alertname"] for labels in pages(fleet, *parts)}

    until("the pages", lambda: named("single") >= EXPECTED, 90)
    until("what ended it", lambda: fleet.ask("single", f'{CAUSE}{{run_id="5002",class="device_lost",node!=""}}'))
    until(f"the same: {differences(fleet)}", lambda: not differences(fleet))
    assert {dict(labels).get("severity") for labels in pages(fleet, "global")} == {"page", "ticket", "info"}
    apart = exposure_apart(fleet)
    assert len(apart) == len(fleet.ask("single", EXPOSURE)) > 0
    assert max(apart.values()) <= EXPOSURE_STEPS * STEP_SECONDS


def test_a_shard_alone_would_say_something_else(fleet: Fleet) -> None:
    """Why the rules are not for the shards: a run's size, and with it page or ticket, is not known there."""
    sizes = [fleet.ask(part, 'sum(accelwatch_run_devices{run_id="5001"})') for part in ("shard-0", "shard-1", "single")]
    first, second, whole = (next(iter(size.values())) for size in sizes)
    assert 0 < first < whole
    assert first + second == whole

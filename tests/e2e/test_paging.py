"""What reaches a pager through everything that is shipped: agents, exported rules, Prometheus, exported Alertmanager tree.

The short form of `make paging`: fewer nodes, and news of a group after a second instead of a minute.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from accelwatch.simulator.scenario import RunSpec
from paging.pages import Page
from paging.stack import Plan, Stack, joins, nodes
from prometheus_history import needs_prometheus
from real_alertmanager import until

pytestmark = [pytest.mark.e2e, pytest.mark.alone, needs_prometheus]
# Some ports and processes are read a few times until a fault is told; a machine may have other things to do.
START_SECONDS, WITHIN_SECONDS = 90.0, 90.0
FLEET = 4


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    run = RunSpec(id="4711", nodes=("nv-1", "as-1"), world=8 * (2 + FLEET))
    made = Stack(
        tmp_path_factory.mktemp("stack"),
        Plan(
            nodes=(*nodes("nvidia", ("nv-1", "nv-idle", "nv-user")), *nodes("ascend", ("as-1",))),
            runs=(run, RunSpec(id="4720", nodes=("nv-user",))),
            fast=frozenset(("nv-1", "as-1", "nv-user")),
            fleet=FLEET,
            fleet_runs=(joins(run, FLEET, 16),),
            scrape=1,
            group_interval="1s",
        ),
    )
    try:
        whole = 'sum(accelwatch_run_devices{run_id="4711"}) == 48 and on () accelwatch:run:size{run_id="4720"} == 8'
        until("both runs", lambda: made.ask(whole), START_SECONDS)
        # A port that was never seen up has nothing to lose.
        until("every port", lambda: made.ask('count(accelwatch_link_up{node="as-1",kind="roce"}) == 8'), START_SECONDS)
        yield made
    finally:
        made.close()


def the_page(stack: Stack, *, drills: bool = False) -> Page:
    until("a page", lambda: stack.pages.all(drills=drills), WITHIN_SECONDS)
    (page,) = stack.pages.all(drills=drills)
    return page


def figures(stack: Stack) -> dict[str, Any]:
    """Whatever a report is made from, but the exposure, which grows with time."""
    counted = {
        (node, line)
        for node in ("nv-1", "nv-idle")
        for line in re.findall(
            r"^accelwatch_(?:fault_episodes_total|runs_ended_total|ecc_errors_total).*$",
            stack.metrics(node),
            re.MULTILINE,
        )
    }
    queries = ('accelwatch:faults:count{class="device_lost"}', '{__name__=~"accelwatch:run_interruption.*"}',
               "sum by (node, class) (accelwatch_fault_episodes_total)")  # fmt: skip
    return {"counters": counted, **{q: [(s["metric"], s["value"][1]) for s in stack.ask(q)] for q in queries}}


def exposure(stack: Stack, node: str, state: str) -> dict[str, float]:
    """Seconds by device."""
    pattern = rf'^accelwatch_device_exposure_seconds_total\{{.*device="(\d)".*state="{state}"\}} (\S+)$'
    return {device: float(value) for device, value in re.findall(pattern, stack.metrics(node), re.MULTILINE)}


def rules_alert(stack: Stack, name: str) -> Any:
    return stack.ask(f'ALERTS{{alertname="{name}",severity="page",run_id="4711",alertstate="firing"}}')


def test_a_link_that_drops_is_one_page_with_its_run_and_action_and_one_end(stack: Stack) -> None:
    """By the fast path; neither the rule's alert of it nor a second fault of the run rings again."""
    stack.pages.forget()
    number = stack.break_("roce_down", "as-1", 5)
    page = the_page(stack)
    assert page.incident == "run/4711"
    for words in ("as-1: Ascend NPU 5 has its network link down (run 4711)", "'path': 'fast'", "Run 4711 (48 devices)",
                  "Do: ", f"accelwatch why 4711 --prometheus {stack.prometheus}"):  # fmt: skip
        assert words in page.text
    stack.break_("ecc_uncorrected", "nv-1", 3)
    for name in ("AccelwatchNetLinkDown", "AccelwatchMemUncorrectable"):
        until(f"the rules' {name}", lambda n=name: rules_alert(stack, n), WITHIN_SECONDS)
    until("the second fault in the page", lambda: len(the_page(stack).alerts) == 2, WITHIN_SECONDS)
    time.sleep(3)
    assert {alert["labels"]["path"] for alert in the_page(stack).alerts} == {"fast"}
    assert the_page(stack).over is None
    stack.hardware.clear(number)
    until("the fault in its journal", lambda: stack.clear("nv-1", class_="mem_uncorrectable"), WITHIN_SECONDS)

    def over() -> set[str]:
        return {a["labels"]["node"] for a in the_page(stack).alerts if a["status"] == "resolved"}

    until("the end of both", lambda: over() == {"as-1", "nv-1"}, WITHIN_SECONDS)


def test_a_drill_reaches_the_pager_by_both_ways_and_changes_no_figure(stack: Stack) -> None:
    """By the fast path on nv-1, whose rule alert it hides; by rules alone on nv-idle, whose agent posts nothing."""
    stack.pages.forget()
    before, powered = figures(stack), {node: exposure(stack, node, "powered") for node in ("nv-1", "nv-idle")}
    for node in ("nv-1", "nv-idle"):
        path = str(stack.directory / node / "accelwatch.yml")
        stack.run("--config", path, "drill", "device_lost", "--device", "2", "--for", "12s")
    until("both drills", lambda: len(stack.pages.all(drills=True)) == 2, WITHIN_SECONDS)
    drills = {page.incident: page for page in stack.pages.all(drills=True)}
    assert set(drills) == {"node/nv-1", "node/nv-idle"}
    (fast,), (rules,) = drills["node/nv-1"].first["alerts"], drills["node/nv-idle"].first["alerts"]
    assert (fast["labels"]["drill"], fast["labels"]["path"]) == ("true", "fast")
    assert (rules["labels"]["drill"], rules["labels"].get("path")) == ("true", None)
    assert fast["annotations"]["summary"] == "DRILL: nv-1: NVIDIA GPU 2 is lost"
    assert rules["annotations"]["summary"].startswith("DRILL: nvidia device 2 of nv-idle")
    assert stack.ask('accelwatch_fault_active{drill="true",node="nv-idle"} == 1')
    assert figures(stack) == before, "while they go on"
    until("its end by the fast path", lambda: "fast" in drills_told_over(stack), WITHIN_SECONDS)
    assert len(stack.pages.all(drills=True)) == 2, "the rule's alert of the same drill rings nowhere"
    assert figures(stack) == before
    for node, was in powered.items():

        def passed(node: str = node, was: dict[str, float] = was) -> dict[str, float]:
            return {device: now - was[device] for device, now in exposure(stack, node, "powered").items()}

        # Measured time is on a page every five seconds, and then scraped.
        until("powered time", lambda passed=passed: passed()["2"] > 5, WITHIN_SECONDS)
        times = passed()
        assert times["2"] == pytest.approx(times["3"], abs=0.01), "a drilled device is as powered as its neighbour"
        assert set(exposure(stack, node, "maintenance").values()) <= {0.0}


def drills_told_over(stack: Stack) -> set[str]:
    alerts = [alert for page in stack.pages.all(drills=True) for alert in page.alerts]
    return {alert["labels"].get("path", "rules") for alert in alerts if alert["status"] == "resolved"}


def test_a_job_that_dies_by_itself_and_an_idle_node_page_nobody(stack: Stack) -> None:
    stack.pages.forget()
    stack.kernel("nv-user", "python3[20001]: segfault at 7f ip 00005581 sp 00007ffc error 4 in libtorch.so[7f00]")
    for device in range(8):
        stack.xid("nv-user", device, 31, 20_000 + device)
    stack.break_("process_death", "nv-user", signal=11)
    stack.break_("lost", "nv-idle", 4)
    ticket = 'ALERTS{alertname="AccelwatchDeviceLost",node="nv-idle",severity="ticket",alertstate="firing"}'
    until("the idle node's ticket", lambda: stack.ask(ticket), WITHIN_SECONDS)
    ended = 'accelwatch_run_end_timestamp_seconds{run_id="4720"}'
    until("the end of the job", lambda: stack.ask(ended), WITHIN_SECONDS)
    time.sleep(5)
    assert [page.text for page in stack.pages.all()] == []

"""Drills and planned work: what operators ask of the agent, and what it does to what is counted and kept."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.detectors.base import Context
from accelwatch.faults.sign import Sign
from accelwatch.headline import headline
from accelwatch.journal import reading
from accelwatch.journal.store import Store
from accelwatch.maintenance import STATE, described, restored
from accelwatch.metrics import catalogue
from accelwatch.metrics.agent import OwnText
from accelwatch.metrics.exposition import Lines
from accelwatch.metrics.faults import add_faults
from accelwatch.operators import Operator
from accelwatch.pager.notice import Standing
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.report import exit_status
from accelwatch.runs import cause
from accelwatch.runs.model import Outcome, RunDevice, RunRecord
from accelwatch.taxonomy.loader import load
from support import FakeClock


class Pipeline:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class Node:
    """A core with its journal; two GPUs, and on a mixed node an NPU that has the label of the first."""

    def __init__(self, directory: Path, mixed: bool = False) -> None:
        self.directory, self.mixed, self.clock = directory, mixed, FakeClock()
        self.boot = "boot-1"
        self.begin()

    def begin(self) -> None:
        """As after a start of the agent."""
        self.store = Store(self.directory)
        loaded = self.store.load(self.clock.time())
        self.steady = SteadyClock(self.clock, self.boot, loaded.clock)
        self.core = Core(self.steady, loaded, load(), node_name="n1", boot_id=self.boot)
        self.pipeline = Pipeline()
        self.operator = Operator(self.core, self.pipeline, lambda: 2)  # type: ignore[arg-type]
        self.read()

    def read(self) -> None:
        gpus = [DeviceKey(Vendor.NVIDIA, f"0000:{n}b:00.0") for n in range(2)]
        self.core.answered("nvml", Snapshot(devices=tuple(map(device, gpus))), 1.0)
        if self.mixed:
            npu = DeviceKey(Vendor.ASCEND, "npu0/chip0")
            self.core.answered("npu_smi", Snapshot(devices=(device(npu),)), 10.0)

    def wait(self, seconds: float) -> None:
        """Second by second, as an agent has it."""
        for _ in range(int(seconds)):
            self.clock.now += 1
            self.read()
            self.core.tick()
            self.store.write(self.core.take_changes())

    def restart(self, boot: str | None = None, down: float = 60.0) -> None:
        """The agent was killed; with `boot` the host was booted anew."""
        self.store.close()
        self.clock.now += down
        self.boot = boot or self.boot
        self.begin()

    def drill(self, class_: str = "device_lost", seconds: float = 300.0, **more: Any) -> dict[str, Any]:
        return self.operator.drill({"class": class_, "seconds": seconds, "by": "anna", **more})

    def series(self) -> list[str]:
        lines = Lines({})
        add_faults(lines, self.core.fault_view({"nvml"}, 0), load().classes)
        page = lines.page(OwnText([])).text.decode().splitlines()
        return [line for line in page if line.startswith(catalogue.FAULT_ACTIVE.full_name)]

    def counted(self) -> float:
        view = self.core.fault_view({"nvml"}, 0)
        return sum(sum(counts.episodes.values()) for counts in view.counts)


def device(key: DeviceKey) -> Device:
    identity = Identity(key=key, model="H100", uuid=f"uuid-{key.native}", serial=None, pci=key.native, index=0)
    if key.vendor is Vendor.ASCEND:
        identity = msgspec.structs.replace(identity, npu_id=0, chip_id=0)
    else:
        identity = msgspec.structs.replace(identity, index=int(key.native[5]))
    return Device(identity=identity, state=DeviceState.UP)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def sign(node: Node, device_number: int = 0) -> Sign:
    key = DeviceKey(Vendor.NVIDIA, f"0000:{device_number}b:00.0")
    return Sign(
        class_="device_lost",
        condition="xid 79",
        at=node.steady.now(),
        vendor="nvidia",
        device=key,
        code="79",
        message="m",
    )


# --- drills


def test_a_drill_is_shown_marked_counts_nowhere_and_clears_itself(node: Node) -> None:
    answer = node.drill(device="1")
    assert answer == {
        "drill": 1, "on": "nvidia 1", "seconds": 300.0, "notify": "page", "fast": True, "alertmanagers": 2, "maintenance": False,
    }  # fmt: skip
    node.wait(2)
    (line,) = node.series()
    assert 'device="1"' in line
    assert 'notify="page",drill="true"} 1' in line
    (candidate,) = node.core.paging(8)
    assert (candidate.standing, candidate.episode.run_id) == (Standing.POST, None)
    (episode,) = node.core.ledger.active()
    assert episode.message.startswith("DRILL")
    assert episode.action.startswith("Nothing, this is a drill")
    assert "nvidia-smi --gpu-reset -i 0000:1b:00.0" in episode.action, "what a real page would say"
    node.wait(297)
    assert node.core.ledger.active()
    node.wait(2)
    assert node.core.ledger.active() == []
    assert node.series()[0].endswith("} 0")
    assert node.core.paging(8)[0].standing is Standing.END
    assert node.counted() == 0
    (kept,) = reading.read_faults(node.directory, 0.0)
    assert (kept.drill, kept.counted, kept.cleared_because) == (True, False, "drill: its time is over")


def test_a_drill_keeps_apart_from_a_real_fault_of_the_same_device(node: Node) -> None:
    """Neither takes the other's signs, root or history."""
    node.drill(device="0")
    node.core.ledger.apply([sign(node)], node.core.context(), node.steady.now(), node.clock.time())
    node.wait(1)
    drill, real = sorted(node.core.ledger.active(), key=lambda e: e.id)
    assert (drill.drill, real.drill, drill.root, real.root) == (True, False, True, True)
    assert drill.incident != real.incident
    assert (drill.count, real.count, node.counted()) == (1, 1, 1)
    assert len(node.series()) == 2
    node.core.clear(drill.id, "replaced the GPU")
    node.core.clear(real.id, "seen")
    node.clock.now += 100
    node.core.ledger.apply([sign(node)], node.core.context(), node.steady.now(), node.clock.time())
    (again,) = node.core.ledger.active()
    assert "Power-cycle" in again.action, "after one fault that an operator cleared, not after a repair"


def test_a_drill_is_no_runs_cause(node: Node) -> None:
    node.drill(device="0")
    (episode,) = node.core.ledger.active()
    now = node.steady.now()
    run = RunRecord(
        run_id="r", attempt="0", started=1.0, started_at=now - 100, ended=2.0, ended_at=now + 5, outcome=Outcome.FAILED,
        devices=(RunDevice(vendor="nvidia", device="0"),),
    )  # fmt: skip
    kinds = {name: class_.kind for name, class_ in load().classes.items()}
    assert cause.judge(run, [episode], kinds, now + 1000).cause == "unknown"


def test_a_drill_goes_on_over_a_restart_and_ends_in_time(node: Node) -> None:
    node.drill(seconds=100)
    node.wait(2)
    node.restart(down=50)
    (episode,) = node.core.ledger.active()
    assert episode.drill
    node.wait(50)
    assert node.core.ledger.active() == []


def test_the_same_drill_is_not_begun_twice_and_an_operator_can_end_it(node: Node) -> None:
    number = node.drill()["drill"]
    assert "goes on already" in node.drill()["error"]
    assert "drill" in node.drill("power"), "another class may"
    assert node.core.clear(number, "enough") is not None
    assert node.drill()["drill"] > number


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"class_": "devce_lost"}, "no fault class 'devce_lost'; expected one of device_lost, mem_"),
        ({"device": "7"}, "'7' is no device of this node; expected one of: nvidia:0, nvidia:1"),
        ({"device": "ascend:0"}, "'ascend:0' is no device of this node"),
        ({"seconds": 1.0}, "expected 5 s to 60 min"),
        ({"seconds": 7200.0}, "expected 5 s to 60 min"),
    ],
)
def test_what_cannot_be_drilled_is_told(node: Node, request_: dict[str, Any], error: str) -> None:
    assert error in node.drill(**request_)["error"]
    assert (node.core.ledger.active(), node.pipeline.woken) == ([], 0)


def test_where_two_vendors_share_a_label_the_vendor_is_named(tmp_path: Path) -> None:
    mixed = Node(tmp_path, mixed=True)
    assert "'0' stands for several devices; expected one of: ascend:0, nvidia:0" in mixed.drill(device="0")["error"]
    assert mixed.drill(device="ascend:0")["on"] == "ascend 0"
    assert mixed.drill("host")["on"] == "the node"


def test_every_class_can_be_drilled_and_says_whom_it_reaches(node: Node) -> None:
    reached = {name: node.drill(name)["notify"] for name in load().classes}
    assert {name for name, notify in reached.items() if notify == "page"} >= {"device_lost", "net_link_down", "host"}
    assert reached["mem_correctable"] == reached["software_job"] == "none"
    assert reached["thermal"] == "ticket"
    posted = {candidate.episode.class_ for candidate in node.core.paging(8) if candidate.standing is Standing.POST}
    assert "hang_no_error" not in posted, "a symptom is for the rules"
    assert posted == {name for name, notify in reached.items() if notify == "page"} - {"hang_no_error"}


def test_a_drill_makes_no_node_sick() -> None:
    """A scheduler's health check must not drain it."""
    fault = {
        "class": "device_lost",
        "severity": "run_ending",
        "echo": False,
        "drill": True,
        "vendor": "nvidia",
        "device": "0",
    }
    known = [{"vendor": "nvidia", "device": "0", "health": "ok"}]
    sources = [{"source": "nvml", "up": True, "seconds": 0.1, "error": None}]
    assert exit_status({"faults": [fault], "devices": known, "sources": sources}) == 0
    assert headline(known, [fault], sources) == "1 device, healthy"


# --- planned work


def on(node: Node, seconds: float = 3600.0, reason: str = "board swap") -> dict[str, Any]:
    return node.operator.maintenance({"action": "on", "seconds": seconds, "reason": reason, "by": "anna"})


def test_planned_work_survives_restart_and_reboot_and_ends_by_itself(node: Node) -> None:
    assert on(node)["maintenance"]["reason"] == "board swap"
    node.wait(1)
    node.restart()
    assert node.core.maintenance is not None
    node.restart(boot="boot-2", down=600)
    planned = node.operator.maintenance({"action": "status"})["maintenance"]
    assert (planned["reason"], planned["by"]) == ("board swap", "anna")
    node.clock.now += 3600 - 700
    assert node.core.maintenance is not None
    node.clock.now += 100
    assert node.core.maintenance is None
    assert node.operator.maintenance({"action": "status"}) == {"maintenance": None, "before": None}
    node.wait(1)
    assert reading.read_states(node.directory)[0][STATE] == b"null"


def test_exposure_is_counted_as_maintenance_meanwhile(node: Node) -> None:
    node.wait(20)
    on(node, 30)
    node.wait(60)
    counts = [c for c in node.core.fault_view({"nvml"}, 0).counts if c.exposure is not None]
    assert len(counts) == 2
    for count in counts:
        assert count.exposure is not None
        assert count.exposure["maintenance"] == pytest.approx(30, abs=2)
        assert count.exposure["powered"] == pytest.approx(50, abs=17), "what is not kept yet apart"


def test_off_ends_it_and_a_second_on_prolongs_it(node: Node) -> None:
    first = on(node)["maintenance"]
    node.wait(10)
    second = on(node, 7200, "board swap, longer")["maintenance"]
    assert (second["since"], second["until"] > first["until"]) == (first["since"], True)
    assert node.operator.maintenance({"action": "off"})["before"]["reason"] == "board swap, longer"
    assert node.core.maintenance is None
    woken = node.pipeline.woken
    assert node.operator.maintenance({"action": "off"})["before"] is None
    assert node.pipeline.woken == woken == 3


@pytest.mark.parametrize("seconds", [0.0, -1.0, 8 * 86400.0])
def test_work_without_an_end_is_refused(node: Node, seconds: float) -> None:
    assert "expected up to 7 days" in on(node, seconds)["error"]
    assert node.core.maintenance is None


def test_it_is_in_the_journal_at_once(node: Node) -> None:
    """Not only when a fault or the next quarter of a minute takes it along: the node is about to be rebooted."""
    node.wait(1)
    on(node)
    changes = node.core.take_changes()
    assert restored(changes.states) == node.core.maintenance
    node.operator.maintenance({"action": "off"})
    assert restored(node.core.take_changes().states) is None
    assert node.core.take_changes().empty


def test_a_state_of_another_version_is_no_planned_work(node: Node) -> None:
    assert restored({STATE: b'{"until": "x"}'}) is None
    assert restored({}) is None
    assert described(None, node.steady) is None


def test_context_is_untouched_by_planned_work(node: Node) -> None:
    """Faults are detected, kept and shown as ever: only the pages wait."""
    on(node)
    node.core.ledger.apply([sign(node)], node.core.context(), node.steady.now(), node.clock.time())
    node.wait(1)
    assert len(node.core.ledger.active()) == node.counted() == 1
    assert isinstance(node.core.context(), Context)

"""Requests on the control socket, which members of the agent's group may write to."""

import contextlib
import json
import threading
from types import SimpleNamespace

from accelwatch.answers import Answers
from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.journal.loaded import Loaded
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import AgentStatus, Renderer
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.taxonomy.loader import load
from support import FakeClock

TAXONOMY = load()
METRICS = AgentMetrics()
STATUS = AgentStatus(node="n", config_hash="0", labels={})


def seeds() -> list[bytes]:
    requests = (
        {"command": "report"}, {"command": "metrics"}, {"command": "inventory"}, {"command": "inventory_accept"},
        {"command": "clear", "id": 1, "reason": "board swapped"}, {"command": "release", "source": "nvml", "seconds": 60},
        {"command": "drill", "class": "device_lost", "device": "0", "vendor": "nvidia", "seconds": 60},
        {"command": "maintenance", "action": "on", "seconds": 7200, "reason": "board swap"},
        {"command": "maintenance", "action": "off"}, {"command": "maintenance", "action": "status"},
        {"command": "nothing"}, [1], None,
    )  # fmt: skip
    return [json.dumps(request).encode() for request in requests]


def one(data: bytes) -> None:
    clock = FakeClock()
    core = Core(SteadyClock(clock, "boot"), Loaded(), TAXONOMY, node_name="n", boot_id="boot")
    key = DeviceKey(Vendor.NVIDIA, "0000:18:00.0")
    core.answered("nvml", Snapshot(devices=(Device(identity=Identity(key=key, index=0, model="H100")),)), 1.0)
    pipeline = SimpleNamespace(lock=threading.RLock(), wake=lambda: None, unjournalled=0, put=lambda _work: None)
    scheduler = SimpleNamespace(statuses=(), source=lambda _name: None, poll_now=lambda _name: None)
    page = lambda: Renderer(METRICS).render(  # noqa: E731
        core.node.view(), (), STATUS, core.fault_view({"nvml"}, 0), core.run_page()
    )
    answers = Answers(core, pipeline, scheduler, lambda: STATUS, page, lambda: True)  # type: ignore[arg-type]
    answer = json.loads(answers.control(data))
    assert isinstance(answer, dict)
    with contextlib.suppress(KeyError):
        assert "failed inside" not in answer["error"]
    core.tick()
    page()

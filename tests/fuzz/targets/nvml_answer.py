"""Answers of the NVML worker, up to the page: a library may return anything, and the worker passes it on."""

import msgspec

from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.journal.loaded import Loaded
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import AgentStatus, Renderer
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.memory import EccCount, ErrorKind
from accelwatch.readings.process import DeviceProcess
from accelwatch.readings.sensors import Sensors, Throttle
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.sources.nvml import Nvml
from accelwatch.sources.nvml_answer import Answer, decode
from accelwatch.taxonomy.loader import load
from support import FakeClock

TAXONOMY = load()
METRICS = AgentMetrics()
STATUS = AgentStatus(node="n", config_hash="0", labels={})


def _device(index: int) -> Device:
    key = DeviceKey(Vendor.NVIDIA, f"0000:{index + 24:02x}:00.0")
    return Device(
        identity=Identity(key=key, index=index, model="H100", uuid=f"GPU-{index}", serial=f"16{index}", pci=key.native),
        sensors=Sensors(power_watts=650.5, energy_joules=1e6, temperature_celsius=61.0, utilization_ratio=0.97),
        ecc=(EccCount(memory="hbm", kind=ErrorKind.UNCORRECTED, count=1),),
        links=(Link(key=key, link="3", kind=LinkKind.NVLINK, state=LinkState.UP),),
        processes=(DeviceProcess(pid=4242, name="python3", memory_bytes=1 << 30),),
    )


def seeds() -> list[bytes]:
    lost = Device(identity=_device(2).identity, state=DeviceState.LOST, reason="15 (GPU is lost)")
    answers = (
        Answer(tuple(_device(n) for n in range(2))),
        Answer(((0, 650.5, 1e6, 0.97, (Throttle.SW_POWER_CAP,)), _device(1), lost), problems=("NVML: a call failed",)),
        Answer((), events=(LogEvent(kind="xid", vendor="nvidia", code="79", pci="0000:18:00", text="NVML event"),)),
        Answer(error="Driver Not Loaded"),
    )
    return [msgspec.json.encode(answer) for answer in answers]


def one(data: bytes) -> None:
    try:
        answer = decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # as sources/nvml_child.py has it
        return
    clock = FakeClock()
    core = Core(SteadyClock(clock, "boot"), Loaded(), TAXONOMY, node_name="n", boot_id="boot")
    source = Nvml(library=None, timeout=1, interval=1, clock=clock)
    for full in (True, False):
        clock.now += 1
        source._take(answer, full, clock.now)
        core.answered("nvml", Snapshot(devices=tuple(source._devices.values()), events=answer.events), 1.0)
        core.tick()
    page = Renderer(METRICS).render(core.node.view(), (), STATUS, core.fault_view({"nvml"}, 0), core.run_page())
    assert page.text.endswith(b"\n")

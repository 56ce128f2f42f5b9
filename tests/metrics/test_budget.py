"""The budget of series and bytes (design.md, Metrics) on whole pages: with runs, faults, exposure and every port."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from msgspec.structs import replace

from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.journal.loaded import Loaded
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.exposition import Page
from accelwatch.metrics.page import AgentStatus, Renderer, SourceStatus
from accelwatch.readings.identity import DeviceKey, Identity
from accelwatch.readings.link import LinkKind, LinkState
from accelwatch.readings.process import DeviceProcess, HostProcess, RunIdentity
from accelwatch.readings.sensors import Sensors, Throttle
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.taxonomy.loader import load
from replay.boards import A2, A3, GIB, H100, Board, Load, Model, Port
from support import FakeClock

# An H100 has 18 NVLinks.
SERIES_PER_DEVICE, SERIES_OF_H100 = 100, 90
MIG_DEVICES = 7
SERIES_PER_NODE = 300
GZIP_BYTES_OF_16, PORTS = 20_000, 10
_DEVICE = re.compile(r'vendor="(?:nvidia|ascend)",device="(\d[\d/-]*)"')


def page_of(model: Model, devices: int, worn: bool, worst: bool = False) -> Page:
    """Of a node at work in one run.

    `worn`: each device has counted errors of every kind, and errors and a drop on each of its links; `worst`: all that
    can hold a GPU down does so too, and it is cut into MIG devices.
    """
    rng, clock = random.Random(5), FakeClock()
    core = Core(SteadyClock(clock, "boot"), Loaded(), load(), node_name="n", boot_id="boot")
    boards = [Board(model, number, rng) for number in range(devices)]
    nvidia = model is H100
    kind = LinkKind.IB if nvidia else LinkKind.ROCE
    ports = (
        [Port(None, f"mlx5_{number}/1", kind, rng) for number in range(PORTS)]
        if nvidia
        else [Port(board.identity.key, "roce0", kind, rng) for board in boards]
    )
    for second in (1, 11, 21):
        clock.now += 10
        for board in boards:
            board.load = Load(0.95 * model.full, 0.97, 60 * GIB, 90_000)
            board.pids = (DeviceProcess(pid=100 + board.index, name="python3", memory_bytes=60 * GIB),)
            board.run(10)
            if worn:
                for link in range(model.links):
                    board.link_error(link, "replay", 7 * second + link)
                board.corrected("hbm", second)
                board.corrected("sram", 1)
        read = [board.full() for board in boards]
        read_ports = [port.read(clock.now) for port in ports]
        if worn and second == 11:
            read = [
                replace(d, links=tuple(replace(link, state=LinkState.DOWN) for link in d.links or ())) for d in read
            ]
        if worn:
            read_ports = [replace(port, drops=second, errors={"symbol_error": second}) for port in read_ports]
        if worst and nvidia:
            read = [replace(d, sensors=replace(d.sensors, throttle=tuple(Throttle))) for d in read if d.sensors]
            read += [mig for device in read for mig in mig_devices(device)]
        core.answered("nvml" if nvidia else "npu_smi", Snapshot(devices=tuple(read)), 10.0)
        core.answered("rdma" if nvidia else "hccn_tool", Snapshot(links=tuple(read_ports)), 5.0)
        core.answered(
            "processes", Snapshot(processes=tuple(_rank(n, nvidia, devices, clock) for n in range(devices))), 5.0
        )
        core.tick()
        core.take_changes(everything=True)
    metrics = AgentMetrics()
    names = ("nvml", "npu_smi", "hccn_tool", "kernel_log", "hccl_log", "rdma", "processes")
    statuses = [SourceStatus(source=n, up=True, interval=1.0, seconds=0.1, last_success=clock.time()) for n in names]
    for name in names:
        metrics.know(name)
    status = AgentStatus(node="n", config_hash="0123", labels={"cluster": "c"})
    view, faults = core.node.view(), core.fault_view({"nvml", "npu_smi", "kernel_log"}, 0)
    return Renderer(metrics).render(view, statuses, status, faults, core.run_page())


def mig_devices(gpu: Device) -> list[Device]:
    """They tell little: memory and processes."""
    return [
        Device(
            identity=Identity(
                key=DeviceKey(gpu.key.vendor, f"{gpu.key.native}/{number}"),
                model=f"{gpu.identity.model} MIG 1g.10gb",
                uuid=f"MIG-{gpu.identity.uuid}-{number}",
                parent=gpu.key,
            ),
            sensors=Sensors(memory_used_bytes=GIB, memory_total_bytes=10 * GIB),
            processes=(),
        )
        for number in range(MIG_DEVICES)
    ]


def _rank(number: int, nvidia: bool, world: int, clock: FakeClock) -> HostProcess:
    return HostProcess(
        pid=100 + number,
        name="python3",
        started=clock.time() - 600,
        state="running",
        cpu_seconds=clock.now,
        read_bytes=int(clock.now),
        written_bytes=0,
        devices=(f"{'nvidia' if nvidia else 'davinci'}{number}",),
        instance=number,
        run=RunIdentity(run_id="4711", launcher="slurm", rank=number, world_size=world),
    )


def counted(page: Page) -> tuple[Counter[str], int]:
    """Series of each device, and those beside."""
    series = [line for line in page.text.decode().splitlines() if not line.startswith("#")]
    owners = Counter(match[1] if (match := _DEVICE.search(line)) else "" for line in series)
    beside = owners.pop("", 0)
    return owners, beside


@pytest.mark.parametrize("state", ["new", "worn", "worst"])
@pytest.mark.parametrize("model", [H100, A2, A3], ids=lambda model: model.name)
@pytest.mark.parametrize("devices", [16, 64])
def test_a_device_has_no_more_series_than_its_budget_however_many_there_are(
    model: Model, devices: int, state: str
) -> None:
    """And the node no more beside them, whatever its size."""
    page = page_of(model, devices, state != "new", state == "worst")
    owners, beside = counted(page)
    assert len(owners) == devices * (1 + MIG_DEVICES if state == "worst" and model is H100 else 1)
    assert max(owners.values()) <= (SERIES_OF_H100 if model is H100 and state != "worst" else SERIES_PER_DEVICE)
    assert beside <= SERIES_PER_NODE
    if state != "new":  # every link has counted both
        text = page.text.decode()
        kind, links = ("nvlink", 18) if model is H100 else ("hccs", 8 if model is A3 else 7)
        line = rf'accelwatch_link_{{}}_total{{{{vendor="\w+",device="0",.*kind="{kind}"}}}} (\d+)'
        assert sum(map(int, re.findall(line.format("drops"), text))) == links
        errors = sum(7 * second + link for second in (11, 21) for link in range(model.links))
        assert model is not H100 or sum(map(int, re.findall(line.format("errors"), text))) == errors


@pytest.mark.parametrize("worn", [False, True], ids=["new", "worn"])
@pytest.mark.parametrize("model", [H100, A2, A3], ids=lambda model: model.name)
def test_a_scrape_of_16_devices_is_small_and_one_of_64_no_more_than_four_of_them(model: Model, worn: bool) -> None:
    """In both formats, as Prometheus asks for them: packed."""
    for accept in ("", "application/openmetrics-text;version=1.0.0"):
        small, large = (len(page_of(model, n, worn).encode(accept, "gzip")[0]) for n in (16, 64))
        assert small <= GZIP_BYTES_OF_16
        assert large <= 4 * small

"""The page: right values, absent where unknown, bounded, and valid for Prometheus."""

import gzip
import re
import subprocess
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.catalogue import FAMILIES
from accelwatch.metrics.exposition import Page, escape, number
from accelwatch.metrics.page import AgentStatus, Renderer, SourceStatus
from accelwatch.node import Node
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.link import Fabric, Link, LinkKind, LinkState, Pcie
from accelwatch.readings.memory import EccCount, ErrorKind, Repairs
from accelwatch.readings.sensors import Clock, Sensors, Throttle
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.sources.npu_smi import NpuSmi
from support import FakeClock, SimulatedTools, node_of

AGENT = AgentStatus(node="n", config_hash="0123", labels={"cluster": "c"})
SOURCES = [
    SourceStatus(source=name, up=True, interval=1.0, seconds=0.1, last_success=1.0)
    for name in ("nvml", "npu_smi", "hccn_tool", "kernel_log", "rdma", "processes")
]


def h100(index: int) -> Device:
    """A GPU that tells everything, with 18 NVLinks."""
    key = DeviceKey(Vendor.NVIDIA, f"0000:{index:02x}:00.0")
    return Device(
        identity=Identity(
            key=key, model="NVIDIA H100 80GB HBM3", uuid=f"GPU-{index:032x}", serial=f"165{index:010}", pci=key.native,
            driver="570.124.06", firmware="96.00.A5.00.01", index=index,
        ),
        sensors=Sensors(
            power_watts=612.5 + index, power_limit_watts=700.0, energy_joules=1e7, temperature_celsius=61.0,
            memory_temperature_celsius=72.0, utilization_ratio=0.97, memory_used_bytes=70 << 30,
            memory_total_bytes=80 << 30, clocks=tuple(Clock(d, 1.98e9) for d in ("graphics", "sm", "memory", "video")),
            throttle=(Throttle.SW_POWER_CAP,),
        ),
        ecc=tuple(
            EccCount(memory=memory, kind=kind, count=3, lifetime=lifetime)
            for memory in ("hbm", "sram") for kind in ErrorKind for lifetime in (False, True)
        ),
        repairs=Repairs(rows_corrected=0, rows_uncorrected=1, pending=False, failed=False),
        pcie=Pcie(generation=5, generation_max=5, width=16, width_max=16, replays=4),
        fabric=Fabric(state="completed", status=0, healthy=True),
        links=tuple(
            Link(key=key, link=f"nvlink{n}", kind=LinkKind.NVLINK, state=LinkState.UP, errors={"crc_flit": n})
            for n in range(18)
        ),
        processes=(),
    )  # fmt: skip


def page_of(node: Node) -> Page:
    metrics = AgentMetrics()
    for source in SOURCES:
        metrics.know(source.source)
    return Renderer(metrics).render(node.view(), SOURCES, AGENT)


def nvidia_node(devices: int = 16) -> Node:
    node = Node(FakeClock())
    node.update("nvml", Snapshot(devices=tuple(h100(index) for index in range(devices))))
    return node


def samples(page: Page) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in page.text.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_promtool_finds_nothing_in_the_page() -> None:
    """Names, types and help are as Prometheus wants them."""
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page_of(nvidia_node()).text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_the_openmetrics_page_is_read_by_the_librarys_own_parser() -> None:
    """Both formats hold the same device samples."""
    body, content_type, _ = page_of(nvidia_node(2)).encode("application/openmetrics-text;version=1.0.0", "")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert len(families["accelwatch_device_power_watts"].samples) == 2
    assert families["accelwatch_ecc_errors"].type == "counter"


def test_the_format_follows_the_accept_header() -> None:
    """Text is the default, gzip is used where it is accepted."""
    page = page_of(nvidia_node(1))
    assert page.encode("", "")[1].startswith("text/plain; version=0.0.4")
    packed, _, encoding = page.encode("text/plain", "gzip, deflate")
    assert (gzip.decompress(packed), encoding) == (page.text, "gzip")
    assert page.encode("text/plain", "gzip;q=0")[2] is None


def test_the_budget_of_series_holds() -> None:
    """At most 90 for a GPU with 18 NVLinks, 300 for the node besides, 20 kB gzip for 16 devices."""
    page = page_of(nvidia_node(16))
    per_device = Counter(
        match[1] for name in samples(page) if (match := re.search(r'vendor="nvidia",device="(\d+)"', name))
    )
    assert set(per_device.values()) == {per_device["0"]}
    assert per_device["0"] <= 90
    assert len(samples(page)) - sum(per_device.values()) <= 300
    assert len(page.encode("", "gzip")[0]) <= 20_000


@pytest.mark.parametrize("family", ["910B", "A3", "950"])
def test_the_budget_holds_for_npus(family: str) -> None:
    """At most 100 series per NPU."""
    node = Node(FakeClock())
    tools = SimulatedTools(node_of(family, 16))
    node.update(
        "npu_smi", NpuSmi(command="/s/npu-smi", timeout=1, interval=1, runner=tools, clock=FakeClock()).poll(True)
    )
    devices = Counter(m[1] for name in samples(page_of(node)) if (m := re.search(r'device="(\d+)"', name)))
    assert len(devices) == 16
    assert max(devices.values()) <= 100


def test_what_is_not_read_has_no_series() -> None:
    """None never becomes 0."""
    node = Node(FakeClock())
    key = DeviceKey(Vendor.NVIDIA, "0000:01:00.0")
    node.update("nvml", Snapshot(devices=(Device(identity=Identity(key=key, index=0)),)))
    names = {name.partition("{")[0] for name in samples(page_of(node)) if 'device="0"' in name}
    assert names == {"accelwatch_device_info", "accelwatch_device_up", "accelwatch_device_health"}


def test_a_silent_source_takes_its_measurements_with_it_and_leaves_inventory_and_counters() -> None:
    """Gauges vanish; identity, up and counters stay."""
    node = nvidia_node(1)
    node.silence("nvml")
    names = {name.partition("{")[0] for name in samples(page_of(node)) if 'device="0"' in name}
    assert {"accelwatch_device_info", "accelwatch_device_up", "accelwatch_ecc_errors_total"} <= names
    assert not names & {"accelwatch_device_power_watts", "accelwatch_link_up", "accelwatch_device_health"}


def test_the_hosts_own_ports_keep_their_counters_while_nobody_reads_them() -> None:
    """So from the first page after a restart, too."""
    node = Node(FakeClock())
    port = Link(key=None, link="mlx5_0/1", kind=LinkKind.IB, state=LinkState.UP, drops=2, errors={"symbol_error": 3})
    node.update("rdma", Snapshot(links=(port,)))
    node.silence("rdma")
    names = {name.partition("{")[0] for name in samples(page_of(node)) if "mlx5_0" in name}
    assert names == {"accelwatch_link_drops_total", "accelwatch_link_errors_total"}


def test_a_lost_or_missing_device_is_down_and_a_cut_list_makes_none_missing() -> None:
    """device_up is 0 on the driver's word only."""
    node = nvidia_node(3)
    lost = msgspec.structs.replace(h100(1), state=DeviceState.LOST, sensors=None)
    node.update("nvml", Snapshot(devices=(h100(0), lost)))
    up = {n: v for n, v in samples(page_of(node)).items() if n.startswith("accelwatch_device_up")}
    assert list(up.values()) == [1, 0, 0]
    node = nvidia_node(3)
    node.update("nvml", Snapshot(devices=(h100(0),), complete=False))
    assert all(v == 1 for n, v in samples(page_of(node)).items() if n.startswith("accelwatch_device_up"))


def test_a_port_that_was_never_up_has_no_link_up() -> None:
    """An uncabled port is not a fault; one that was up and is down is 0 and has dropped."""
    node = Node(FakeClock())
    key = DeviceKey(Vendor.ASCEND, "npu0/chip0")
    device = Device(identity=Identity(key=key, npu_id=0, chip_id=0))

    def port(name: str, state: LinkState) -> Link:
        return Link(key=key, link=name, kind=LinkKind.ROCE, state=state)

    for state in (LinkState.UP, LinkState.DOWN):
        node.update("npu_smi", Snapshot(devices=(device,)))
        node.update("hccn_tool", Snapshot(links=(port("roce0", state), port("roce1", LinkState.DOWN))))
    found = {n: v for n, v in samples(page_of(node)).items() if "roce" in n}
    assert [v for n, v in found.items() if n.startswith("accelwatch_link_up{")] == [0]
    assert [v for n, v in found.items() if n.startswith("accelwatch_link_drops") and "roce0" in n] == [1]


def test_label_values_from_outside_are_escaped_and_cut() -> None:
    """A hostile model name breaks no line and grows no page."""
    assert escape('a"b\\c\nd') == 'a\\"b\\\\c d'
    assert len(escape("x" * 1000)) == 128


@pytest.mark.parametrize(
    ("value", "text"), [(1, "1"), (2.0, "2"), (0.25, "0.25"), (float("inf"), "+Inf"), (1e20, "1e+20")]
)
def test_numbers(value: float, text: str) -> None:
    """Whole numbers are short, the rest loses nothing."""
    assert number(value) == text


def test_the_readmes_table_names_every_family() -> None:
    """The table of metrics is the catalogue's."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for family in FAMILIES:
        labels = ", ".join(family.labels) or "-"
        assert f"| `{family.full_name}` | {family.type} | {labels} | {family.help} |" in readme

"""What logs say, counted once, by the shipped taxonomy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Context, Tick
from accelwatch.detectors.log_bursts import BURST_SECONDS
from accelwatch.detectors.log_echoes import KEPT, SAME_SECONDS
from accelwatch.detectors.log_events import STACK_SECONDS, LogEvents
from accelwatch.faults.sign import Gone
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import load
from detectors.replaying import GPU, GPU_2, NPU, Fed, answered, entry, inventory, known, logged

Make = Callable[..., Fed]
NODE = inventory(
    known(GPU, "0", uuid="GPU-a", serial="165"),
    known(GPU_2, "1"),
    known(DeviceKey(Vendor.NVIDIA, f"{GPU.native}/1/0"), "0/1/0", pci=GPU.native, parent=GPU, uuid="MIG-a"),
    known(NPU, "5", phy_id=5),
)
PCI = "0000:3b:00"


def events() -> LogEvents:
    return LogEvents(load())


def test_an_xid_of_a_known_gpu(fed: Make) -> None:
    log = fed(events(), NODE)
    line = entry(
        1005.0,
        code="79",
        pci=PCI,
        pid=4711,
        process="python",
        text="NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
        boot_id="b",
        kernel_seconds=17.5,
    )
    (sign,) = log.signs(logged("kernel_log", line))
    assert (sign.class_, sign.code, sign.family, sign.condition) == ("device_lost", "79", "xid", "xid 79")
    assert (sign.device, sign.place, sign.vendor, sign.lasting, sign.events) == (GPU, None, "nvidia", False, 1)
    assert (sign.at, sign.wall, sign.boot_id, sign.kernel_seconds) == (1005.0, line.wall, "b", 17.5)
    assert (sign.pid, sign.process, sign.historical) == (4711, "python", False)
    assert sign.message == "the GPU fell off the bus: NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."


def test_a_device_that_nobody_knows_keeps_its_place(fed: Make) -> None:
    log = fed(events(), NODE)
    (sign,) = log.signs(logged("kernel_log", entry(1000.0, code="48", pci="0000:99:00")))
    assert (sign.device, sign.place) == (None, "0000:99:00")
    (sign,) = log.signs(logged("kernel_log", entry(1000.0, "ascend", "ascend", code="80E01801", number=7)))
    assert (sign.device, sign.place, sign.class_) == (None, "7", "mem_uncorrectable")


def test_devices_are_found_by_number_uuid_and_serial(fed: Make) -> None:
    log = fed(events(), NODE)
    lines = (
        entry(1000.0, "ascend_heartbeat", "ascend", code="40F84E00", number=5),
        entry(1000.0, "gpu_lost_assert", "nvidia", uuid="GPU-a"),
        entry(1000.0, "gsp_heartbeat", "nvidia", serial="165"),
    )
    signs = log.signs(logged("kernel_log", *lines))
    assert [(sign.device, sign.class_) for sign in signs] == [
        (NPU, "device_lost"),
        (GPU, "device_lost"),
        (GPU, "control_processor"),
    ]


def test_a_host_fault_at_the_address_of_a_gpu_is_the_gpus(fed: Make) -> None:
    log = fed(events(), NODE)
    (sign,) = log.signs(logged("kernel_log", entry(1000.0, "aer_fatal", "host", pci=PCI)))
    assert (sign.class_, sign.device, sign.vendor, sign.severity) == (
        "pcie_host_link",
        GPU,
        "nvidia",
        Severity.RUN_ENDING,
    )
    (sign,) = log.signs(logged("kernel_log", entry(1000.0, "mce", "host")))
    assert (sign.device, sign.place, sign.vendor, sign.severity) == (None, None, "host", Severity.DEGRADING)


def test_an_unknown_code_is_kept(fed: Make) -> None:
    log = fed(events(), NODE)
    (sign,) = log.signs(logged("kernel_log", entry(1000.0, code="987", pci=PCI)))
    assert (sign.class_, sign.code) == ("unknown", "987")


@pytest.mark.parametrize("severity", [Severity.RUN_ENDING, Severity.DEGRADING])
def test_what_the_line_says_of_its_severity_wins(fed: Make, severity: Severity) -> None:
    """A non-fatal NVLink Xid is not shown as fatal."""
    log = fed(events(), NODE)
    (sign,) = log.signs(logged("kernel_log", entry(1000.0, code="149", pci=PCI, severity=severity)))
    assert (sign.class_, sign.severity) == ("intra_node_link", severity)


def test_a_burst_of_one_line_is_one_sign(fed: Make) -> None:
    log = fed(events(), NODE)
    lines = [entry(1000.0 + i / 10, code="13", pci=PCI, pid=None if i < 3 else 7) for i in range(10)]
    other = entry(1000.2, code="13", pci="0000:5e:00")
    signs = log.signs(logged("kernel_log", *lines[:5], other, *lines[5:]))
    assert [(sign.device, sign.events, sign.at, sign.pid) for sign in signs] == [
        (GPU, 10, 1000.0, 7),
        (GPU_2, 1, 1000.2, None),
    ]


def test_what_is_far_apart_in_one_reading_is_told_apart(fed: Make) -> None:
    log = fed(events(), NODE)
    old = [
        entry(at, code="79", pci=PCI, historical=True, backlog=True)
        for at in (-9000.0, -8000.0, -8000.0 + BURST_SECONDS)
    ]
    signs = log.signs(logged("kernel_log", *old))
    assert [(sign.at, sign.events, sign.historical) for sign in signs] == [(-9000.0, 1, True), (-8000.0, 2, True)]


@pytest.mark.parametrize("first", ["nvml", "kernel_log"])
def test_an_xid_heard_twice_counts_once(fed: Make, first: str) -> None:
    log = fed(events(), NODE)
    told = {
        "nvml": entry(1003.0, code="48", pci=PCI, text=""),
        "kernel_log": entry(1001.0, code="48", pci=PCI, pid=9, text="NVRM: Xid (PCI:0000:3b:00): 48, pid=9"),
    }
    second = "kernel_log" if first == "nvml" else "nvml"
    (sign,) = log.signs(logged(first, told[first]), 0)
    assert (sign.events, sign.class_) == (1, "mem_uncorrectable")
    again = log.signs(logged(second, told[second]), 0)
    # The line tells more than the event; it adds what it knows and no count.
    assert [(sign.events, sign.pid) for sign in again] == ([(0, 9)] if second == "kernel_log" else [])


def test_one_event_takes_away_one_line(fed: Make) -> None:
    log = fed(events(), NODE)
    assert log.signs(logged("nvml", entry(1000.0, code="13", pci=PCI)), 0)[0].events == 1
    lines = [entry(1000.0, code="13", pci=PCI) for _ in range(3)]
    assert log.signs(logged("kernel_log", *lines), 0)[0].events == 2
    assert log.signs(logged("nvml", *lines[:2]), 0) == []
    assert log.signs(logged("nvml", *lines[:2]), 0)[0].events == 2


def test_other_gpus_other_codes_and_later_ones_are_others(fed: Make) -> None:
    log = fed(events(), NODE)
    log.signs(logged("nvml", entry(1000.0, code="48", pci=PCI)), 0)
    assert log.signs(logged("kernel_log", entry(1000.0, code="48", pci="0000:5e:00")), 0)[0].events == 1
    assert log.signs(logged("kernel_log", entry(1000.0, code="95", pci=PCI)), 0)[0].events == 1
    late = entry(1000.0 + SAME_SECONDS + 1, code="48", pci=PCI)
    assert log.signs(logged("kernel_log", late), 0)[0].events == 1


def test_a_storm_does_not_fill_the_state(fed: Make) -> None:
    log = fed(events(), NODE)
    storm = [entry(1010.0, code="45", pci=PCI) for _ in range(10_000)]
    (sign,) = log.signs(logged("kernel_log", *storm))
    assert sign.events == 10_000
    assert sum(len(row.lines) + len(row.events) for row in log.state.heard.values()) <= KEPT
    log.feed(logged("kernel_log", entry(1100.0, code="13", pci="0000:5e:00")), 60)
    assert list(log.state.heard) == ["0000:5e:00|13"]


def test_a_symptom_began_when_its_wait_began(fed: Make) -> None:
    log = fed(events(), NODE)
    (sign,) = log.signs(
        logged("hccl_log", entry(3000.0, "hccl", "ascend", code="EI0002", waited_seconds=1836.0, rank=3, link=None))
    )
    assert (sign.class_, sign.onset, sign.rank) == ("collective_timeout", 3000.0 - 1836.0, 3)


def test_a_code_that_the_log_takes_back(fed: Make) -> None:
    log = fed(events(), NODE)
    raised = entry(1000.0, "ascend", "ascend", code="80E00209", number=5)
    (sign,) = log.signs(logged("kernel_log", raised))
    (gone,) = log.feed(logged("kernel_log", entry(1001.0, "ascend", "ascend", code="80E00209", number=5, cleared=True)))
    assert isinstance(gone, Gone)
    assert (gone.class_, gone.condition, gone.device) == (sign.class_, sign.condition, sign.device)


def mlx5(at: float, up: bool = False, link: str = "port/1") -> object:
    return entry(
        at, "mlx5_link_up" if up else "mlx5_link_down", "host", pci="0000:9a:00", link=link, text="mlx5_core: Link"
    )


def test_a_port_of_the_host_goes_down_and_comes_back(fed: Make) -> None:
    log = fed(events(), NODE)
    (sign,) = log.signs(logged("kernel_log", mlx5(1000.0)))  # type: ignore[arg-type]
    assert (sign.class_, sign.vendor, sign.device, sign.place) == ("net_link_down", "host", None, None)
    assert (sign.severity, sign.lasting) == (Severity.DEGRADING, False)
    (gone,) = log.gone(logged("kernel_log", mlx5(1001.0, up=True)))  # type: ignore[arg-type]
    assert (gone.class_, gone.condition, gone.place) == ("net_link_down", sign.condition, None)


def test_a_line_that_names_an_rdma_port_is_of_the_port_that_is_polled(fed: Make) -> None:
    cabled = fed(events(), Context(links_seen_up=frozenset({(None, "mlx5_0/1")})))
    assert cabled.signs(logged("kernel_log", mlx5(1000.0, link="mlx5_0/1")))[0].condition == "link mlx5_0/1 down"  # type: ignore[arg-type]
    never = fed(events())
    never.quiet(logged("kernel_log", mlx5(1000.0, link="mlx5_0/1")))  # type: ignore[arg-type]


def hung(at: float, kind: str = "hung_task", pid: int = 5, refines: str | None = None) -> object:
    return entry(at, kind, "host", pid=pid, process="python", text="INFO: task python:5", refines=refines)


def test_a_hung_task_waits_for_its_stack(fed: Make) -> None:
    log = fed(events())
    log.quiet(logged("kernel_log", hung(1010.0)))  # type: ignore[arg-type]
    (sign,) = log.signs(logged("kernel_log", hung(1010.2, "hung_task_driver", refines="hung_task")), 0.2)  # type: ignore[arg-type]
    assert (sign.class_, sign.severity) == ("driver_software", Severity.DEGRADING)
    log.quiet(Tick(), STACK_SECONDS)


def test_a_hung_task_whose_stack_tells_nothing(fed: Make) -> None:
    log = fed(events())
    log.quiet(logged("kernel_log", hung(1010.0)))  # type: ignore[arg-type]
    log.quiet(Tick(), STACK_SECONDS - 0.1)
    (sign,) = log.signs(Tick(), 0.2)
    assert (sign.class_, sign.at, sign.pid) == ("host", 1010.0, 5)
    log.quiet(Tick())


def test_a_stack_that_tells_more_and_more_is_one_task(fed: Make) -> None:
    log = fed(events())
    lines = (
        hung(1010.0),
        hung(1010.0, "hung_task_storage", refines="hung_task"),
        hung(1010.0, "hung_task_driver", refines="hung_task_storage"),
    )
    (sign,) = log.signs(logged("kernel_log", *lines))  # type: ignore[arg-type]
    assert sign.class_ == "driver_software"
    log.quiet(Tick(), STACK_SECONDS)


def test_a_task_that_hangs_again_is_told_twice(fed: Make) -> None:
    log = fed(events())
    old = (hung(100.0), hung(221.0), hung(221.0, "hung_task_storage", refines="hung_task"))
    signs = log.signs(logged("kernel_log", *old))  # type: ignore[arg-type]
    assert [(sign.class_, sign.at) for sign in signs] == [("host", 100.0), ("storage", 221.0)]


def test_two_tasks_that_hang_are_two(fed: Make) -> None:
    log = fed(events())
    log.quiet(logged("kernel_log", hung(1010.0), hung(1010.0, pid=6)))  # type: ignore[arg-type]
    assert sorted(sign.pid or 0 for sign in log.signs(answered("nvml"))) == [5, 6]

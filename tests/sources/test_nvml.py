"""NVML through a real worker and a real library: values, lost and blocked devices, dying drivers."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pynvml
import pytest

from accelwatch.readings.health import DeviceState
from accelwatch.readings.link import Fabric, LinkState
from accelwatch.readings.sensors import Throttle
from accelwatch.readings.snapshot import read_anew
from accelwatch.simulator import nvml_library
from accelwatch.simulator.state import Node
from accelwatch.sources.base import SourceError
from accelwatch.sources.nvml import Nvml
from accelwatch.sources.nvml_device import decode_fabric
from support import FakeClock, corpus, node_of


def children_of_this_process() -> list[str]:
    """Their numbers, dead ones that were not reaped included."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats.append(path.read_text())
    return sorted(stat.split()[0] for stat in stats if stat.rpartition(")")[2].split()[1] == str(os.getpid()))


class Rig:
    """A node behind the simulated library, and the source that reads it."""

    def __init__(self, directory: Path, node: Node) -> None:
        self.node = node
        self.clock = FakeClock()
        self._state = nvml_library.StateFile(directory)
        self.show()
        library = nvml_library.install(directory)
        self.source = Nvml(library=str(library), timeout=0.4, interval=1, clock=self.clock)

    def show(self) -> None:
        self._state.write(self.node)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, node_of("hopper", 3))
    yield made
    made.source.close()


def test_who_a_device_is_stays_one_object(rig: Rig) -> None:
    """Full readings too, so that nobody looks at it again; what was read again is new, also where it is equal."""
    first = rig.source.poll(everything=True)
    second = rig.source.poll(everything=True)
    assert all(a.identity is b.identity for a, b in zip(first.devices, second.devices, strict=True))
    assert read_anew(first, second) == {"sensors", "health", "ecc", "repairs", "pcie", "fabric", "links", "processes"}
    assert first.devices[0].links == second.devices[0].links
    assert read_anew(second, rig.source.poll()) == {"sensors"}
    rig.node.nvidia[1].serial = "1650000000001"  # another board in the slot: only a new worker can see it
    rig.show()
    rig.source._child.end()
    third = rig.source.poll(everything=True)
    assert third.devices[1].identity.serial == "1650000000001"
    assert third.devices[0].identity is first.devices[0].identity
    assert read_anew(second, third) is None


def test_every_value_is_the_devices_own(rig: Rig) -> None:
    """Identity, sensors, ECC, repairs, links, PCIe, fabric and processes come out as the GPU has them."""
    true = rig.node.nvidia[1]
    true.ecc_volatile, true.ecc_aggregate = {"hbm_corrected": 3, "sram_uncorrected": 1}, {"hbm_corrected": 9}
    true.rows_uncorrected, true.rows_pending, true.throttle_bits, true.pcie_width = 2, True, 0x48, 8
    true.links[4].up = False
    true.links[5].errors = {"crc_flit": 11}
    rig.show()
    device = rig.source.poll().devices[1]
    identity, sensors = device.identity, device.sensors
    assert (identity.uuid, identity.serial, identity.pci, identity.model) == (
        true.uuid,
        true.serial,
        true.pci,
        true.model,
    )
    assert (identity.driver, identity.library, identity.firmware) == (rig.node.driver, rig.node.tool, true.firmware)
    assert sensors is not None
    assert sensors.power_watts == pytest.approx(true.power_watts)
    assert (sensors.temperature_celsius, sensors.memory_temperature_celsius) == (
        true.temperature_celsius,
        true.memory_temperature_celsius,
    )
    assert sensors.utilization_ratio == true.utilization_percent / 100
    assert sensors.memory_used_bytes == true.memory_used_mib << 20
    assert sensors.throttle == (Throttle.HW_SLOWDOWN, Throttle.HW_THERMAL)
    counts = {(c.memory, c.kind.value, c.lifetime): c.count for c in device.ecc or () if c.count}
    assert counts == {("hbm", "corrected", False): 3, ("sram", "uncorrected", False): 1, ("hbm", "corrected", True): 9}
    assert device.repairs is not None
    assert (device.repairs.rows_uncorrected, device.repairs.pending, device.repairs.failed) == (2, True, False)
    assert device.pcie is not None
    assert (device.pcie.width, device.pcie.width_max) == (8, 16)
    assert device.links is not None
    assert [link.link for link in device.links if link.state is LinkState.DOWN] == ["nvlink4"]
    assert device.links[5].errors is not None
    assert device.links[5].errors["crc_flit"] == 11
    assert device.fabric is not None
    assert device.fabric.healthy
    assert device.processes is not None
    assert [(p.pid, p.name) for p in device.processes] == [(20001, "python3")]


def test_blackwell_links_are_read_by_their_own_fields(tmp_path: Path) -> None:
    """The Hopper counters answer 'not supported' there, and the new fields are used."""
    rig = Rig(tmp_path, node_of("blackwell", 1))
    rig.node.nvidia[0].links[7].errors = {"rx_errors": 5}
    rig.show()
    links = rig.source.poll().devices[0].links
    rig.source.close()
    assert links is not None
    assert links[7].errors is not None
    assert {name: count for name, count in links[7].errors.items() if count} == {"rx_errors": 5}
    assert {"recovery_failed", "effective_errors", "symbol_errors"} <= set(links[7].errors)
    assert not {"replay", "crc_flit"} & set(links[7].errors)


def test_fast_polls_keep_the_rest_and_every_tenth_reads_it(rig: Rig) -> None:
    """Power is new at each poll, ECC at every tenth."""
    rig.source.poll()
    rig.node.nvidia[0].power_watts, rig.node.nvidia[0].ecc_volatile = 333.0, {"hbm_corrected": 1}
    rig.show()
    for poll in range(1, 11):
        device = rig.source.poll().devices[0]
        assert device.sensors is not None
        assert device.sensors.power_watts == pytest.approx(333.0)
        assert bool(sum(count.count for count in device.ecc or ())) == (poll >= 10)


def test_what_the_driver_does_not_know_is_none_and_the_rest_is_there(rig: Rig) -> None:
    """An old driver without a function costs that field only."""
    true = rig.node.nvidia[0]
    true.call_results = {"nvmlDeviceGetRemappedRows": 13, "nvmlDeviceGetUtilizationRates": 3}
    true.memory_temperature_celsius = None
    rig.show()
    device = rig.source.poll().devices[0]
    assert device.sensors is not None
    assert (device.sensors.utilization_ratio, device.sensors.memory_temperature_celsius) == (None, None)
    assert device.sensors.power_watts is not None
    assert device.repairs is not None
    assert device.repairs.rows_corrected is None


@pytest.mark.parametrize(("code", "state"), [(15, DeviceState.LOST), (16, DeviceState.RESET_REQUIRED)])
def test_a_lost_device_is_a_state_and_the_others_answer(rig: Rig, code: int, state: DeviceState) -> None:
    """GPU_IS_LOST and RESET_REQUIRED are values of one device, not an exception of all."""
    rig.source.poll()
    rig.node.nvidia[2].status = code
    rig.show()
    snapshot = rig.source.poll()
    assert [device.state for device in snapshot.devices] == [DeviceState.UP, DeviceState.UP, state]
    assert snapshot.devices[2].identity.serial == rig.node.nvidia[2].serial
    assert snapshot.devices[2].sensors is None


def test_unknown_errors_make_a_device_lost_when_they_last(rig: Rig) -> None:
    """One 999 is a hiccup, three in a row are a dying GPU."""
    rig.source.poll()
    rig.node.nvidia[0].status = 999
    rig.show()
    states = [rig.source.poll().devices[0].state for _ in range(3)]
    assert states == [DeviceState.UP, DeviceState.UP, DeviceState.LOST]


def test_a_lost_device_that_came_back_is_found_within_a_minute(rig: Rig) -> None:
    """After a reset only a new worker sees the GPU."""
    rig.source.poll()
    rig.node.nvidia[0].status = 15
    rig.show()
    assert rig.source.poll().devices[0].state is DeviceState.LOST
    rig.node.nvidia[0].status = 0
    rig.show()
    rig.clock.now += 61
    assert rig.source.poll().devices[0].state is DeviceState.UP


@pytest.mark.parametrize(
    "call", ["nvmlDeviceGetFieldValues", "nvmlDeviceGetUUID", "nvmlDeviceGetComputeRunningProcesses_v3"]
)
def test_a_device_that_blocks_is_set_apart_in_the_same_poll(rig: Rig, call: str) -> None:
    """The call and the device are named, the others' values are there, and it is tried again later."""
    rig.source.poll()
    rig.source.close()
    rig.node.nvidia[1].blocked_calls = [call]
    rig.show()
    snapshot = rig.source.poll()
    states = {device.identity.index: device.state for device in snapshot.devices}
    assert states == {0: DeviceState.UP, 1: DeviceState.BLOCKED, 2: DeviceState.UP}
    assert "did not return within 0.4 s" in snapshot.problems[0]
    assert rig.source.poll().problems == ()
    rig.node.nvidia[1].blocked_calls = []
    rig.show()
    rig.clock.now += 31
    assert all(device.state is DeviceState.UP for device in rig.source.poll().devices)


def test_a_driver_that_blocks_as_a_whole_fails_within_its_deadline_and_recovers(rig: Rig) -> None:
    """The agent waits between attempts and finds the driver when it answers again."""
    rig.node.blocked_library_calls = ["nvmlInitWithFlags"]
    rig.show()
    with pytest.raises(SourceError, match="nvmlInit did not return"):
        rig.source.poll()
    with pytest.raises(SourceError, match="nvmlInit did not return"):
        rig.source.poll()  # at once: no second worker is started yet
    rig.node.blocked_library_calls = []
    rig.show()
    rig.clock.now += 2
    assert len(rig.source.poll().devices) == 3


def test_a_version_mismatch_says_what_to_do(rig: Rig) -> None:
    """The driver was upgraded under us."""
    rig.node.init_result = 18
    rig.show()
    with pytest.raises(SourceError, match="reload it or reboot"):
        rig.source.poll()


def test_release_lets_go_of_the_driver_for_a_time(rig: Rig) -> None:
    """No worker holds a handle until the time is over."""
    rig.source.poll()
    rig.source.release(600)
    with pytest.raises(SourceError, match="released by an operator"):
        rig.source.poll()
    rig.clock.now += 601
    assert len(rig.source.poll().devices) == 3


def test_a_crash_in_the_library_is_survived(tmp_path: Path) -> None:
    """SIGSEGV ends the worker only; the source says so."""
    source = tmp_path / "crash.c"
    source.write_text("int nvmlInitWithFlags(unsigned f){(void)f;*(volatile int*)0=1;return 0;}")
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(library), str(source)], check=True
    )
    nvml = Nvml(library=str(library), timeout=1, interval=1, clock=FakeClock())
    with pytest.raises(SourceError, match="SIGSEGV"):
        nvml.poll()
    nvml.close()


def test_a_blocked_worker_leaves_no_child_behind(rig: Rig) -> None:
    """What was killed is reaped."""
    before = children_of_this_process()
    rig.node.nvidia[0].blocked_calls = ["*"]
    rig.show()
    snapshot = rig.source.poll()
    assert "did not return" in snapshot.problems[0]
    rig.source.close()
    assert rig.source.abandoned == 0
    assert children_of_this_process() == before


@pytest.mark.parametrize(
    ("state", "status", "mask", "healthy", "problems"),
    [(3, 0, 0, True, ()), (3, 0, 1, False, ("degraded_bandwidth",)), (3, 0, 0x2AA, False, ("misconfigured",)),
     (3, 0, 0x1AA, True, ()), (2, 0, 0, None, ()), (3, 999, 0, False, ())],
)  # fmt: skip
def test_fabric_masks(state: int, status: int, mask: int, healthy: bool | None, problems: tuple[str, ...]) -> None:
    """Two-bit fields: 0 not told, 1 true, 2 false; the status counts only when completed."""
    fabric = msgspec.convert(decode_fabric(state, status, mask), Fabric)
    assert (fabric.healthy, fabric.problems) == (healthy, problems)


def test_the_library_exports_only_what_the_real_one_does(tmp_path: Path) -> None:
    """A fake that can do more than the driver proves nothing."""
    library = nvml_library.install(tmp_path)
    printed = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    ours = set(re.findall(r" T (nvml\w+)", printed.stdout))
    assert len(ours) > 40
    real = set(re.findall(r"nvml\w+", corpus("nvidia", "nvml", "libnvidia-ml-590-exported-symbols.txt")))
    assert ours - real == set()


def test_the_binding_has_the_structures_that_the_library_was_built_for() -> None:
    """Sizes as in reference/nvidia.md section 4."""
    import ctypes

    sizes = {"nvmlPciInfo_t": 68, "c_nvmlMemory_v2_t": 40, "c_nvmlFieldValue_t": 40, "c_nvmlGpuFabricInfo_v3_t": 40}
    assert {name: ctypes.sizeof(getattr(pynvml, name)) for name in sizes} == sizes

"""NVML when it goes wrong: dying devices, devices that cannot be opened, garbage, threads that interfere."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.readings.health import DeviceState
from accelwatch.simulator import nvml_library
from accelwatch.simulator.state import MigDevice, Node
from accelwatch.sources.base import Presence, SourceError, SourceTimeout
from accelwatch.sources.nvml import LIBRARY, Nvml
from support import FakeClock, node_of

TIMEOUT = 0.4

# An agent that tells its worker's number once the worker runs, and goes on.
AGENT = """
import sys, threading, time
from accelwatch.clock import SystemClock
from accelwatch.sources.nvml import Nvml
source = Nvml(library=sys.argv[1], timeout=60, interval=1, clock=SystemClock())
def tell():
    while source._child._progress is None or source._child._progress.current() is None and not source._devices:
        time.sleep(0.01)
    print(source._child._worker.pid, flush=True)
threading.Thread(target=tell, daemon=True).start()
source.poll()
time.sleep(60)
"""


class Rig:
    """A node behind the simulated library, and the source that reads it."""

    def __init__(self, directory: Path, node: Node) -> None:
        self.node = node
        self.clock = FakeClock()
        self._state = nvml_library.StateFile(directory)
        self._state.write(node)
        library = nvml_library.install(directory)
        self.source = Nvml(library=str(library), timeout=TIMEOUT, interval=1, clock=self.clock)

    def show(self) -> None:
        self._state.write(self.node)

    def states(self) -> list[DeviceState]:
        return [device.state for device in self.source.poll().devices]

    def worker(self) -> int:
        worker = self.source._child._worker
        assert worker is not None
        return worker.pid


def runs(pid: int) -> bool:
    """A process of that number exists and is no zombie."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, node_of("hopper", 3))
    yield made
    made.source.close()


UP, LOST, BLOCKED = DeviceState.UP, DeviceState.LOST, DeviceState.BLOCKED


def library_of(directory: Path, code: str) -> Path:
    """A library of our own, where the simulated one cannot behave so badly."""
    source, library = directory / "bad.c", directory / LIBRARY
    source.write_text(code)
    subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", str(library), str(source)], check=True)
    return library


# --- lost devices


@pytest.mark.parametrize("status", [15, 16, 999])
def test_a_device_that_a_new_worker_cannot_open_keeps_its_identity(rig: Rig, status: int) -> None:
    """The retry each minute does not turn a lost GPU into one that was never there."""
    before = rig.source.poll().devices[1].identity
    rig.node.nvidia[1].status = status
    rig.show()
    for _ in range(3):
        rig.clock.now += 61
        snapshot = rig.source.poll()
    device = next(device for device in snapshot.devices if device.identity.index == 1)
    assert device.state is (DeviceState.RESET_REQUIRED if status == 16 else LOST)
    assert device.identity == before
    assert f"returned {status}" in (device.reason or "")
    assert sum(device.state is UP for device in snapshot.devices) == 2


def test_a_device_that_was_lost_for_long_is_found_again(rig: Rig) -> None:
    """A new worker looks each minute, not only once."""
    rig.source.poll()
    rig.node.nvidia[1].status = 15
    rig.show()
    for _ in range(4):
        rig.clock.now += 61
        assert sorted(rig.states()) == [LOST, UP, UP]
    rig.node.nvidia[1].status = 0
    rig.show()
    rig.clock.now += 61
    assert rig.states() == [UP, UP, UP]


def test_a_device_that_is_not_counted_any_more_is_found_when_it_comes_back(rig: Rig) -> None:
    """NVML counts devices at its start: a new worker counts anew, at growing intervals."""
    rig.source.poll()
    rig.node.nvidia[1].present = False
    rig.show()
    rig.clock.now += 61
    assert LOST in rig.states()
    rig.clock.now += 61
    assert rig.states() == [UP, UP]
    rig.node.nvidia[1].present = True
    rig.show()
    rig.clock.now += 121
    assert rig.states() == [UP, UP, UP]


def test_one_call_that_always_gives_999_costs_its_value_only(rig: Rig) -> None:
    """A board with a broken meter is not a lost board."""
    rig.node.nvidia[0].call_results = {"nvmlDeviceGetUtilizationRates": 999, "nvmlDeviceGetGpuFabricInfoV": 999}
    rig.show()
    for _ in range(5):
        device = rig.source.poll().devices[0]
    assert device.state is UP
    assert device.sensors is not None
    assert device.sensors.utilization_ratio is None
    assert device.sensors.power_watts is not None
    assert device.fabric is None


def test_after_a_hiccup_the_whole_picture_is_back_with_the_next_answer(rig: Rig) -> None:
    """What one 999 took away does not wait for the next full reading."""
    rig.source.poll()
    rig.node.nvidia[0].status = 999
    rig.show()
    assert rig.source.poll().devices[0].ecc is None
    rig.node.nvidia[0].status = 0
    rig.show()
    device = rig.source.poll().devices[0]
    assert (device.state, device.reason) == (UP, None)
    assert device.ecc is not None
    assert device.sensors is not None
    assert device.sensors.memory_total_bytes is not None


def test_a_device_that_may_not_be_opened_is_told_once_and_the_others_answer(rig: Rig) -> None:
    """No permission on one device node is a problem of that GPU, neither a crash nor a lost device."""
    rig.node.nvidia[2].call_results = {"nvmlDeviceGetPciInfo_v3": 4}
    rig.show()
    snapshot = rig.source.poll()
    assert [device.state for device in snapshot.devices] == [UP, UP]
    assert len(snapshot.problems) == 1
    assert "GPU 2" in snapshot.problems[0]
    assert "no permission" in snapshot.problems[0]
    assert rig.source.poll().problems == ()


def test_an_init_that_fails_with_any_code_is_an_error_not_an_empty_node(rig: Rig) -> None:
    """Unknown is not 'no GPU'."""
    rig.node.init_result = 4
    rig.show()
    with pytest.raises(SourceError, match="nvmlInit returned 4"):
        rig.source.poll()


# --- blocked calls


def test_a_device_that_keeps_blocking_is_left_alone_ever_longer(rig: Rig) -> None:
    """30 s, then 60 s, and it stays in the picture as blocked with the call as reason."""
    rig.source.poll()
    rig.node.nvidia[1].blocked_calls = ["nvmlDeviceGetFieldValues"]
    rig.show()
    assert "again in 30 s" in rig.source.poll().problems[0]
    rig.clock.now += 29
    snapshot = rig.source.poll()
    assert snapshot.problems == ()
    assert [(d.state, d.reason) for d in snapshot.devices if d.state is not UP] == [
        (BLOCKED, "nvmlDeviceGetFieldValues did not return within 0.4 s")
    ]
    rig.clock.now += 2
    assert "again in 60 s" in rig.source.poll().problems[0]


def test_a_process_whose_name_blocks_costs_names_only(rig: Rig) -> None:
    """NVML reads that process's memory map, which a dying process may hold locked."""
    rig.node.blocked_library_calls = ["nvmlSystemGetProcessName"]
    rig.show()
    snapshot = rig.source.poll()
    assert "no process names" in snapshot.problems[0]
    assert [device.state for device in snapshot.devices] == [UP, UP, UP]
    processes = snapshot.devices[0].processes
    assert processes
    assert processes[0].name is None
    assert processes[0].memory_bytes is not None


def test_a_driver_that_blocks_before_any_device_is_a_timeout(rig: Rig) -> None:
    """The error's class tells a blocked driver from a failing one."""
    rig.node.blocked_library_calls = ["nvmlDeviceGetCount_v2"]
    rig.show()
    with pytest.raises(SourceTimeout, match="nvmlDeviceGetCount did not return"):
        rig.source.poll()


def test_a_library_that_blocks_as_a_whole_leaves_no_gpu_accused(rig: Rig) -> None:
    """The first call that blocks is one on a GPU; then not even a new worker gets in."""
    rig.source.poll()
    rig.node.nvidia[0].blocked_calls = ["nvmlDeviceGetFieldValues"]
    rig.node.blocked_library_calls = ["nvmlInitWithFlags"]
    rig.show()
    with pytest.raises(SourceTimeout):
        rig.source.poll()
    rig.node.nvidia[0].blocked_calls = []
    rig.node.blocked_library_calls = []
    rig.show()
    rig.clock.now += 5
    assert rig.states() == [UP, UP, UP]


# --- the worker's end


def test_garbage_from_the_worker_is_an_error_with_a_sample(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be decoded ends the worker; the next one answers."""
    rig.source.poll()
    body = b"Segfault imminent"
    monkeypatch.setattr(rig.source._child, "_receive", lambda worker, _limit: body)
    with pytest.raises(SourceError, match="garbage") as caught:
        rig.source.poll()
    assert caught.value.sample == body.decode()
    monkeypatch.undo()
    rig.clock.now += 2
    assert rig.states() == [UP, UP, UP]


def test_a_library_that_prints_does_not_disturb_the_answers(tmp_path: Path) -> None:
    """Standard output of the worker is not the pipe of its answers, and a flood on it blocks nobody."""
    library = library_of(
        tmp_path,
        "#include <stdio.h>\n"
        'int nvmlInitWithFlags(unsigned f){for(int i=0;i<20000;i++)puts("NVRM noise");fflush(stdout);return 0;}'
        "int nvmlDeviceGetCount_v2(unsigned*n){*n=0;return 0;}",
    )
    source = Nvml(library=str(library), timeout=5, interval=1, clock=FakeClock())
    assert source.poll().devices == ()
    source.close()


def test_a_library_in_a_configured_directory_is_found(tmp_path: Path) -> None:
    """The key names the library or the directory that it lies in."""
    Rig(tmp_path, node_of("ampere", 1))
    source = Nvml(library=str(tmp_path), timeout=TIMEOUT, interval=1, clock=FakeClock())
    assert source.presence() is Presence.PRESENT
    assert len(source.poll().devices) == 1
    source.close()


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    """The message has the path that was configured."""
    source = Nvml(library=str(tmp_path / "none.so"), timeout=TIMEOUT, interval=1, clock=FakeClock())
    with pytest.raises(SourceError, match=r"none\.so: cannot be loaded"):
        source.poll()
    source.close()


def test_a_worker_killed_from_outside_is_replaced(rig: Rig) -> None:
    """The out-of-memory killer may take it: one poll fails, the next has everything."""
    rig.source.poll()
    os.kill(rig.worker(), signal.SIGKILL)
    with pytest.raises(SourceError, match="SIGKILL"):
        rig.source.poll()
    rig.clock.now += 2
    assert rig.states() == [UP, UP, UP]


@pytest.mark.parametrize("blocked", [[], ["nvmlInitWithFlags"]])
def test_the_worker_dies_with_its_agent(tmp_path: Path, blocked: list[str]) -> None:
    """Even when the agent is killed, and when the worker is inside a call."""
    rig = Rig(tmp_path, node_of("ampere", 1))
    rig.node.blocked_library_calls = blocked
    rig.show()
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    with agent, agent.stdout:
        worker = int(agent.stdout.readline())
        assert runs(worker)
        agent.kill()
    deadline = time.monotonic() + 5
    while runs(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not runs(worker)


# --- MIG


def test_mig_devices_are_there_between_full_readings_and_go_with_their_gpu(rig: Rig) -> None:
    """They have memory of their own; one on a lost GPU is not shown as up."""
    rig.node.nvidia[0].mig = [MigDevice(7, 0, "MIG-1", "MIG 1g.10gb", 9856, 100)]
    rig.show()
    rig.source.poll()
    for _ in range(2):
        (mig,) = [d for d in rig.source.poll().devices if d.identity.parent is not None]
    assert mig.key.native == f"{rig.node.nvidia[0].pci}/7/0"
    assert mig.identity.parent is not None
    assert mig.identity.parent.native == rig.node.nvidia[0].pci
    assert mig.sensors is not None
    assert mig.sensors.memory_used_bytes == 100 << 20
    rig.node.nvidia[0].status = 15
    rig.show()
    assert rig.states() == [LOST, UP, UP]


def test_what_a_mig_device_lacks_its_gpu_still_has(rig: Rig) -> None:
    """'Not supported' is remembered for the handle that said it."""
    rig.node.nvidia[0].mig = [MigDevice(7, 0, "MIG-1", "MIG 1g.10gb", 9856, 100)]
    rig.show()
    for _ in range(2):
        snapshot = rig.source.poll(everything=True)
    gpu = next(d for d in snapshot.devices if d.identity.index == 0)
    assert gpu.processes
    assert gpu.sensors is not None
    assert gpu.sensors.memory_total_bytes == rig.node.nvidia[0].memory_total_mib << 20


# --- other threads


def test_close_does_not_wait_for_a_blocked_call(tmp_path: Path) -> None:
    """A poll in another thread gives up, and close is back within a second, with no child left."""
    rig = Rig(tmp_path, node_of("hopper", 1))
    rig.source = Nvml(library=str(tmp_path), timeout=30, interval=1, clock=rig.clock)
    rig.node.blocked_library_calls = ["nvmlInitWithFlags"]
    rig.show()
    errors: list[str] = []

    def poll() -> None:
        try:
            rig.source.poll()
        except SourceError as error:
            errors.append(str(error))

    thread = threading.Thread(target=poll)
    thread.start()
    deadline = time.monotonic() + 5
    while not rig.source._child.running and time.monotonic() < deadline:
        time.sleep(0.01)
    worker = rig.worker()
    began = time.monotonic()
    rig.source.close()
    assert time.monotonic() - began < 1
    thread.join(5)
    assert errors == ["NVML: closed or released during a poll"]
    assert not runs(worker)


def test_a_release_ends_before_its_time_when_it_is_taken_back(rig: Rig) -> None:
    """After `resume` the next poll has the driver again."""
    rig.source.poll()
    worker = rig.worker()
    rig.source.release(600)
    assert not runs(worker)
    with pytest.raises(SourceError, match="released by an operator for another 600 s"):
        rig.source.poll()
    rig.source.resume()
    assert rig.states() == [UP, UP, UP]


def test_polls_that_were_held_up_bring_everything_anew(rig: Rig) -> None:
    """Slow values older than two and a half full periods are never shown."""
    rig.source.poll()
    rig.node.nvidia[0].rows_uncorrected = 7
    rig.show()
    rig.clock.now += 26
    repairs = rig.source.poll().devices[0].repairs
    assert repairs is not None
    assert repairs.rows_uncorrected == 7

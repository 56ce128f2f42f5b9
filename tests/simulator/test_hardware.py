"""Running hardware: node directories, kernel log, /proc, sysfs, the control socket and the command."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from accelwatch import config
from accelwatch.config import Duration
from accelwatch.server import control
from accelwatch.simulator import scenario as scenarios
from accelwatch.simulator.hardware import CONTROL_SOCKET, Hardware
from accelwatch.simulator.scenario import FaultSpec, Phase, Scenario
from support import FakeClock

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
RECORD = re.compile(rb"^\d+,(\d+),(\d+),-;(.*)$")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def hardware(tmp_path: Path, clock: FakeClock) -> Iterator[Hardware]:
    running = Hardware(scenarios.load("one-of-each"), tmp_path / "sim", clock)
    running.tick()
    yield running
    running.close()


def records(tmp_path: Path, node: str) -> list[tuple[int, int, str]]:
    lines = (tmp_path / "sim" / node / "kmsg").read_bytes().splitlines()
    found = [RECORD.match(line) for line in lines]
    return [(int(match[1]), int(match[2]), match[3].decode()) for match in found if match]


def fault(name: str, node: str = "nv-1", device: int | None = 0, **parameters: int) -> FaultSpec:
    return FaultSpec(fault=name, node=node, device=device, parameters=dict(parameters))


def test_each_node_has_a_configuration_that_the_agent_accepts(hardware: Hardware, tmp_path: Path) -> None:
    """The written configuration loads, and each vendor's node has the other vendor's sources off."""
    nvidia, ascend = (config.load(tmp_path / "sim" / name / "accelwatch.yml") for name in ("nv-1", "as-1"))
    assert (nvidia.node, ascend.node) == ("nv-1", "as-1")
    assert (nvidia.sources.npu_smi.enabled, ascend.sources.nvml.enabled) == (False, False)
    assert nvidia.listen != ascend.listen


def test_a_fault_is_in_the_kernel_log_once(hardware: Hardware, tmp_path: Path, clock: FakeClock) -> None:
    """A fault's lines are appended when it begins and not again, with rising sequence and time."""
    hardware.inject(fault("lost"))
    clock.now += 5
    hardware.inject(fault("xid", device=1, xid=94))
    hardware.tick()
    first, second = records(tmp_path, "nv-1")
    assert first[2].endswith(": 79, GPU has fallen off the bus.")
    assert ": 94, pid=20001, name=python3, Contained" in second[2]
    assert second[0] == first[0] + 1
    assert second[1] - first[1] == 5_000_000
    assert records(tmp_path, "as-1") == []


def test_a_fault_between_two_ticks_is_still_in_the_kernel_log(tmp_path: Path, clock: FakeClock) -> None:
    """A scenario's fault that begins and ends between two ticks writes its lines all the same."""
    scenario = scenarios.load("one-of-each")
    short = FaultSpec(fault="xid", node="nv-1", device=0, at=Duration(10), clear_after=Duration(0.5))
    running = Hardware(Scenario(nodes=scenario.nodes, faults=(short,)), tmp_path / "sim", clock)
    running.tick()
    assert records(tmp_path, "nv-1") == []
    clock.now += 60
    running.tick()
    running.close()
    assert len(records(tmp_path, "nv-1")) == 1


def test_processes_are_readable_through_psutil(
    hardware: Hardware, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psutil reads name, state, CPU time, start, environment and open device of a training process."""
    clock.now += 30
    hardware.tick()
    proc = tmp_path / "sim" / "as-1" / "proc"
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(proc))
    process = psutil.Process(20001)
    assert (process.name(), process.status()) == ("python3", psutil.STATUS_RUNNING)
    assert process.cpu_times().user == pytest.approx(30.0)
    assert process.environ()["SLURM_JOB_ID"] == "4712"
    assert process.io_counters().read_bytes == 30 * (20 << 20)
    assert str((proc / "20001" / "fd" / "7").readlink()) == "/dev/davinci1"


def test_a_dead_process_leaves_proc(hardware: Hardware, tmp_path: Path) -> None:
    """A process that died is gone from /proc, the others stay; after clearing it is back."""
    hardware.inject(fault("process_death"))
    proc = tmp_path / "sim" / "nv-1" / "proc"
    assert [(proc / str(pid)).exists() for pid in (20000, 20001)] == [False, True]
    hardware.clear(None)
    assert (proc / "20000" / "stat").exists()


def test_rdma_ports_follow_their_faults(hardware: Hardware, tmp_path: Path) -> None:
    """A port that goes down shows it in sysfs, and its drop stays counted when it is back."""
    port = tmp_path / "sim" / "nv-1" / "sys" / "class" / "infiniband" / "mlx5_1" / "ports" / "1"
    assert (port / "state").read_text() == "4: ACTIVE\n"
    hardware.inject(fault("rdma_down", device=1))
    assert (port / "state").read_text() == "1: DOWN\n"
    hardware.clear(None)
    assert (port / "state").read_text() == "4: ACTIVE\n"
    assert (port / "counters" / "link_downed").read_text() == "1\n"


def test_clear_ends_one_fault_and_keeps_its_counts(hardware: Hardware) -> None:
    """Clearing by number ends that fault only, and the counts it made stay."""
    first = hardware.inject(fault("ecc_corrected", count=5))
    hardware.inject(fault("reset_required", device=1))
    assert hardware.clear(first) == 1
    assert hardware.clear(first) == 0
    gpus = hardware.state("nv-1")["nvidia"]
    assert gpus[0]["ecc_volatile"] == {"hbm_corrected": 5}
    assert gpus[1]["status"] == 16
    assert [present["fault"] for present in hardware.faults()] == ["reset_required"]


def test_time_can_stand_run_and_skip(hardware: Hardware, clock: FakeClock) -> None:
    """Speed changes and skips go on from the present second; time never runs backwards."""
    clock.now += 10
    hardware.run_at(0)
    clock.now += 50
    assert hardware.now == pytest.approx(10)
    hardware.run_at(4)
    clock.now += 5
    assert hardware.now == pytest.approx(30)
    hardware.skip_to(100)
    assert hardware.now == pytest.approx(100)
    with pytest.raises(ValueError, match="has passed"):
        hardware.skip_to(99)


def test_a_scenario_whose_fault_does_not_fit_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    """A fault of the other vendor is refused before anything runs."""
    nodes = scenarios.load("one-of-each").nodes
    wrong = Scenario(nodes=nodes, workload=(Phase(),), faults=(fault("roce_down"),))
    with pytest.raises(ValueError, match="Ascend device"):
        Hardware(wrong, tmp_path / "sim", clock)


def test_the_control_socket_answers(hardware: Hardware, tmp_path: Path) -> None:
    """Injecting, listing, state and clearing work over the socket, and errors are told, not raised there."""
    hardware.start()
    path = tmp_path / "sim" / CONTROL_SOCKET
    given = control.ask(
        path, {"command": "inject", "fault": "lost", "node": "as-1", "device": 1, "parameters": {}}, 5.0
    )
    assert control.ask(path, {"command": "list"}, 5.0)["faults"][0]["id"] == given["id"]
    state = control.ask(path, {"command": "state", "node": "as-1"}, 5.0)["state"]
    assert [device["present"] for device in state["ascend"]] == [True, False]
    with pytest.raises(control.ControlError, match="devices 0 to 1"):
        control.ask(path, {"command": "inject", "fault": "lost", "node": "as-1", "device": 9, "parameters": {}}, 5.0)
    assert control.ask(path, {"command": "clear", "id": None}, 5.0) == {"cleared": 1}


def test_a_deep_directory_does_not_break_the_socket(tmp_path: Path, clock: FakeClock) -> None:
    """A directory deeper than the 108 bytes of a socket address still gets its control socket."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    running = Hardware(scenarios.load("one-of-each"), deep, clock)
    running.start()
    assert "faults" in control.ask(deep / CONTROL_SOCKET, {"command": "list"}, 5.0)
    running.close()


def test_the_command_runs_until_sigterm(tmp_path: Path) -> None:
    """`simulate node` tells each agent's command line, takes faults from outside, and ends within two seconds."""
    program = [sys.executable, "-m", "accelwatch", "simulate"]
    child = subprocess.Popen(
        [*program, "node", "one-of-each", "--dir", str(tmp_path / "sim")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        assert "accelwatch.yml agent" in lines[1]
        ask = [*program, "inject", str(tmp_path / "sim"), "lost", "--node", "nv-1", "--device", "0", "code=16"]
        assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "fault 1\n"
        state = subprocess.run(
            [*program, "state", str(tmp_path / "sim"), "--node", "nv-1"], capture_output=True, check=True
        )
        assert json.loads(state.stdout)["nvidia"][0]["status"] == 16
        children = psutil.Process(child.pid).children(recursive=True)
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 0
        assert time.monotonic() - began < 2
    finally:
        child.kill()
        child.communicate()
    assert [process for process in children if process.is_running()] == []
    assert not (tmp_path / "sim" / CONTROL_SOCKET).exists()


def test_a_node_boots_anew(hardware: Hardware, clock: FakeClock, tmp_path: Path) -> None:
    """Another boot id, a later boot time, a kernel log that counts from 0, and work that was started since."""
    home = tmp_path / "sim" / "nv-1"
    hardware.inject(fault("xid", xid=13))

    def shown() -> tuple[str, int, int]:
        (started,) = {int(path.read_text().split()[21]) for path in home.glob("proc/2000*/stat")}
        boot_time = int((home / "proc" / "stat").read_text().split()[-1])
        return (home / "proc/sys/kernel/random/boot_id").read_text(), boot_time, started

    boot_id, boot_time, started = shown()
    clock.now += 50.0
    hardware.inject(fault("reboot", device=None))
    clock.now += 1.0
    hardware.tick()
    again = shown()
    assert again[0] != boot_id
    assert (again[1], again[2]) == (boot_time + 86400 + 50, 0)
    assert started == 86400 * 100
    assert [(sequence, microseconds) for sequence, microseconds, _ in records(tmp_path, "nv-1")] == [(0, 0)]

"""Kernel log, RDMA ports, processes, and the runner of vendor tools."""

import os
import time
from pathlib import Path

import pytest

from accelwatch.clock import SystemClock
from accelwatch.readings.kernel import KernelRecords
from accelwatch.readings.link import LinkKind, LinkState
from accelwatch.simulator.host_files import HostFiles
from accelwatch.simulator.scenario import NodeSpec, Scenario
from accelwatch.simulator.world import World
from accelwatch.sources.base import Presence, SourceError, SourceTimeout
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.kernel_log import KernelLog
from accelwatch.sources.kmsg import parse_record
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.processes import Processes
from accelwatch.sources.rdma import Rdma
from support import FakeClock


def test_a_record_is_read_with_its_details_and_escapes() -> None:
    """Level, sequence, time, text and continuation lines."""
    raw = (
        b"3,1227,437812449932,c,caller=T7;NVRM: Xid (PCI:0000:01:00): 79, caf\\xc3\\xa9\n"
        b" SUBSYSTEM=pci\n DEVICE=+pci:0000:01:00.0\n"
    )
    parsed = parse_record(raw)
    assert parsed is not None
    sequence, record = parsed
    assert record is not None
    assert (sequence, record.level, record.seconds) == (1227, 3, 437812.449932)
    assert record.text == "NVRM: Xid (PCI:0000:01:00): 79, café"
    assert record.details == {"SUBSYSTEM": "pci", "DEVICE": "+pci:0000:01:00.0"}


def test_a_users_line_is_not_a_drivers() -> None:
    """Only the kernel facility counts; anything else is no record."""
    assert parse_record(b"11,5,1,-;NVRM: Xid (PCI:0000:3b:00): 79, x") == (5, None)
    assert parse_record(b"NVRM: Xid (PCI:0000:3b:00): 79") is None
    assert parse_record(b"a,b,c,-;x") is None


class Heard:
    """Collects what the follower delivers."""

    def __init__(self, path: Path, cursor: tuple[str, int] | None = None) -> None:
        self.batches: list[KernelRecords] = []
        boot = path.parent / "boot_id"
        boot.write_text("boot-1\n")
        self.log = KernelLog(
            path=path, reads=LocalReads(ToolRunner()), deliver=self.batches.append, clock=SystemClock(), cursor=cursor,
            boot_id_path=boot,
        )  # fmt: skip
        self.log.start()

    def wait(self, count: int) -> list[str]:
        deadline = time.monotonic() + 5
        while len(texts := [r.text for b in self.batches for r in b.records]) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return texts


def line(sequence: int, text: str) -> str:
    return f"4,{sequence},1000,-;{text}\n"


def test_a_growing_file_is_followed_without_loss_or_repeat(tmp_path: Path) -> None:
    """Half lines wait for their other half, gaps are counted, the cursor's past is passed over."""
    path = tmp_path / "kmsg"
    path.write_text(line(1, "old") + line(2, "one"))
    heard = Heard(path, ("boot-1", 1))
    assert heard.wait(1) == ["one"]
    with path.open("a") as log:
        log.write("4,3,1000,-;tw")
        log.flush()
        time.sleep(0.3)
        log.write("o\n" + line(7, "three"))
    assert heard.wait(3) == ["one", "two", "three"]
    assert sum(batch.lost for batch in heard.batches) == 3
    assert heard.log.poll().problems == ()
    heard.log.close()


def test_a_fifo_is_followed(tmp_path: Path) -> None:
    """It does not end with its writer."""
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    heard = Heard(path)
    for number in (1, 2):
        path.write_text(line(number, f"line {number}"))
    assert heard.wait(2) == ["line 1", "line 2"]
    heard.log.close()


def test_a_log_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """The source fails instead of looking quiet."""
    heard = Heard(tmp_path / "none")
    assert heard.log.presence() is Presence.ABSENT
    with pytest.raises(SourceError, match="cannot be opened"):
        heard.log.poll()
    heard.log.close()


def test_the_real_kernel_log_gives_no_users_line(tmp_path: Path) -> None:
    """A line that root writes into /dev/kmsg has the user facility and is not delivered."""
    if not os.access("/dev/kmsg", os.W_OK):
        pytest.skip("/dev/kmsg cannot be written here")
    batches: list[KernelRecords] = []
    log = KernelLog(path=Path("/dev/kmsg"), reads=LocalReads(ToolRunner()), deliver=batches.append, clock=SystemClock())
    log.start()
    mark = f"accelwatch test {os.getpid()}"
    Path("/dev/kmsg").write_text(f"<3>NVRM: Xid (PCI:0000:3b:00): 79, {mark}\n")
    time.sleep(0.5)
    assert log.poll().problems == ()
    assert not any(mark in record.text for batch in batches for record in batch.records)
    log.close()


def test_rdma_ports_are_read_and_missing_counters_left_out(tmp_path: Path) -> None:
    """State, kind by link layer, drops and errors; what is not there is not 0."""
    rdma = Rdma(sysfs=tmp_path)
    assert rdma.presence() is Presence.ABSENT
    for name, layer, state, downed in (
        ("mlx5_0", "InfiniBand", "4: ACTIVE", "3"),
        ("mlx5_1", "Ethernet", "1: DOWN", None),
    ):
        port = tmp_path / name / "ports" / "1"
        (port / "counters").mkdir(parents=True)
        files = {"state": state, "phys_state": "5: LinkUp", "rate": "400 Gb/sec (4X NDR)", "link_layer": layer}
        if downed is not None:
            files |= {"counters/link_downed": downed, "counters/symbol_error": "2"}
        for file, text in files.items():
            (port / file).write_text(text + "\n")
    assert rdma.presence() is Presence.PRESENT
    first, second = rdma.poll().links
    assert (first.link, first.kind, first.state, first.drops) == ("mlx5_0/1", LinkKind.IB, LinkState.UP, 3)
    assert (first.errors, first.speed_bits_per_second) == ({"symbol_error": 2}, 400e9)
    assert (second.kind, second.state, second.drops, second.errors) == (LinkKind.ROCE, LinkState.DOWN, None, None)


def test_holders_of_devices_are_found_and_others_looked_at_less(tmp_path: Path) -> None:
    """A process with a device node open is told with its state; one without is not scanned at every poll."""
    spec = NodeSpec(name="n", vendor="ascend", family="910B", devices=2)
    host = HostFiles(tmp_path, spec, 1)
    host.write(World(Scenario(nodes=(spec,)), 1.0e9).node("n", 10.0))
    (tmp_path / "proc" / "77" / "fd").mkdir(parents=True)
    looked: list[int] = []

    class Reads(LocalReads):
        def open_files(self, proc: Path, pid: int) -> list[str]:
            looked.append(pid)
            return super().open_files(proc, pid)

    clock = FakeClock()
    processes = Processes(proc=tmp_path / "proc", reads=Reads(ToolRunner()), clock=clock)
    found = processes.poll().processes
    assert [(p.pid, p.name, p.devices, p.state) for p in found] == [
        (20000, "python3", ("davinci0",), "running"),
        (20001, "python3", ("davinci1",), "running"),
    ]
    clock.now += 1
    processes.poll()
    assert looked.count(77) == 1
    clock.now += 5
    processes.poll()
    assert looked.count(77) == 2


def script(directory: Path, body: str) -> str:
    path = directory / "tool"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_tool_that_never_returns_is_killed_with_its_children(tmp_path: Path) -> None:
    """The deadline holds although a grandchild keeps the pipe."""
    tool = script(tmp_path, f"sleep 97 & echo $! > {tmp_path}/pid; sleep 98")
    started = time.monotonic()
    with pytest.raises(SourceTimeout, match=r"no end within 0\.5 s"):
        ToolRunner(tmp_path).run([tool], 0.5)
    assert time.monotonic() - started < 3
    grandchild = Path("/proc", (tmp_path / "pid").read_text().strip(), "cmdline")
    deadline = time.monotonic() + 5
    while grandchild.exists() and grandchild.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.01)  # killed with the group, and gone as soon as the kernel gets to it
    assert not grandchild.exists() or not grandchild.read_bytes()


def test_a_child_that_keeps_the_pipe_does_not_hold_the_answer(tmp_path: Path) -> None:
    """The tool has ended: its output counts."""
    tool = script(tmp_path, "echo hello; sleep 60 &")
    started = time.monotonic()
    assert ToolRunner(tmp_path).run([tool], 10).stdout == "hello\n"
    assert time.monotonic() - started < 3


def test_output_without_end_is_cut(tmp_path: Path) -> None:
    """Ten megabytes are no answer, and take no memory."""
    with pytest.raises(SourceError, match="printed more than") as caught:
        ToolRunner(tmp_path).run([script(tmp_path, "yes accelerator")], 10)
    assert caught.value.sample is not None
    assert len(caught.value.sample) == 200


def test_a_tool_in_use_elsewhere_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    """Two runners of one host take turns."""
    import threading

    tool = script(tmp_path, "sleep 1")
    other = threading.Thread(target=lambda: ToolRunner(tmp_path).run([tool], 5))
    other.start()
    time.sleep(0.3)
    with pytest.raises(SourceTimeout, match="one at a time"):
        ToolRunner(tmp_path).run([tool], 0.2)
    other.join()


def test_a_tool_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """What is missing is said."""
    with pytest.raises(SourceError, match="cannot be started"):
        ToolRunner(tmp_path).run([str(tmp_path / "nothing")], 1)

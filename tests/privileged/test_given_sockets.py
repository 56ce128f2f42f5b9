"""The helper as its unit runs it: sockets from systemd, in a network of its own that has no kernel connector."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.clock import SystemClock
from accelwatch.privileged.helper import EVENTS_NAME, HELPER_NAME
from accelwatch.privileged.remote import RemoteReads
from accelwatch.readings.process import ProcessExit
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.proc_connector import open_connector
from accelwatch.sources.process_events import ProcessEvents

CONNECTOR, FIRST_GROUP = 11, 1  # linux/netlink.h, linux/cn_proc.h; `ListenNetlink=connector 1`


def helper(sockets: dict[str, socket.socket], prefix: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """As systemd starts it: its sockets from descriptor 3 on, and its own pid in LISTEN_PID."""
    moves = " ".join(f"{number}<&{one.fileno()}" for number, one in enumerate(sockets.values(), 3))
    script = f'export LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={":".join(sockets)}; exec "$@" {moves}'
    return subprocess.Popen(
        ["bash", "-c", script, "bash", *prefix, sys.executable, "-m", "accelwatch.privileged.helper", "--user", str(os.getuid())],
        pass_fds=[one.fileno() for one in sockets.values()],
    )  # fmt: skip


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(tmp_path / "helper.sock"))
    made.listen(8)
    yield made
    made.close()


def test_without_any_socket_it_says_what_to_start() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "accelwatch.privileged.helper", "--user", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "start accelwatch-helper.socket" in done.stderr


def test_how_processes_end_reaches_the_agent_through_another_network(tmp_path: Path, listener: socket.socket) -> None:
    """Twice: an agent that is started again gets the same socket, and nothing that was meant for the one before."""
    try:
        open_connector().close()
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR)
        events.bind((0, FIRST_GROUP))
        subprocess.run(["unshare", "--net", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no connector or no namespaces here: {error}")
    child = helper({HELPER_NAME: listener, EVENTS_NAME: events}, ("unshare", "--net"))
    try:
        said: list[str] = []
        for status in (3, 4):
            told: list[ProcessExit] = []
            remote = RemoteReads(tmp_path / "helper.sock", LocalReads(ToolRunner(tmp_path)), said.append)
            followed = ProcessEvents(
                proc=Path("/proc"),
                reads=remote,
                clock=SystemClock(),
                deliver=lambda exits, told=told: told.extend(exits),
            )
            followed.start()
            assert followed.take_problems() == ()
            ending = subprocess.Popen(["sh", "-c", f"sleep 0.3; exit {status}"])
            followed.watch({ending.pid: time.time()})
            ending.wait()
            deadline = time.monotonic() + 10
            while not told:
                assert time.monotonic() < deadline, "no exit within 10 s"
                time.sleep(0.02)
            assert [(one.pid, one.code) for one in told] == [(ending.pid, status)]
            followed.close()
            subprocess.run(["true"], check=True)  # an exit that nobody reads
        assert said == []
    finally:
        child.terminate()
        assert child.wait(10) == 0
        events.close()


@pytest.mark.skipif(os.getuid() != 0, reason="gives capabilities away: as root only")
def test_with_its_four_capabilities_alone_it_reads_what_it_must(tmp_path: Path, listener: socket.socket) -> None:
    """The bounding set of its unit: the kernel's log, what another user's process holds, its allow-listed variables."""
    four = "-all,+syslog,+sys_ptrace,+dac_read_search,+net_admin"
    other = subprocess.Popen(
        ["sleep", "60"],
        env={"SLURM_JOB_ID": "4711", "HOME": "/root"}, user=65534, group=65534, extra_groups=[],
    )  # fmt: skip
    child = helper({HELPER_NAME: listener}, ("setpriv", f"--bounding-set={four}", "--inh-caps=-all", "--no-new-privs"))
    try:
        remote = RemoteReads(tmp_path / "helper.sock", LocalReads(ToolRunner(tmp_path)), print)
        log = remote.open_kernel_log(Path("/dev/kmsg"))
        os.close(log)
        assert remote.open_files(Path("/proc"), other.pid) == []
        with pytest.raises(OSError, match="holds no accelerator"):
            remote.environment(Path("/proc"), other.pid)
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert "CapEff:\t0000000400081004" in status
    finally:
        other.terminate()
        other.wait(10)
        child.terminate()
        assert child.wait(10) == 0

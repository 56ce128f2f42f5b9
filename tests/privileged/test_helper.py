"""The root helper as a process of its own, asked over its socket."""

from __future__ import annotations

import inspect
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from accelwatch.privileged.connections import AT_ONCE
from accelwatch.privileged.helper import HCCN_QUERIES, is_hccn_query
from accelwatch.privileged.remote import RemoteReads
from accelwatch.sources import hccn_tool
from accelwatch.sources.base import SourceError, SourceTimeout
from accelwatch.sources.commands import Output, ToolRunner
from accelwatch.sources.privileged import LocalReads

RECORD = b"4,7,1000,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n"


class Host:
    """A directory with what the helper reads, and the helper on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.proc = path / "proc"
        self.kmsg = path / "kmsg"
        self.socket = path / "helper.sock"
        self.said: list[str] = []
        self.process(7, "/dev/davinci3", "/home/user/secret.txt")
        self.process(8, "/dev/null")
        self.kmsg.write_bytes(RECORD)
        self.tool = path / "bin" / "hccn_tool"
        self.tool.parent.mkdir()
        self.tool.write_text('#!/bin/sh\ncase "$*" in *optical*) exec sleep 60;; esac\necho "$*"\n')
        self.tool.chmod(0o755)
        self.helper: subprocess.Popen[bytes] | None = None
        self.reads = RemoteReads(
            self.socket, LocalReads(ToolRunner(path)), self.said.append, proc=self.proc, kernel_log=self.kmsg
        )

    def process(self, pid: int, *targets: str) -> None:
        (self.proc / str(pid) / "fd").mkdir(parents=True)
        for number, target in enumerate(targets):
            (self.proc / str(pid) / "fd" / str(number)).symlink_to(target)
        (self.proc / str(pid) / "io").write_text("rchar: 9\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 0\n")
        (self.proc / str(pid) / "environ").write_bytes(b"RANK=3\0AWS_SECRET_ACCESS_KEY=s3cr3t\0")

    def start(self, user: int | None = None) -> None:
        self.helper = subprocess.Popen(
            [
                sys.executable, "-m", "accelwatch.privileged.helper", "--socket", str(self.socket), "--proc", str(self.proc),
                "--user", str(os.getuid() if user is None else user), "--kernel-log", str(self.kmsg),
                "--hccn-tool", str(self.tool),
            ]
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.socket))
                return
            except OSError:
                assert time.monotonic() < deadline, "the helper does not listen"
                time.sleep(0.02)

    def stop(self) -> int:
        assert self.helper is not None
        self.helper.terminate()
        status, self.helper = self.helper.wait(10), None
        return status

    def raw(self, line: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(self.socket))
            try:
                client.sendall(line)
                parts = []
                while data := client.recv(1 << 16):
                    parts.append(data)
            except (BrokenPipeError, ConnectionResetError):
                return b""
            return b"".join(parts)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    host = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{host.tool.parent}:{os.environ['PATH']}")
    yield host
    if host.helper is not None:
        host.stop()


def test_it_reads_what_the_agent_needs(host: Host) -> None:
    """Device nodes, allow-listed variables and hccn_tool; no other file and no other variable."""
    host.start()
    assert host.reads.open_files(host.proc, 7) == ["/dev/davinci3"]
    assert host.reads.open_files(host.proc, 8) == []
    assert host.reads.environment(host.proc, 7) == {"RANK": "3"}
    assert host.reads.traffic(host.proc, 7) == (5, 6)
    argv = [str(host.tool), "-i", "0", "-link", "-g"]
    assert host.reads.hccn_tool(argv, 10) == Output(0, "-i 0 -link -g\n", "")
    with pytest.raises(FileNotFoundError):
        host.reads.open_files(host.proc, 9)
    assert host.said == []
    assert host.stop() == 0


def test_an_opened_log_outlives_the_helper(host: Host) -> None:
    """The descriptor stays where it stood: a record that comes while the helper is away is neither lost nor doubled."""
    host.start()
    descriptor = host.reads.open_kernel_log(host.kmsg)
    try:
        assert not os.get_inheritable(descriptor)
        assert os.read(descriptor, 4096) == RECORD
        host.stop()
        with host.kmsg.open("ab") as file:
            file.write(b"4,8,2000,-;second\n")
        assert os.read(descriptor, 4096) == b"4,8,2000,-;second\n"
        host.start()
        assert os.read(descriptor, 4096) == b""
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")  # it was opened for reading
    finally:
        os.close(descriptor)


def test_its_absence_is_said_once_and_its_return_too(host: Host) -> None:
    """Meanwhile the agent reads with its own rights."""
    assert host.reads.open_files(host.proc, 7) == ["/dev/davinci3"]
    assert host.reads.environment(host.proc, 7) == {"RANK": "3"}
    assert len(host.said) == 1
    assert "does not answer" in host.said[0]
    host.start()
    assert host.reads.open_files(host.proc, 7) == ["/dev/davinci3"]
    assert [("answers again" in said) for said in host.said] == [False, True]


def test_a_process_without_a_device_keeps_its_environment(host: Host) -> None:
    """Even what is on the list."""
    host.start()
    for read in (host.reads.environment, host.reads.traffic):
        with pytest.raises(OSError, match="holds no accelerator"):
            read(host.proc, 8)


def test_a_tool_that_hangs_ends_at_its_deadline_and_blocks_nobody(host: Host) -> None:
    """As in the agent's own process: `SourceTimeout`."""
    host.start()
    with pytest.raises(SourceTimeout, match="no end within"):
        host.reads.hccn_tool([str(host.tool), "-i", "0", "-optical", "-g"], 0.5)
    with pytest.raises(SourceError, match="not a query"):
        host.reads.hccn_tool([str(host.tool), "-i", "0", "-ip", "-s"], 5)
    assert host.reads.open_files(host.proc, 7) == ["/dev/davinci3"]


@pytest.mark.skipif(os.getuid() != 0, reason="the helper can give its socket away only as root")
def test_others_are_not_answered(host: Host) -> None:
    """Not even root, that is none of its business: the uid that the kernel tells is the agent's, or there is no word."""
    host.start(user=65534)
    assert host.socket.stat().st_uid == 65534
    assert host.socket.stat().st_mode & 0o777 == 0o600
    assert host.raw(b'{"ask":"kernel_log"}\n') == b""


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b'{"ask":"\xe6"}\n',
        b"[]\n",
        b'{"ask":"shell"}\n',
        b'{"ask":"kernel_log","path":"/etc/shadow"}\n',
        b'{"ask":"open_files","pid":-1}\n',
        b'{"ask":"open_files","pid":"../../root"}\n',
        b'{"ask":"environment","pid":99999999999}\n',
        b'{"ask":"hccn_tool","arguments":["-i","0","-link","-g"],"timeout":1e9}\n',
    ],
)
def test_anything_else_is_refused(host: Host, line: bytes) -> None:
    """In words, and the helper goes on."""
    host.start()
    answer = msgspec.json.decode(host.raw(line))
    assert answer["error"].startswith("refused: ")
    assert host.raw(b"x" * 5000) == b""
    assert host.reads.open_files(host.proc, 7) == ["/dev/davinci3"]


def test_hccn_queries_are_those_of_the_source() -> None:
    """And nothing that sets."""
    direct = re.findall(r"_run\(.*, \"(\w+)\"\)", inspect.getsource(hccn_tool))
    assert len(direct) == 3
    assert {f"-{query}" for query in (*hccn_tool.PERIODS, *direct)} == HCCN_QUERIES
    assert is_hccn_query(["-g", "-link", "-i", "3", "-u", "0", "-p", "1"])
    assert is_hccn_query(["-g", "-stat", "-i", "3"])
    for bad in (["-i", "0", "-ip", "-s"], ["-i", "0", "-link", "-s"], ["-i", "0;x", "-link", "-g"], [], ["-g"]):
        assert not is_hccn_query(bad)


def test_it_is_small() -> None:
    """It runs beside the agent on every node: what is heavy is imported with the first tool, and most nodes have none."""
    heavy = ("argparse", "ctypes", "msgspec", "pathlib", "subprocess", "typing")
    asked = f"import sys, accelwatch.privileged.helper; print([name for name in {heavy} if name in sys.modules])"
    bare = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path = {sys.path}; {asked}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert bare.stdout == "[]\n"


def test_questions_that_block_hold_up_no_other(host: Host) -> None:
    """Seven tools that hang at once, one place left: what is asked beside them is answered, and after them all are."""
    host.start()
    ended: list[SourceTimeout] = []

    def hang() -> None:
        with pytest.raises(SourceTimeout) as raised:
            host.reads.hccn_tool([str(host.tool), "-i", "0", "-optical", "-g"], 1.5)
        ended.append(raised.value)

    hanging = [threading.Thread(target=hang) for _ in range(AT_ONCE - 1)]
    for one in hanging:
        one.start()
    time.sleep(0.5)  # all are there
    for _ in range(50):
        assert host.reads.open_files(host.proc, 7) == ["/dev/davinci3"]
    assert ended == [], "answered behind the tools"
    for one in hanging:
        one.join()
    assert len(ended) == AT_ONCE - 1
    assert host.said == []
    assert host.helper is not None
    assert len(os.listdir(f"/proc/{host.helper.pid}/task")) <= AT_ONCE + 1

"""What the privileged side gives, and what it keeps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from accelwatch.sources.commands import Output
from accelwatch.sources.privileged import ENVIRONMENT_ALLOWED, HccnRunner, LocalReads


class Runner:
    def __init__(self) -> None:
        self.calls: list[tuple[tuple[str, ...], float]] = []

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        self.calls.append((tuple(argv), timeout))
        return Output(0, "link status: UP\n", "")


def test_only_allow_listed_variables_leave_the_process(tmp_path: Path) -> None:
    """Secrets stay; a name without a value is not an empty value."""
    (tmp_path / "7").mkdir()
    environ = b"RANK=3\0AWS_SECRET_ACCESS_KEY=s3cr3t\0MASTER_ADDR=node=1\0WORLD_SIZE\0\xff\xfe=x\0LOCAL_RANK=\xff\0\0"
    (tmp_path / "7" / "environ").write_bytes(environ)
    assert LocalReads(Runner()).environment(tmp_path, 7) == {
        "RANK": "3",
        "MASTER_ADDR": "node=1",
        "LOCAL_RANK": "\N{REPLACEMENT CHARACTER}",
    }


@pytest.mark.parametrize("part", ["SECRET", "TOKEN", "PASSWORD", "KEY"])
def test_the_allow_list_names_no_secret(part: str) -> None:
    """Nothing that is usually secret was put on the list."""
    assert "RANK" in ENVIRONMENT_ALLOWED
    assert not [name for name in ENVIRONMENT_ALLOWED if part in name]


def test_open_files_are_the_device_nodes_among_the_descriptors(tmp_path: Path) -> None:
    """Each once, and no other file, whatever it is called; a process that is not there raises."""
    fd = tmp_path / "7" / "fd"
    fd.mkdir(parents=True)
    (fd / "0").symlink_to("/dev/null")
    (fd / "5").symlink_to("/dev/davinci3")
    (fd / "6").write_text("")
    (fd / "7").symlink_to("/dev/davinci3")
    (fd / "8").symlink_to("/home/user/dev/nvidia0")
    (fd / "9").symlink_to("/dev/nvidia" + "1" * 40)
    reads = LocalReads(Runner())
    assert reads.open_files(tmp_path, 7) == ["/dev/davinci3"]
    with pytest.raises(FileNotFoundError):
        reads.open_files(tmp_path, 8)


def test_a_value_of_megabytes_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "environ").write_bytes(b"RANK=3\0WORLD_SIZE=" + b"\1" * 2**20 + b"\0LOCAL_RANK=1\0")
    assert LocalReads(Runner()).environment(tmp_path, 7) == {"RANK": "3", "LOCAL_RANK": "1"}


def test_the_kernel_log_is_opened_without_blocking(tmp_path: Path) -> None:
    """A FIFO without a writer is open at once and has nothing to read; it is not inherited by children."""
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    descriptor = LocalReads(Runner()).open_kernel_log(path)
    try:
        with pytest.raises(BlockingIOError):
            os.read(descriptor, 1)
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_hccn_tool_runs_through_the_privileged_side() -> None:
    """Arguments, deadline and output pass unchanged."""
    runner = Runner()
    output = HccnRunner(LocalReads(runner)).run(["hccn_tool", "-i", "0", "-link", "-g"], 2.5)
    assert output.stdout == "link status: UP\n"
    assert runner.calls == [(("hccn_tool", "-i", "0", "-link", "-g"), 2.5)]

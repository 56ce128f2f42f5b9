"""How the end of a vendor tool is noticed, on kernels that have a descriptor of a process and on those before 5.3."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from accelwatch.sources.base import SourceError, SourceTimeout
from accelwatch.sources.commands import OUTPUT_LIMIT_BYTES, ToolRunner


@pytest.fixture(params=["pidfd_open", "none such"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_such(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    if request.param == "none such":
        monkeypatch.setattr(os, "pidfd_open", none_such)


def script(directory: Path, body: str) -> list[str]:
    path = directory / "tool"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return [str(path)]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_both_outputs_and_the_status_are_had_and_nothing_stays_open(tmp_path: Path) -> None:
    tool = script(tmp_path, "echo out; echo err >&2; sleep 0.1; echo more; exit 3")
    runner, before = ToolRunner(tmp_path), descriptors()
    found = runner.run(tool, 10)
    assert (found.status, found.stdout, found.stderr) == (3, "out\nmore\n", "err\n")
    assert descriptors() == before


def test_a_python_built_for_an_older_kernel_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert ToolRunner(tmp_path).run(["/bin/echo", "x"], 10).stdout == "x\n"


@pytest.mark.parametrize("pause", ["", "sleep 0.5;"])
def test_more_than_a_pipe_holds_comes_whole(tmp_path: Path, pause: str) -> None:
    count = 60_000  # 340 kB; a pipe holds 64 KiB
    found = ToolRunner(tmp_path).run(script(tmp_path, f"{pause} seq {count}; seq {count} >&2"), 20)
    expected = "".join(f"{number}\n" for number in range(1, count + 1))
    assert (found.stdout, found.stderr) == (expected, expected)


def test_output_without_end_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match=f"printed more than {OUTPUT_LIMIT_BYTES} bytes"):
        ToolRunner(tmp_path).run(script(tmp_path, "yes accelerator >&2"), 60)
    assert time.monotonic() - began < 20


def test_one_that_closes_its_outputs_and_goes_on_has_not_ended(tmp_path: Path) -> None:
    found = ToolRunner(tmp_path).run(script(tmp_path, "echo x; exec >&- 2>&-; sleep 0.4; exit 7"), 20)
    assert (found.status, found.stdout) == (7, "x\n")
    with pytest.raises(SourceTimeout, match="no end within"):
        ToolRunner(tmp_path).run(script(tmp_path, "exec >&- 2>&-; sleep 60"), 0.5)


def test_what_one_that_blocks_has_printed_is_told(tmp_path: Path) -> None:
    for timeout in (0.2, 0.6):
        runner, before = ToolRunner(tmp_path), descriptors()
        with pytest.raises(SourceTimeout) as caught:
            runner.run(script(tmp_path, "echo half; sleep 60"), timeout)
        assert caught.value.sample == "half\n"
        assert (descriptors(), runner.abandoned) == (before, 0)


def test_what_its_child_prints_a_moment_later_still_counts(tmp_path: Path) -> None:
    """As behind a wrapper that pipes its output through something which it does not wait for."""
    found = ToolRunner(tmp_path).run(script(tmp_path, "(sleep 0.05; echo late) & echo early"), 20)
    assert found.stdout == "early\nlate\n"


def test_we_are_not_woken_by_each_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = os.read
    waked: list[int] = []

    def counted(descriptor: int, length: int) -> bytes:
        waked.append(descriptor)
        return read(descriptor, length)

    tool = script(tmp_path, "for line in 1 2 3 4 5 6 7 8; do echo $line; sleep 0.005; done")
    runner = ToolRunner(tmp_path)
    counts = []
    monkeypatch.setattr(os, "read", counted)
    for _ in range(5):  # on a busy machine one may take longer than we leave it alone
        waked.clear()
        assert runner.run(tool, 20).stdout == "1\n2\n3\n4\n5\n6\n7\n8\n"
        counts.append(len(waked))
    assert min(counts) <= 2

"""The follower of the kernel log: files, pipes and the device."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accelwatch.readings.kernel import KernelRecords
from accelwatch.sources.base import Presence, SourceError
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.kernel_log import KernelLog
from accelwatch.sources.privileged import LocalReads
from support import FakeClock

BOOT = "5a1c8f0e-boot"


class Follow:
    """Starts followers whose records are collected, and ends them after the test."""

    def __init__(self, directory: Path) -> None:
        self.boot = directory / "boot_id"
        self.boot.write_text(f"{BOOT}\n")
        self.batches: list[KernelRecords] = []
        self.logs: list[KernelLog] = []

    def __call__(
        self,
        path: Path,
        cursor: tuple[str, int] | None = None,
        deliver: Callable[[KernelRecords], None] | None = None,
        reads: LocalReads | None = None,
    ) -> KernelLog:
        log = KernelLog(
            path=path,
            reads=reads or LocalReads(ToolRunner()),
            deliver=deliver or self.batches.append,
            clock=FakeClock(),
            cursor=cursor,
            boot_id_path=self.boot,
        )
        log.start()
        self.logs.append(log)
        return log

    @property
    def texts(self) -> list[str]:
        return [record.text for batch in self.batches for record in batch.records]

    @property
    def lost(self) -> int:
        return sum(batch.lost for batch in self.batches)

    def until(self, *texts: str) -> None:
        soon(lambda: len(self.texts) >= len(texts))
        assert self.texts == list(texts)


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Follow]:
    following = Follow(tmp_path)
    yield following
    for log in following.logs:
        log.close()


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "not within 5 s"
        time.sleep(0.01)


def lines(*numbers: int) -> str:
    return "".join(f"4,{number},1000,-;line {number}\n" for number in numbers)


def append(path: Path, text: str) -> None:
    with path.open("a") as log:
        log.write(text)


def test_a_new_record_of_a_file_is_there_within_300_milliseconds(tmp_path: Path, follow: Follow) -> None:
    """An Xid is known at once, although a file cannot be waited for."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1))
    follow(path)
    follow.until("line 1")
    started = time.monotonic()
    append(path, lines(2))
    follow.until("line 1", "line 2")
    assert time.monotonic() - started < 0.3


def test_a_cursor_of_another_boot_passes_nothing_over(tmp_path: Path, follow: Follow) -> None:
    """Sequence numbers begin again with the boot."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1, 2))
    follow(path, ("another-boot", 900))
    follow.until("line 1", "line 2")


def test_a_cursor_is_not_trusted_when_the_boot_is_unknown(tmp_path: Path, follow: Follow) -> None:
    """Two boots that could not be told apart need not be the same one."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1))
    follow.boot.unlink()
    follow(path, ("unknown", 900))
    follow.until("line 1")


def test_records_overwritten_since_the_cursor_are_lost(tmp_path: Path, follow: Follow) -> None:
    """The gap between the cursor and the oldest record counts; without a cursor the past is not known as lost."""
    path = tmp_path / "kmsg"
    path.write_text(lines(10, 11))
    follow(path, (BOOT, 4))
    follow.until("line 10", "line 11")
    assert follow.lost == 5
    follow.batches.clear()
    follow(path)
    follow.until("line 10", "line 11")
    assert follow.lost == 0


def test_users_lines_leave_no_gap(tmp_path: Path, follow: Follow) -> None:
    """They are passed over, not lost."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1) + "12,2,1,-;NVRM: Xid (PCI:0000:3b:00): 79, fake\n" + lines(3))
    follow(path)
    follow.until("line 1", "line 3")
    assert follow.lost == 0


def test_a_renamed_file_is_read_to_its_end_before_its_successor(tmp_path: Path, follow: Follow) -> None:
    """Rotation by renaming loses nothing and repeats nothing."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1))
    follow(path)
    follow.until("line 1")
    append(path, lines(2))
    path.rename(tmp_path / "kmsg.1")
    path.write_text(lines(3))
    follow.until("line 1", "line 2", "line 3")
    assert follow.lost == 0


def test_a_truncated_file_is_read_from_its_beginning(tmp_path: Path, follow: Follow) -> None:
    """Numbers that go on are joined on, with their gap counted."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1, 2, 3))
    follow(path)
    follow.until("line 1", "line 2", "line 3")
    path.write_text(lines(6))
    follow.until("line 1", "line 2", "line 3", "line 6")
    assert follow.lost == 2


def test_a_successor_that_counts_anew_is_not_taken_for_old(tmp_path: Path, follow: Follow) -> None:
    """A simulation that starts again writes from its first number."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1000, 1001, 1002))
    follow(path)
    soon(lambda: len(follow.texts) == 3)
    path.write_text(lines(1000))
    follow.until("line 1000", "line 1001", "line 1002", "line 1000")
    assert follow.lost == 0


def test_details_stay_with_their_record_over_many_reads(tmp_path: Path, follow: Follow) -> None:
    """A file longer than one read is cut anywhere, not at a record's end."""
    path = tmp_path / "kmsg"
    path.write_text("".join(f"4,{n},1,-;{'z' * (n % 7)}\n SUBSYSTEM=pci\n DEVICE=d{n}\n" for n in range(5000)))
    log = follow(path)
    soon(lambda: len(follow.texts) == 5000)
    records = [record for batch in follow.batches for record in batch.records]
    assert [r.details for r in records] == [{"SUBSYSTEM": "pci", "DEVICE": f"d{n}"} for n in range(5000)]
    assert log.poll().problems == ()


def test_malformed_lines_are_counted_once_and_hold_nothing_up(tmp_path: Path, follow: Follow) -> None:
    """What follows them is read; the problem is told in one poll only."""
    path = tmp_path / "kmsg"
    path.write_text(f"garbage\n4,{'9' * 5000},1,-;x\n" + lines(3))
    log = follow(path)
    follow.until("line 3")
    assert log.poll().problems == (f"{path}: 2 records that are not kmsg records",)
    assert log.poll().problems == ()


def test_a_reader_that_fails_does_not_end_the_log(tmp_path: Path, follow: Follow) -> None:
    """Its batch is told as a problem, the next is delivered."""

    def deliver(batch: KernelRecords) -> None:
        if batch.records[0].sequence == 1:
            raise RuntimeError("no room")
        follow.batches.append(batch)

    path = tmp_path / "kmsg"
    path.write_text(lines(1))
    log = follow(path, deliver=deliver)
    soon(lambda: any("RuntimeError: no room" in problem for problem in log.poll().problems))
    append(path, lines(2))
    follow.until("line 2")


def test_a_fifo_keeps_its_place_between_writers(tmp_path: Path, follow: Follow) -> None:
    """Writers come and go."""
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    log = follow(path)
    for number in (1, 2, 5):
        path.write_text(lines(number))
    follow.until("line 1", "line 2", "line 5")
    assert follow.lost == 2
    assert log.poll().problems == ()


def test_a_log_without_permission_is_present_and_fails(tmp_path: Path, follow: Follow) -> None:
    """The error says what to grant."""

    class Refused(LocalReads):
        def open_kernel_log(self, path: Path) -> int:
            raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "kmsg"
    path.write_text(lines(1))
    log = follow(path, reads=Refused(ToolRunner()))
    assert log.presence() is Presence.PRESENT
    with pytest.raises(SourceError, match="Operation not permitted; join group adm or grant CAP_SYSLOG"):
        log.poll()


def test_a_log_that_appears_later_is_followed(tmp_path: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails until then."""
    monkeypatch.setattr("accelwatch.sources.kernel_log.REOPEN_SECONDS", 0.02)
    path = tmp_path / "kmsg"
    log = follow(path)
    assert log.presence() is Presence.ABSENT
    with pytest.raises(SourceError, match="cannot be opened"):
        log.poll()
    path.write_text(lines(1))
    follow.until("line 1")
    assert log.poll().problems == ()


@pytest.mark.parametrize("kind", ["directory", "null"])
def test_what_is_no_log_fails_without_burning_time(tmp_path: Path, follow: Follow, kind: str) -> None:
    """A wrong path shows as an error of the source and costs no processor."""
    before = time.process_time()
    log = follow(tmp_path if kind == "directory" else Path("/dev/null"))
    time.sleep(0.3)
    with pytest.raises(SourceError, match="cannot be read"):
        log.poll()
    assert time.process_time() - before < 0.15


def test_a_log_that_was_never_started_is_not_fine(tmp_path: Path, follow: Follow) -> None:
    """Quiet because nobody listens is an error; closing it leaves no descriptor behind."""
    before = len(os.listdir("/proc/self/fd"))
    log = KernelLog(
        path=tmp_path / "kmsg", reads=LocalReads(ToolRunner()), deliver=follow.batches.append, clock=FakeClock()
    )
    with pytest.raises(SourceError, match="not opened yet"):
        log.poll()
    assert len(os.listdir("/proc/self/fd")) == before
    log.close()


def test_closing_ends_the_thread_and_gives_back_its_descriptors(tmp_path: Path, follow: Follow) -> None:
    """Within a second, while it waits for news that do not come."""
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    before = len(os.listdir("/proc/self/fd"))
    log = follow(path)
    started = time.monotonic()
    log.close()
    log.close()
    assert time.monotonic() - started < 1
    assert len(os.listdir("/proc/self/fd")) == before


class AtTheEnd(LocalReads):
    """Opens the real log behind what others wrote into it: the ring is everybody's and lasts until the reboot."""

    def open_kernel_log(self, path: Path) -> int:
        descriptor = super().open_kernel_log(path)
        os.lseek(descriptor, 0, os.SEEK_END)
        return descriptor


def test_the_device_is_waited_for_without_waking_and_gives_no_users_line(follow: Follow) -> None:
    """A user's Xid in /dev/kmsg moves the sequence on but is not delivered, and waiting costs nothing."""
    device = Path("/dev/kmsg")
    if not os.access(device, os.R_OK | os.W_OK):
        pytest.skip("/dev/kmsg cannot be read and written here")
    log = follow(device, reads=AtTheEnd(ToolRunner()))
    device.write_text("<3>accelwatch test: first\n")
    soon(lambda: log._last is not None)
    first = log._last
    assert first is not None
    device.write_text(f"<3>NVRM: Xid (PCI:0000:3b:00): 79, accelwatch test {os.getpid()}\n")
    soon(lambda: log._last is not None and log._last > first)
    assert not any("accelwatch test" in text for text in follow.texts)
    assert log.poll().problems == ()
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05

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
from accelwatch.sources.kernel_log import KernelLog, boot_id_path, cursor_of, read_boot_id
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
    with pytest.raises(
        SourceError, match=r"Operation not permitted; is accelwatch-helper up\? Without it: join group adm"
    ):
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


def flags(follow: Follow) -> list[tuple[bool, list[str]]]:
    return [(batch.backlog, [record.text for record in batch.records]) for batch in follow.batches]


@pytest.mark.parametrize("fifo", [False, True])
def test_what_was_in_the_log_before_is_its_backlog_and_is_never_mixed_with_news(
    tmp_path: Path, follow: Follow, fifo: bool
) -> None:
    """Old records of a first start are historical, new ones are not: each batch is of one kind."""
    path = tmp_path / "kmsg"
    keep = None
    if fifo:
        os.mkfifo(path)
        keep = os.open(path, os.O_RDWR)
    path.write_text(lines(*range(600)))
    follow(path)
    soon(lambda: len(follow.texts) == 600)
    time.sleep(0.05)  # a FIFO tells by its silence that its backlog is over
    append(path, lines(600))
    soon(lambda: len(follow.texts) == 601)
    old = [texts for backlog, texts in flags(follow) if backlog]
    assert [text for texts in old for text in texts] == [f"line {n}" for n in range(600)]
    assert flags(follow)[-1] == (False, ["line 600"])
    assert follow.batches[-1].last_sequence == 600
    if keep is not None:
        os.close(keep)


def test_what_is_written_while_the_backlog_is_read_is_news(tmp_path: Path, follow: Follow) -> None:
    """A file's backlog ends where the file ended when it was opened, however fast it grows."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1, 2))

    def deliver(batch: KernelRecords) -> None:
        if not follow.batches:
            append(path, lines(3))
        follow.batches.append(batch)

    follow(path, deliver=deliver)
    follow.until("line 1", "line 2", "line 3")
    assert [backlog for backlog, texts in flags(follow) if "line 3" in texts] == [False]


def test_a_successor_of_the_file_has_no_backlog(tmp_path: Path, follow: Follow) -> None:
    """What stands in it was written while we were here."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1))
    follow(path)
    follow.until("line 1")
    path.rename(tmp_path / "kmsg.1")
    path.write_text(lines(2))
    follow.until("line 1", "line 2")
    assert flags(follow) == [(True, ["line 1"]), (False, ["line 2"])]


def test_an_empty_log_gives_a_cursor_too_and_the_next_start_takes_all_that_came(tmp_path: Path, follow: Follow) -> None:
    """Else a fault of the time when the agent was down would pass for one from before its first start."""
    path = tmp_path / "kmsg"
    path.write_text("")
    follow(path)
    soon(lambda: len(follow.batches) == 1)
    assert flags(follow) == [(True, [])]
    sequence = follow.batches[0].last_sequence
    assert sequence is not None
    follow.logs[0].close()
    follow.batches.clear()
    path.write_text(lines(1000))
    follow(path, cursor_of(f"{BOOT} {sequence}"))
    follow.until("line 1000")
    assert (follow.lost, follow.batches[0].backlog) == (0, True)


def test_the_cursor_moves_with_users_lines_too(tmp_path: Path, follow: Follow) -> None:
    """Else, after a restart, those that the ring has overwritten since would count as lost."""
    path = tmp_path / "kmsg"
    path.write_text(lines(1) + "12,2,1,-;user\n")
    follow(path)
    soon(lambda: bool(follow.batches) and follow.batches[-1].last_sequence == 2)
    append(path, "12,3,1,-;user\n")
    soon(lambda: follow.batches[-1].last_sequence == 3)
    assert follow.texts == ["line 1"]


def test_a_cursor_that_is_none_is_no_cursor() -> None:
    """It is read from a file that others can write."""
    assert cursor_of(f"{BOOT} 17") == (BOOT, 17)
    assert [cursor_of(text) for text in (None, "", "boot", "boot x", "17")] == [None] * 5


def test_a_simulated_node_has_a_boot_of_its_own(tmp_path: Path) -> None:
    """So that it can be rebooted; a /proc without one leaves the host's."""
    assert read_boot_id(boot_id_path(tmp_path)) == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    own = tmp_path / "sys/kernel/random/boot_id"
    own.parent.mkdir(parents=True)
    own.write_text("of-the-node\n")
    assert read_boot_id(boot_id_path(tmp_path)) == "of-the-node"


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

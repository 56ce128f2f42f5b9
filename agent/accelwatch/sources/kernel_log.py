"""Follows the kernel log in a thread of its own: an Xid is known within a second, whatever the polls do."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from accelwatch.clock import Clock
from accelwatch.readings.kernel import KernelRecord, KernelRecords
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources.base import Presence, SourceError
from accelwatch.sources.kmsg import parse_record
from accelwatch.sources.privileged import PrivilegedReads

# The kernel gives a record of at most 8 KiB with its dictionary, one per read.
RECORD_LIMIT_BYTES = 16384
BATCH = 256
# A regular file cannot be waited for.
FILE_POLL_SECONDS = 0.2
REOPEN_SECONDS, REOPEN_LIMIT_SECONDS = 1.0, 30.0


class KernelLog:
    """`deliver` gets every new record of the kernel facility, in order, from the follower's thread.

    `cursor` is (boot id, sequence) of the last record that was dealt with; older ones of that boot are passed over.
    """

    name = "kernel_log"

    def __init__(
        self,
        *,
        path: Path,
        reads: PrivilegedReads,
        deliver: Callable[[KernelRecords], None],
        clock: Clock,
        cursor: tuple[str, int] | None = None,
        boot_id_path: Path = Path("/proc/sys/kernel/random/boot_id"),
    ) -> None:
        self._path = path
        self._reads = reads
        self._deliver = deliver
        self._clock = clock
        self._boot_id = _boot_id(boot_id_path)
        self._last = cursor[1] if cursor is not None and cursor[0] == self._boot_id else None
        self._problem: str | None = f"{path}: not opened yet"
        self._malformed = 0
        self._told_malformed = 0
        self._stopping = threading.Event()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="kernel_log", daemon=True)

    def presence(self) -> Presence:
        """The log exists; whether it may be read is for `poll` to say."""
        return Presence.PRESENT if self._path.exists() else Presence.ABSENT

    def start(self) -> None:
        """Opens the log, so that the first poll knows, and follows it."""
        descriptor = self._open()
        self._thread = threading.Thread(target=self._run, args=(descriptor,), name="kernel_log", daemon=True)
        self._thread.start()

    def poll(self, everything: bool = False) -> Snapshot:  # noqa: ARG002 - the protocol's
        """Empty while the log is followed. Raises `SourceError` while it cannot be."""
        if self._problem is not None:
            raise SourceError(self._problem)
        new = self._malformed - self._told_malformed
        self._told_malformed = self._malformed
        return Snapshot(problems=(f"{self._path}: {new} records that are not kmsg records",) if new else ())

    def close(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")
        if self._thread.is_alive():
            self._thread.join(1.0)
        for descriptor in (self._wake_read, self._wake_write):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _open(self) -> int | None:
        try:
            descriptor = self._reads.open_kernel_log(self._path)
        except OSError as error:
            hint = "; join group adm or grant CAP_SYSLOG" if error.errno in (errno.EACCES, errno.EPERM) else ""
            self._problem = f"{self._path}: cannot be opened: {error.strerror}{hint}"
            return None
        self._problem = None
        return descriptor

    def _run(self, descriptor: int | None) -> None:
        pause = REOPEN_SECONDS
        while not self._stopping.is_set():
            if descriptor is None:
                self._stopping.wait(pause)
                pause = min(2 * pause, REOPEN_LIMIT_SECONDS)
                descriptor = self._open()
                continue
            pause = REOPEN_SECONDS
            try:
                if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                    self._follow_device(descriptor)
                else:
                    self._follow_stream(descriptor)
            except OSError as error:
                self._problem = f"{self._path}: cannot be read: {error.strerror}; opening it again"
            finally:
                os.close(descriptor)
            descriptor = None if self._problem or self._stopping.is_set() else self._open()

    def _follow_device(self, descriptor: int) -> None:
        """One read gives one record."""
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        batch: list[bytes] = []
        while not self._stopping.is_set():
            try:
                batch.append(os.read(descriptor, RECORD_LIMIT_BYTES))
            except BlockingIOError:
                self._hand_over(batch)
                batch = []
                poller.poll()
            except BrokenPipeError:
                continue  # records were overwritten; the gap in the sequence says how many
            if len(batch) >= BATCH:
                self._hand_over(batch)
                batch = []

    def _follow_stream(self, descriptor: int) -> None:
        """A file that grows, or a FIFO: a record is a line with the indented lines after it."""
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        if not regular:
            poller.register(descriptor, select.POLLIN)
        pending = b""
        while not self._stopping.is_set():
            try:
                data = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                data = b""
            if data:
                whole, newline, pending = (pending + data).rpartition(b"\n")
                if newline:
                    self._hand_over(_records(whole))
                pending = pending[-RECORD_LIMIT_BYTES:]
                continue
            if regular and self._replaced(descriptor):
                return
            poller.poll(FILE_POLL_SECONDS * 1000 if regular else None)

    def _replaced(self, descriptor: int) -> bool:
        """Whether the file was cut or another has its name."""
        ours = os.fstat(descriptor)
        if ours.st_size < os.lseek(descriptor, 0, os.SEEK_CUR):
            return True
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return False
        return named.st_ino != ours.st_ino

    def _hand_over(self, raw: list[bytes]) -> None:
        records: list[KernelRecord] = []
        lost = 0
        for data in raw:
            parsed = parse_record(data)
            if parsed is None:
                self._malformed += 1
                continue
            sequence, record = parsed
            if self._last is not None:
                if sequence <= self._last:
                    continue
                lost += sequence - self._last - 1
            self._last = sequence
            if record is not None:
                records.append(record)
        if records or lost:
            self._deliver(KernelRecords(boot_id=self._boot_id, records=tuple(records), lost=lost))


def _records(lines: bytes) -> list[bytes]:
    result: list[bytes] = []
    for line in lines.split(b"\n"):
        if line.startswith(b" ") and result:
            result[-1] += b"\n" + line
        elif line:
            result.append(line)
    return result


def _boot_id(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown"

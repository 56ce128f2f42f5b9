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
from accelwatch.sources.kmsg import RECORD_LIMIT_BYTES, RecordSplitter, parse_record
from accelwatch.sources.privileged import PrivilegedReads

BATCH = 256
CHUNK_BYTES = 1 << 16
# A regular file cannot be waited for.
FILE_POLL_SECONDS = 0.2
REOPEN_SECONDS, REOPEN_LIMIT_SECONDS = 1.0, 30.0
BOOT_ID, UNKNOWN_BOOT = "sys/kernel/random/boot_id", "unknown"
# Stands in a cursor for a log that was read to its end and had no record yet.
NO_SEQUENCE = -1


class KernelLog:
    """`deliver` gets every new record of the kernel facility, in order, from the follower's thread.

    `cursor` is (boot id, sequence) of the last record that was dealt with; older ones of that boot are passed over.
    Records that are in the log when it is opened first come marked as its backlog, in batches of their own; a log
    without any is told by one empty batch, so that its cursor is known too.
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
        boot_id_path: Path = Path("/proc", BOOT_ID),
    ) -> None:
        self._path = path
        self._reads = reads
        self._deliver = deliver
        self._clock = clock
        self._boot_id = read_boot_id(boot_id_path)
        same_boot = cursor is not None and cursor[0] == self._boot_id != UNKNOWN_BOOT
        self._last = cursor[1] if cursor is not None and same_boot and cursor[1] != NO_SEQUENCE else None
        self._backlog = True
        self._replaced_file = False
        self._problem: str | None = f"{path}: not opened yet"
        self._malformed = 0
        self._told_malformed = 0
        self._flaw: str | None = None
        self._pause = REOPEN_SECONDS
        self._stopping = threading.Event()
        self._wake: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    @property
    def caught_up(self) -> bool:
        """Whether all that was in the log when it was opened has been handed over."""
        return not self._backlog

    def presence(self) -> Presence:
        """The log exists; whether it may be read is for `poll` to say."""
        try:
            self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Presence.ABSENT
        except OSError:
            return Presence.PRESENT
        return Presence.PRESENT

    def start(self) -> None:
        """Opens the log, so that the first poll knows, and follows it."""
        descriptor = self._open()
        if descriptor is not None:
            self._problem = None
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(
            target=self._run, args=(descriptor, self._wake[0]), name="kernel_log", daemon=True
        )
        self._thread.start()

    def poll(self, everything: bool = False) -> Snapshot:  # noqa: ARG002 - the protocol's
        """Empty while the log is followed. Raises `SourceError` while it cannot be."""
        if self._problem is not None:
            raise SourceError(self._problem)
        if self._thread is not None and not self._thread.is_alive():
            raise SourceError(f"{self._path}: its follower ended; restart the agent and report this flaw")
        problems = []
        malformed = self._malformed
        if malformed > self._told_malformed:
            problems.append(f"{self._path}: {malformed - self._told_malformed} records that are not kmsg records")
            self._told_malformed = malformed
        flaw, self._flaw = self._flaw, None
        if flaw is not None:
            problems.append(flaw)
        return Snapshot(problems=tuple(problems))

    def close(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        if self._thread is None or self._wake is None:
            return
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake[1], b"x")
        self._thread.join(1.0)
        if not self._thread.is_alive():  # else it still waits on them
            for descriptor in self._wake:
                os.close(descriptor)
            self._wake = None

    def _open(self) -> int | None:
        try:
            descriptor = self._reads.open_kernel_log(self._path)
        except OSError as error:
            hint = ""
            if error.errno in (errno.EACCES, errno.EPERM):
                hint = "; is accelwatch-helper up? Without it: join group adm or grant CAP_SYSLOG"
            self._problem = f"{self._path}: cannot be opened: {error.strerror}{hint}"
            return None
        return descriptor

    def _run(self, descriptor: int | None, wake: int) -> None:
        while not self._stopping.is_set():
            if descriptor is None:
                self._stopping.wait(self._pause)
                self._pause = min(2 * self._pause, REOPEN_LIMIT_SECONDS)
                descriptor = self._open()
                continue
            failed = False
            try:
                mode = os.fstat(descriptor).st_mode
                if stat.S_ISCHR(mode):
                    self._follow_device(descriptor, wake)
                elif stat.S_ISREG(mode):
                    self._follow_file(descriptor, wake)
                else:
                    self._follow_fifo(descriptor, wake)
            except OSError as error:
                failed = True
                self._problem = f"{self._path}: cannot be read: {error.strerror}; opening it again"
            finally:
                os.close(descriptor)
            descriptor = None if failed or self._stopping.is_set() else self._open()

    def _follow_device(self, descriptor: int, wake: int) -> None:
        """One read gives one record."""
        poller = _poller(descriptor, wake)
        batch: list[bytes] = []
        while not self._stopping.is_set():
            try:
                data = self._read(descriptor, RECORD_LIMIT_BYTES)
            except BrokenPipeError:
                continue  # records were overwritten; the gap in the sequence says how many
            if data is not None:
                batch.append(data)
            if data is None or len(batch) >= BATCH:
                self._hand_over(batch)
                batch = []
            if data is None:
                self._backlog_ends()
                poller.poll()

    def _follow_fifo(self, descriptor: int, wake: int) -> None:
        splitter = RecordSplitter()
        poller = _poller(descriptor, wake)
        while not self._stopping.is_set():
            data = self._read(descriptor, CHUNK_BYTES)
            self._hand_over(splitter.flush() if data is None else splitter.feed(data))
            if data is None:
                self._backlog_ends()
                poller.poll()

    def _follow_file(self, descriptor: int, wake: int) -> None:
        """Returns when the file was cut or another has its name."""
        splitter = RecordSplitter()
        poller = _poller(wake)
        replaced = False
        end = os.fstat(descriptor).st_size
        while not self._stopping.is_set():
            left = end - os.lseek(descriptor, 0, os.SEEK_CUR) if self._backlog else CHUNK_BYTES
            data = self._read(descriptor, min(max(left, 0), CHUNK_BYTES), ends=True)
            if data:
                self._hand_over(splitter.feed(data))
                continue
            self._hand_over(splitter.flush())
            if self._backlog:
                self._backlog_ends()
                continue
            if replaced:
                self._replaced_file = True
                return
            # Once more to the end: the writer may have written between our last read and the change of name.
            replaced = self._replaced(descriptor)
            if not replaced:
                poller.poll(FILE_POLL_SECONDS * 1000)

    def _read(self, descriptor: int, size: int, ends: bool = False) -> bytes | None:
        """`None`: nothing is there now. A read that succeeds shows that the log can be followed."""
        try:
            data = os.read(descriptor, size)
        except BlockingIOError:
            data = None
        if data == b"" and not ends:
            raise OSError(errno.ENODATA, "it has an end, so it is no kernel log")
        self._problem = None
        self._pause = REOPEN_SECONDS
        return data

    def _replaced(self, descriptor: int) -> bool:
        ours = os.fstat(descriptor)
        if ours.st_size < os.lseek(descriptor, 0, os.SEEK_CUR):
            return True
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return False
        return not os.path.samestat(named, ours)

    def _backlog_ends(self) -> None:
        """All that was in the log at first has been read."""
        if not self._backlog:
            return
        if self._last is None:
            self._give([], 0)
        self._backlog = False

    def _hand_over(self, raw: list[bytes]) -> None:
        records: list[KernelRecord] = []
        lost = 0
        before = self._last
        for data in raw:
            parsed = parse_record(data)
            if parsed is None:
                self._malformed += 1
                continue
            sequence, record = parsed
            if self._replaced_file:
                self._replaced_file = False
                if self._last is not None and sequence <= self._last:
                    self._last = None  # its writer began to count anew
            if self._last is not None:
                if sequence <= self._last:
                    continue
                lost += sequence - self._last - 1
            self._last = sequence
            if record is not None:
                records.append(record)
        if self._last != before:
            self._give(records, lost)

    def _give(self, records: list[KernelRecord], lost: int) -> None:
        """Records of other facilities bring an empty batch: the cursor has moved."""
        batch = KernelRecords(
            boot_id=self._boot_id,
            records=tuple(records),
            lost=lost,
            backlog=self._backlog,
            last_sequence=NO_SEQUENCE if self._last is None else self._last,
        )
        try:
            self._deliver(batch)
        except Exception as error:  # noqa: BLE001 - a loop edge: the reader's flaw must not end the log
            self._flaw = (
                f"{self._path}: {len(records)} records could not be dealt with: {type(error).__name__}: {error}; "
                "a flaw in accelwatch, please report it"
            )


def boot_id_path(proc: Path) -> Path:
    """Where the boot's id is told: below `proc`, so that a simulated node boots on its own, else by this host."""
    own = proc / BOOT_ID
    return own if own.exists() else Path("/proc") / BOOT_ID


def read_boot_id(path: Path) -> str:
    """The boot's id, or `UNKNOWN_BOOT`."""
    try:
        return path.read_text().strip()
    except OSError:
        return UNKNOWN_BOOT


def cursor_of(text: str | None) -> tuple[str, int] | None:
    """Boot id and sequence out of `<boot id> <sequence>`; `None` for nothing, and for anything else."""
    boot, _, sequence = (text or "").partition(" ")
    try:
        return (boot, int(sequence)) if boot else None
    except ValueError:
        return None


def _poller(*descriptors: int) -> select.poll:
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return poller

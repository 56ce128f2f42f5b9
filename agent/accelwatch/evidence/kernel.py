"""The kernel log around a fault, read once and not followed."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from accelwatch.faults.episode import Episode
from accelwatch.logs.private import without_directories
from accelwatch.readings.kernel import KernelRecord
from accelwatch.sources.kmsg import RECORD_LIMIT_BYTES, RecordSplitter, parse_record
from accelwatch.sources.privileged import PrivilegedReads

# What led to it, and what followed: a cascade is over within minutes.
BEFORE_SECONDS, AFTER_SECONDS = 900.0, 300.0
# The kernel's ring holds megabytes; a saved file is read from its last part.
READ_LIMIT_BYTES = 32 << 20
READ_SECONDS = 5.0
# Where the time of a record is not known: so many of the last ones.
LAST_RECORDS = 2000
_CHUNK = 1 << 16


class Unreadable(Exception):
    """The log cannot be had: the message says why, and where else it is."""


def slice_of(
    path: Path, reads: PrivilegedReads, fault: Episode, boot_id: str, wall: float, monotonic: float
) -> tuple[str, str]:
    """Lines of the kernel's own records around the fault, and what part of the log they are. Raises `Unreadable`.

    Records that a user process wrote are left out, as everywhere; of paths, the last name is left.
    """
    if fault.boot_id is not None and fault.boot_id != boot_id:
        raise Unreadable(
            f"{path}: the fault is of an earlier boot; if the journal of systemd is kept: "
            f"journalctl -k -b {fault.boot_id.replace('-', '')}"
        )
    records = list(_records(path, reads))
    shared = path.is_char_device()
    if fault.kernel_seconds is not None:
        at = fault.kernel_seconds
    elif shared:
        at = fault.first_wall - (wall - monotonic)  # its seconds are this host's monotonic clock
    else:
        last = records[-LAST_RECORDS:]
        return _text(last), f"{path}: the last {len(last)} records; the time of the fault in it is not known"
    lasted = max(0.0, fault.last_wall - fault.first_wall)
    end = min(at + lasted, at + BEFORE_SECONDS) + AFTER_SECONDS
    chosen = [record for record in records if at - BEFORE_SECONDS <= record.seconds <= end]
    if records and records[0].seconds > at:
        raise Unreadable(f"{path}: its oldest record is younger than the fault: journalctl -k has older ones")
    return _text(chosen), f"{path}: from {BEFORE_SECONDS:.0f} s before the fault, at [{at:.6f}]"


def _text(records: list[KernelRecord]) -> str:
    texts = ((record, without_directories(record.text)) for record in records)
    return "".join(f"<{record.level}>[{record.seconds:12.6f}] {text}\n" for record, text in texts)


def _records(path: Path, reads: PrivilegedReads) -> Iterator[KernelRecord]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode):
            raise Unreadable(f"{path}: it is a FIFO: what is read from it is lost to the agent")
        descriptor = reads.open_kernel_log(path)
    except OSError as error:
        raise Unreadable(f"{path}: cannot be opened: {error.strerror}; run this as root") from error
    try:
        for raw in _device(descriptor) if stat.S_ISCHR(mode) else _file(descriptor):
            parsed = parse_record(raw)
            if parsed is not None and parsed[1] is not None:
                yield parsed[1]
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _device(descriptor: int) -> Iterator[bytes]:
    """One read gives one record; the end is where a read would wait."""
    deadline, left = time.monotonic() + READ_SECONDS, READ_LIMIT_BYTES
    while left > 0 and time.monotonic() < deadline:
        try:
            data = os.read(descriptor, RECORD_LIMIT_BYTES)
        except BlockingIOError:
            return
        except BrokenPipeError:
            continue  # overwritten while we read
        left -= len(data)
        yield data


def _file(descriptor: int) -> Iterator[bytes]:
    size = os.fstat(descriptor).st_size
    if size > READ_LIMIT_BYTES:
        os.lseek(descriptor, size - READ_LIMIT_BYTES, os.SEEK_SET)
    splitter, left = RecordSplitter(), READ_LIMIT_BYTES
    while left > 0 and (data := os.read(descriptor, _CHUNK)):
        left -= len(data)
        yield from splitter.feed(data)
    yield from splitter.flush()

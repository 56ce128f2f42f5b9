"""Records of /dev/kmsg (the kernel's Documentation/ABI/testing/dev-kmsg; reference/nvidia.md section 5.4)."""

from __future__ import annotations

import re

from accelwatch.readings.kernel import KernelRecord

_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
KERNEL_FACILITY = 0
# Numbers are at most 64 bits wide; Python refuses to convert very long ones (sys.set_int_max_str_digits).
_DIGITS_LIMIT = 20
# The kernel gives a record of at most 8 KiB with its dictionary, one per read.
RECORD_LIMIT_BYTES = 16384


def parse_record(record: bytes) -> tuple[int, KernelRecord | None] | None:
    """Sequence number and record; the record is `None` when a user process wrote it (a facility other than the
    kernel's): a user's line must not pass for a driver's. `None` alone: not a record.
    """
    head, semicolon, body = record.partition(b";")
    fields = head.split(b",")
    if not semicolon or len(fields) < 4 or not all(_is_number(field) for field in fields[:3]):
        return None
    priority, sequence, microseconds = (int(field) for field in fields[:3])
    if priority >> 3 != KERNEL_FACILITY:
        return sequence, None
    lines = body.rstrip(b"\n").split(b"\n")
    details = {}
    for line in lines[1:]:
        key, equals, value = line.strip().partition(b"=")
        if equals:
            details[_text(key)] = _text(value)
    return sequence, KernelRecord(sequence, microseconds / 1e6, priority & 7, _text(lines[0]), details or None)


class RecordSplitter:
    """Cuts a stream of records, which comes in pieces of any size, into records.

    A record is a line and the indented lines after it, so the last one is held back until the next begins or
    `flush` says that nothing more is there. A line without its end waits. A line longer than a record can be is
    thrown away whole, so that its tail does not pass for a record, and gives one b"", which no parser takes.
    """

    def __init__(self) -> None:
        self._partial = b""
        self._held: bytes | None = None
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The records that are known to be whole now."""
        whole: list[bytes] = []
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif line.startswith(b" ") and self._held is not None:
                if len(self._held) + len(line) < RECORD_LIMIT_BYTES:
                    self._held += b"\n" + line
            elif line:
                whole += self.flush()
                self._held = line
        if len(self._partial) > RECORD_LIMIT_BYTES or self._skipping:
            if not self._skipping:
                whole += [*self.flush(), b""]
            self._partial, self._skipping = b"", True
        return whole

    def flush(self) -> list[bytes]:
        """The record held back, if any."""
        held, self._held = self._held, None
        return [] if held is None else [held]


def _is_number(field: bytes) -> bool:
    return field.isdigit() and len(field) <= _DIGITS_LIMIT


def _text(data: bytes) -> str:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), data).decode("utf-8", errors="replace")

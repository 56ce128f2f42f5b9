"""Records of /dev/kmsg (the kernel's Documentation/ABI/testing/dev-kmsg; reference/nvidia.md section 5.4)."""

from __future__ import annotations

import re

from accelwatch.readings.kernel import KernelRecord

_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
KERNEL_FACILITY = 0


def parse_record(record: bytes) -> tuple[int, KernelRecord | None] | None:
    """Sequence number and record; the record is `None` when a user process wrote it (a facility other than the
    kernel's): a user's line must not pass for a driver's. `None` alone: not a record.
    """
    head, semicolon, body = record.partition(b";")
    fields = head.split(b",")
    if not semicolon or len(fields) < 4 or not all(field.isdigit() for field in fields[:3]):
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


def _text(data: bytes) -> str:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), data).decode("utf-8", errors="replace")

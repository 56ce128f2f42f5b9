"""Where reading goes on in a followed file, and how the file is known again."""

from __future__ import annotations

import contextlib
import os
import zlib

import msgspec

# Enough for the date or process that a log begins with.
HEAD_BYTES = 256


class Position(msgspec.Struct, array_like=True):
    """Where reading goes on in a file, as the cursor keeps it. `head`: CRC-32 of its first `head_bytes`; `tail`: of the
    bytes just before `offset`.
    """

    device: int
    inode: int
    offset: int
    head_bytes: int
    head: int
    tail: int = 0


def positions_of(cursor: str | None) -> dict[tuple[int, int], Position] | None:
    """Those of a cursor by device and inode; `None`: there is no usable one."""
    if cursor is None:
        return None
    with contextlib.suppress(msgspec.DecodeError):
        positions = msgspec.json.decode(cursor, type=list[Position])
        return {(position.device, position.inode): position for position in positions}
    return None  # of another version, or damaged: as at a first start


def copied(path: str, size: int, read: list[Position]) -> int:
    """How far a new file is a copy of one that was read (as logrotate's copytruncate leaves), else 0."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0  # reading it will say why
    try:
        head = zlib.crc32(os.pread(descriptor, HEAD_BYTES, 0))
        for position in read:
            alike = position.head_bytes == HEAD_BYTES and position.head == head
            if not alike or not HEAD_BYTES <= position.offset <= size:
                continue
            if tail_of(descriptor, position.offset) == position.tail:
                return position.offset
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    return 0


def tail_of(descriptor: int, offset: int) -> int:
    """CRC-32 of the bytes just before `offset`. Raises `OSError`."""
    start = max(0, offset - HEAD_BYTES)
    return zlib.crc32(os.pread(descriptor, offset - start, start))


def same_head(descriptor: int, position: Position) -> bool:
    """Whether the file still begins as it did. Raises `OSError`."""
    return zlib.crc32(os.pread(descriptor, position.head_bytes, 0)) == position.head


def learn(descriptor: int, position: Position) -> None:
    """Notes how the file begins, as far as it is written. Raises `OSError`."""
    head = os.pread(descriptor, HEAD_BYTES, 0)
    position.head_bytes, position.head = len(head), zlib.crc32(head)
    position.tail = tail_of(descriptor, position.offset)

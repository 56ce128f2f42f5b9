"""Whether `journal.db-wal` still has what was committed into it.

SQLite takes a WAL whose bytes are not what it wrote for one that ends there, without a word: the journal would go on
from an older state, and counters would fall. Layouts are those of sqlite.org/fileformat2.html, section 4, and
sqlite.org/walformat.html, section 2. With `synchronous=FULL` each commit is on the disk before the next one is written,
so a commit that others follow was whole. A file that was cut short or deleted cannot be told from one in which less was
committed.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

_HEADER, _FRAME_HEADER = 32, 24
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}  # magic: byte order of the words that checksums are made of
_LARGEST_PAGE = 65536
_LAST_VALID_OFFSET = 16  # in the index, in the machine's own byte order


def durable_frames(database: Path) -> int:
    """How many frames of the WAL, from its first, were on the disk for certain. Nobody may have the database open.

    Raises `ValueError` for a WAL that cannot be what was written, else `OSError`.
    """
    path = Path(f"{database}-wal")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        size = os.fstat(descriptor).st_size
        if size <= _HEADER:
            return 0
        if not database.stat().st_size:
            raise ValueError(f"{path}: there are commits, but {database.name} is empty")
        header = os.pread(descriptor, _HEADER, 0)
        magic, _, page_size, _ = struct.unpack(">4I", header[:16])
        order = _ORDERS.get(magic)
        if order is None or not 512 <= page_size <= _LARGEST_PAGE or _sum(order, header[:24]) != header[24:]:
            # A file that was made longer, and of which nothing was written before the power failed, is all zeros.
            if any(header) or any(os.pread(descriptor, _FRAME_HEADER, _HEADER)):
                raise ValueError(f"{path}: its header is not what was written")
            return 0
        return _durable(descriptor, size, page_size, header[16:24])
    finally:
        os.close(descriptor)


def read_frames(database: Path) -> int:
    """How many frames of the WAL SQLite takes for valid, once the database was read. Raises `OSError`."""
    with Path(f"{database}-shm").open("rb") as file:
        head = file.read(_LAST_VALID_OFFSET + 4)
    return int(struct.unpack("=I", head[_LAST_VALID_OFFSET:])[0]) if len(head) == _LAST_VALID_OFFSET + 4 else 0


def _durable(descriptor: int, size: int, page_size: int, salts: bytes) -> int:
    durable = committed = 0
    length = _FRAME_HEADER + page_size
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as data:
        for number, at in enumerate(range(_HEADER, size - length + 1, length), 1):
            if data[at + 8 : at + 16] != salts:  # from before the file was last begun at its start, or damaged
                continue
            durable = committed
            if data[at + 4 : at + 8] != b"\0\0\0\0":
                committed = number
    return durable


def _sum(order: str, data: bytes) -> bytes:
    first = second = 0
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second)

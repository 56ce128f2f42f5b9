"""Whether `journal.db-wal` still has what was committed into it.

SQLite takes a WAL whose bytes are not what it wrote for one that ends there, without a word: the journal would go on
from an older state, and counters would fall. The layout is that of sqlite.org/fileformat2.html, section 4. With
`synchronous=FULL` each commit is on the disk before the next one is written, so a commit that others follow was whole.
A file that was cut short or deleted cannot be told from one in which less was committed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_HEADER, _FRAME_HEADER = 32, 24
_MAGIC_LITTLE, _MAGIC_BIG = 0x377F0682, 0x377F0683  # byte order of the words that checksums are made of
_LARGEST_PAGE = 65536
_MASK = 0xFFFFFFFF

_Sum = tuple[int, int]


class _Frame(NamedTuple):
    commit: bool
    salts: bytes
    own: _Sum  # the checksum that stands in it
    head: bytes  # what of the frame's header is in the checksum
    page: bytes


def damage(database: Path) -> str | None:
    """What is wrong with the WAL beside a database that nobody has open; `None` if nothing. Raises `OSError`."""
    path = Path(f"{database}-wal")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= _HEADER:
                return None
            if not database.stat().st_size:
                return f"{path}: there are commits, but {database.name} is empty"
            return _damage(path, file)
    except FileNotFoundError:
        return None


def _damage(path: Path, file: BinaryIO) -> str | None:
    header = file.read(_HEADER)
    magic, _, page_size, _ = struct.unpack(">4I", header[:16])
    order = {_MAGIC_LITTLE: "<", _MAGIC_BIG: ">"}.get(magic)
    last: _Sum = struct.unpack(">2I", header[24:])
    if order is None or not 512 <= page_size <= _LARGEST_PAGE or _sum(order, header[:24], (0, 0)) != last:
        # A file that was made longer, and of which nothing was written before the power failed, is all zeros.
        written = any(header) or any(file.read(_FRAME_HEADER + 512))
        return f"{path}: its header is not what was written" if written else None
    salts = header[16:24]
    broken: int | None = None
    committed: int | None = None
    for number, frame in enumerate(_frames(file, page_size)):
        if frame.salts != salts:  # from before the file was last begun at its start, or not whole
            if broken is None:
                broken = number
            continue
        if committed is not None:
            return f"{path}: commit {committed} and those before it, from frame {broken} on, are not what was written"
        if broken is None:
            last = _sum(order, frame.page, _sum(order, frame.head, last))
            if last != frame.own:
                broken = number
        if broken is not None and frame.commit:
            committed = number
    return None


def _frames(file: BinaryIO, page_size: int) -> Iterator[_Frame]:
    while len(raw := file.read(_FRAME_HEADER + page_size)) == _FRAME_HEADER + page_size:
        own: _Sum = struct.unpack(">2I", raw[16:24])
        yield _Frame(raw[4:8] != bytes(4), raw[8:16], own, raw[:8], raw[_FRAME_HEADER:])


def _sum(order: str, data: bytes, start: _Sum) -> _Sum:
    first, second = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _MASK
        second = (second + odd + first) & _MASK
    return first, second

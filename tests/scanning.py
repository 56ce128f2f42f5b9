"""Scans a text as `accelwatch scan` does."""

from __future__ import annotations

import io
from typing import NamedTuple

from accelwatch.logs.episodes import Entry, Episodes
from accelwatch.logs.scanner import Scanner
from accelwatch.taxonomy.loader import load

NOW = 1_795_000_000.0  # 18 November 2026


class Seen(NamedTuple):
    """What a test asks of an entry. `where`: PCI address, or number of an NPU."""

    class_: str
    code: str | None
    where: str | None
    pid: int | None = None
    process: str | None = None
    rank: int | None = None


def entries(text: str | bytes, file: str = "x.log") -> list[Entry]:
    """The entries of one log."""
    data = text.encode() if isinstance(text, str) else text
    episodes = Episodes(load())
    for found in Scanner(file, lambda: NOW).scan(io.BytesIO(data)):
        episodes.add(found)
    return episodes.entries


def seen(text: str | bytes) -> list[Seen]:
    """The same, as far as tests of lines ask."""
    return [
        Seen(
            entry.meaning.class_.name,
            entry.event.code,
            entry.event.pci or (None if entry.number is None else str(entry.number)),
            entry.pid,
            entry.process,
            entry.rank,
        )
        for entry in entries(text)
    ]

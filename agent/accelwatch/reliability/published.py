"""What others have published of their clusters (published.csv, each line with its source): context, never tested."""

from __future__ import annotations

from pathlib import Path

from accelwatch.reliability.cells import Published
from accelwatch.reliability.counts import as_published, read_rows

FILE = Path(__file__).with_name("published.csv")


def figures() -> list[Published]:
    """In the order of the file, by study."""
    return [as_published(row, f"{row.study} {row.cluster}".strip()) for row in read_rows(FILE, [])]

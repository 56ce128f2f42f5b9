"""A fleet's series in the blocks of a Prometheus, a part at a time, so that memory and disk do not grow with it."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

from prometheus_history import running
from quarters.fleet import Fleet
from quarters.plan import HOUR
from quarters.series import Writer

# promtool reads its whole input again for each block, so that a part is what one block takes. Blocks are aligned, and
# two hours times a power of three long; this is the largest within a tenth of the retention below, which is Prometheus'
# own limit.
PART_HOURS = 162
RETENTION = "150d"


def fill(fleet: Fleet, end: int, data: Path) -> int:
    """Blocks of the fleet's series, of which the last sample is at `end` (unix seconds); says how many samples."""
    began, samples = end - fleet.plan.span, 0
    page = data.parent / f"{data.name}.openmetrics"

    def part(hour: tuple[int, str]) -> int:
        return (began + (hour[0] + 1) * HOUR) // (PART_HOURS * HOUR)

    try:
        for _, hours in itertools.groupby(enumerate(Writer(fleet, began).hours()), part):
            with page.open("w", encoding="utf-8") as file:
                for _, lines in hours:
                    file.write(lines)
                    samples += lines.count("\n")
                file.write("# EOF\n")
            subprocess.run(
                [
                    "promtool", "tsdb", "create-blocks-from", "--quiet", f"--max-block-duration={PART_HOURS}h",
                    "openmetrics", str(page), str(data),
                ],
                check=True, capture_output=True,
            )  # fmt: skip
    finally:
        page.unlink(missing_ok=True)
    return samples


@contextlib.contextmanager
def served(data: Path, directory: Path) -> Iterator[str]:
    """The URL of a Prometheus that holds these blocks."""
    with running(directory, data, f"--storage.tsdb.retention.time={RETENTION}") as url:
        yield url

"""What a process holds, sample by sample, and whether it still grows after it is warm."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

# From when it is warm to the end; counts may waver by a poll under way, memory by what an allocator keeps.
# Threads: a source has one of its own, and that of a source which a reload took away ends with the poll under way.
LIMITS = {"descriptors": 4.0, "threads": 6.0, "children": 2.0, "PSS bytes": 4 << 20, "python blocks": 10_000.0}
LIMITS |= {"python objects": 3000.0, "state bytes": 64 << 10, "journal bytes": 8 << 20}


def _children(task: Path) -> int:
    """Of one thread; none once it has ended."""
    try:
        return len((task / "children").read_text().split())
    except FileNotFoundError:
        return 0


def of_process(pid: int) -> dict[str, float]:
    """Descriptors, threads, children (dead ones too), proportional memory of a process that lives. Raises `OSError`."""
    proc = Path("/proc", str(pid))
    rollup = (proc / "smaps_rollup").read_text()
    pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    children = sum(_children(task) for task in (proc / "task").iterdir())
    return {
        "descriptors": len(os.listdir(proc / "fd")),
        "threads": len(os.listdir(proc / "task")),
        "children": children,
        "PSS bytes": int(pss.split()[1]) * 1024,
    }


class Curves:
    """Samples over a count of polls or reloads; `warm`: after this share nothing grows any more."""

    def __init__(self, of: str, unit: str, warm: float = 0.1) -> None:
        self.of, self.unit, self.warm = of, unit, warm
        self.at: list[float] = []
        self.samples: dict[str, list[float]] = {}

    def add(self, at: float, sample: dict[str, float]) -> None:
        """One sample; each has the same keys."""
        self.at.append(at)
        for name, value in sample.items():
            self.samples.setdefault(name, []).append(value)

    def grown(self, name: str) -> tuple[float, float]:
        """When it was warm, and at the end: medians of the samples around."""
        values = self.samples[name]
        tenth, warm = max(1, len(values) // 10), self._warm
        return statistics.median(values[warm : warm + tenth + 1]), statistics.median(values[-tenth - 1 :])

    @property
    def _warm(self) -> int:
        return max(1, int(len(self.at) * self.warm))

    def flaws(self) -> list[str]:
        """Curves that are not flat."""
        found = []
        for name in self.samples:
            early, late = self.grown(name)
            if late - early > LIMITS[name]:
                found.append(f"{self.of}: {name} grew from {early:.0f} to {late:.0f}, more than {LIMITS[name]:.0f}")
        return found

    def table(self) -> str:
        """A line per curve; the slope is per 1,000 polls or reloads, by least squares once it is warm."""
        lines = [f"{self.of}: {self.at[-1]:,.0f} {self.unit}"]
        warm = self._warm
        for name, values in self.samples.items():
            early, late = self.grown(name)
            slope = statistics.linear_regression(self.at[warm:], values[warm:]).slope * 1000
            lines.append(
                f"  {name:16} after {self.warm:3.0%} {early:14,.0f}   end {late:14,.0f}   per 1,000 {slope:+12,.2f}"
            )
        return "\n".join(lines)

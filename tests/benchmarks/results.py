"""RESULTS.md: what was measured, on which machine, beside what, and what was not."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from measure import QUANTITIES, Measured
from root_helper import MAY_RUN

FILE = Path(__file__).with_name("RESULTS.md")
# The programs by the name that they have in a table.
COLUMNS = {
    "nvidia-healthy": "NVIDIA",
    "nvidia-storm": "NVIDIA, fault storm",
    "ascend-healthy": "Ascend",
    "ascend-storm": "Ascend, fault storm",
    "node_exporter": "node_exporter",
    "nvitop_exporter": "nvitop-exporter",
}
# What another's work shows as before ours has begun.
BUSY_LOAD = 0.5
BUSY = "**Provisional: the machine had other work meanwhile.** Times, and most of all interference, are those of a busy one."
WITHOUT_HELPER = "**without their root helper**, since the measurement did not run as root."
RATIOS = ("cpu_all", "cpu_scrape", "wakeups", "calls", "pss", "start", "p50", "p99", "many_p99", "packed")
NOT_MEASURED = (
    "Real drivers: NVML is a simulated library whose calls return at once, npu-smi and hccn_tool are simulated commands."
    " What a driver does on behalf of a call is not in the figures, nor is what the vendor's tools take as processes.",
    "dcgm-exporter, npu-exporter: not to be had here.",
    "The root helper at work: it is idle in all tables, since files and tools of a simulated host are read by the agent"
    " itself.",
    "The limits of the systemd unit (CPUWeight, MemoryMax) and its sandbox: the programs run without them.",
    "node_exporter reads the host at each scrape and nvitop-exporter the GPUs once a second, without run, log, journal"
    " or network: the ratios compare what they cost, not what they tell.",
    "Wake-ups are voluntary context switches of threads that lived through the whole time.",
)


def median(measured: Mapping[str, Measured], key: str, quantity: str) -> float | None:
    """Of all rounds; `None` where it was not measured."""
    values = measured[key].values.get(quantity) if key in measured else None
    return statistics.median(values) if values else None


def spread(values: Sequence[float], digits: int) -> str:
    """Median, least and greatest."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(measured: Mapping[str, Measured]) -> list[str]:
    """One row per quantity, one column per program."""
    keys = [key for key in COLUMNS if key in measured]
    rows = ["| | " + " | ".join(COLUMNS[key] for key in keys) + " |", "|---" * (len(keys) + 1) + "|"]
    for name, quantity in QUANTITIES.items():
        cells = [measured[key].values.get(name) for key in keys]
        if any(cells):
            unit = f", {quantity.unit}" if quantity.unit else ""
            told = " | ".join(spread(cell, quantity.digits) if cell else "–" for cell in cells)
            rows.append(f"| {quantity.title}{unit} | {told} |")
    return rows


def ratios(measured: Mapping[str, Measured], key: str = "nvidia-healthy") -> list[str]:
    """How many times as much an agent takes as each other program."""
    others = [other for other in ("node_exporter", "nvitop_exporter") if other in measured]
    rows = ["| accelwatch (NVIDIA) to | " + " | ".join(COLUMNS[other] for other in others) + " |"]
    rows.append("|---" * (len(others) + 1) + "|")
    for name in RATIOS:
        cells = []
        for other in others:
            own, its = median(measured, key, name), median(measured, other, name)
            # What rounds to nothing (a program that sleeps until it is scraped) is nothing to compare with.
            told = own is not None and its is not None and round(its, QUANTITIES[name].digits) > 0
            cells.append(f"{own / its:.3g}" if told else "–")  # type: ignore[operator]
        rows.append(f"| {QUANTITIES[name].title} | {' | '.join(cells)} |")
    return rows


def machine() -> str:
    """Processor, memory and kernel, without the name of the host."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = psutil.virtual_memory().total / (1 << 30)
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()} {platform.machine()}"


def write(
    sizes: Mapping[int, Mapping[str, Measured]],
    versions: Mapping[str, str],
    load: tuple[float, float],
    chapters: Mapping[str, Sequence[str]],
    missing: Sequence[str],
) -> None:
    """`load`: the machine's one-minute load before and after; `chapters`: more of them by title."""
    count = max(len(values) for measured in sizes.values() for m in measured.values() for values in m.values.values())
    lines = [
        "# What the agent costs",
        "",
        "Made by `make bench`, which measures all programs of a table side by side, at their default intervals. Each"
        " value is the median of all rounds, with the least and the greatest; each round starts every program anew."
        f" Rounds: {count}.",
        "",
        *([BUSY, ""] if load[0] > BUSY_LOAD else []),
        f"- Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        f"- Machine: {machine()}; load average {load[0]:.1f} before, {load[1]:.1f} at the end",
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()),
        "- Agents: in an environment with what a node needs, without what the tests need, "
        + ("each with its root helper, which is in all figures but the time to start." if MAY_RUN else WITHOUT_HELPER),
        "- Hosts: simulated, H100 with 18 NVLinks each (NVIDIA) and Ascend A3 dies, all at work in one run. In the fault"
        " storm every device counts errors and is throttled, every fourth has memory to be repaired, every eighth has a"
        " link that flaps, and on NVIDIA each has a line of the kernel log every 4 s.",
        "",
    ]
    for title, text in chapters.items():
        lines += [f"## {title}", "", *text, ""]
    for devices, measured in sizes.items():
        lines += [f"## {devices} device{'s' if devices > 1 else ''}", "", *table(measured), "", *ratios(measured), ""]
    lines += ["## Not measured", "", *(f"- {line}" for line in (*NOT_MEASURED, *missing)), ""]
    FILE.write_text("\n".join(lines))

"""What the agent costs, beside node_exporter and nvitop-exporter in the same run: `make bench`, `make bench-short`.

Ratios say more than times on a shared machine; both are told. The long form measures 1 to 64 devices, healthy and in a
fault storm, and interference with a neighbour, and writes RESULTS.md; the short one 16 healthy devices, once.
Ends with status 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import jitter
import results
import root_helper
import where
from measure import Measured, rounds
from subjects import MALLOC, NODE_PYTHON, agent, node_exporter, nvitop_exporter, simulated_hosts, versions

from accelwatch.simulator.cluster import _free_ports

SIZES, ROUNDS, QUIET_SECONDS = (1, 8, 16, 64), 3, 25.0
STATES, SHORT_STATES = ("healthy", "storm"), ("healthy",)
SHORT_SIZE, SHORT_QUIET_SECONDS = 16, 60.0
# node_exporter and nvitop-exporter render during each scrape: 64 devices take them 50 ms and more.
SLOW_SCRAPES = 40
# Beyond these something has gone wrong: 16 healthy devices, a busy machine allowed for.
BOUNDS = {"many_p99": 150, "unanswered": 0, "silent": 50, "pss": 56, "cpu": 1.0, "start": 3, "packed": 20}
SCRAPE_RATIO = 0.2  # scrape p50 against node_exporter's
# What 16 healthy devices are to cost on a quiet machine.
TARGETS = {"cpu": 0.5, "pss": 48 * 1e6 / (1 << 20), "p50": 1.0, "p99": 5.0, "packed": 20.0}
JUDGED = 16
WHERE = f"Where the processor time goes, at {JUDGED} devices"


def measure(devices: int, states: tuple[str, ...], number: int, quiet: float, calls: bool) -> dict[str, Measured]:
    """All programs at one size."""
    names = [f"{vendor}-{state}" for vendor in ("nvidia", "ascend") for state in states]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        *ports, node_port, nvitop_port = _free_ports(len(names) + 2)
        with simulated_hosts(directory, devices, dict(zip(names, ports, strict=True))):
            subjects = [agent(name, directory, devices, port) for name, port in zip(names, ports, strict=True)]
            subjects.append(node_exporter(directory, node_port))
            nvitop = nvitop_exporter(directory, "nvidia-healthy", devices, nvitop_port)
            if nvitop is not None:
                subjects.append(nvitop)
            measured = rounds(subjects, number, quiet, SLOW_SCRAPES, calls)
    print(f"\n{devices} devices\n" + "\n".join(results.table(measured)), flush=True)
    print("\n".join(results.ratios(measured)), flush=True)
    return measured


def bounded(measured: Mapping[str, Measured]) -> bool:
    """Whether all bounds are kept; says each."""
    kept = []
    for key in ("nvidia-healthy", "ascend-healthy"):
        for name, bound in BOUNDS.items():
            kept.append(_judge(f"{key}: {results.QUANTITIES[name].title}", measured[key].values[name], bound))
        own, its = (measured[k].values["p50"] for k in (key, "node_exporter"))
        shares = [a / b for a, b in zip(own, its, strict=True)]
        kept.append(_judge(f"{key}: scrape p50 against node_exporter's", shares, SCRAPE_RATIO))
    return all(kept)


def _judge(what: str, values: list[float], bound: float) -> bool:
    middle = statistics.median(values)
    kept = middle <= bound
    print(f"  {'ok    ' if kept else 'MISSED'}  {what:<70} {middle:8.2f} (at most {bound:g})", flush=True)
    return kept


def targets(measured: Mapping[str, Measured]) -> list[str]:
    """The table of targets."""
    rows = ["| target at 16 healthy devices | at most | NVIDIA | Ascend |", "|---|---|---|---|"]
    for name, bound in TARGETS.items():
        quantity = results.QUANTITIES[name]
        cells = []
        for key in ("nvidia-healthy", "ascend-healthy"):
            middle = statistics.median(measured[key].values[name])
            cells.append(f"{middle:.{quantity.digits}f}, {'met' if middle <= bound else 'missed'}")
        rows.append(f"| {quantity.title}, {quantity.unit} | {bound:.3g} | {' | '.join(cells)} |")
    return rows


def spent_where() -> list[str]:
    """The profile, with what its numbers are."""
    shares = {results.COLUMNS[name]: share for name, share in where.measure(JUDGED).items()}
    return [
        "Percent of a core by thread and part, of an agent that runs with clocks around its parts (they add a few"
        " percent). What a tool takes as a process of its own is not in it.",
        "",
        *where.table(shares),
    ]


def main() -> int:
    """Measures, prints, and in the long form writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--where", action="store_true", help="only where the processor time goes, at 16 devices")
    parser.add_argument("--sizes", type=lambda text: tuple(map(int, text.split(","))), default=SIZES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if options.where:
        print("\n".join(spent_where()))
        return 0
    if options.short:
        return 0 if bounded(measure(SHORT_SIZE, SHORT_STATES, 1, SHORT_QUIET_SECONDS, calls=False)) else 1
    load = os.getloadavg()[0]
    sizes = {size: measure(size, STATES, options.rounds, QUIET_SECONDS, calls=True) for size in options.sizes}
    beside = jitter.measure()
    told = versions()
    missing = [] if "nvitop-exporter" in told else ["nvitop-exporter: it could not be installed here."]
    chapters = {"Interference with a neighbour": beside.text()}
    if JUDGED in sizes:
        chapters = {"Targets": targets(sizes[JUDGED]), WHERE: spent_where(), **chapters}
    if root_helper.MAY_RUN:
        chapters["Questions to the root helper"] = root_helper.questions(NODE_PYTHON, MALLOC)
    results.write(sizes, told, (load, os.getloadavg()[0]), chapters, missing)
    print("\n".join(line for text in chapters.values() for line in text), flush=True)
    kept = JUDGED not in sizes or bounded(sizes[JUDGED])
    return 0 if kept and beside.kept else 1


if __name__ == "__main__":
    sys.exit(main())

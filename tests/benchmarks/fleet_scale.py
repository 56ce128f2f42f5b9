"""What a fleet costs its Prometheus: `make bench-fleet`, with NODES=100,300,1250 and SECONDS=240 as it is.

A simulated fleet with 8 devices per node, work and faults as usual, is read every 15 s; a real Prometheus scrapes it
every 15 s with the shipped rules. Per size: series, memory, scrapes, and the time of each group of rules. Hourly groups
run every two minutes here, that of five minutes each minute, over what history there is. Before that, once: bytes per sample and series of a block.
Ends with status 1 when a bound is missed. Times are this machine's as it was then.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from accelwatch import shipped
from accelwatch.simulator.cluster import Children, _free_ports
from accelwatch.simulator.fleet.discovery import SCRAPE, TARGETS

DEVICES, STEP_SECONDS = 8, 15
# The first evaluations find series that are new: they are slower than those that follow.
WARM_SECONDS = 75
# Of all groups together, those of a minute and an hour too: were they all due at once, a third of the scrape interval.
RULE_SECONDS = 5.0
# At 10,000 devices: what Prometheus holds in 16 GB with room for queries.
SERIES_PER_DEVICE = 150
# Growth is linear when series, memory and samples of a node differ by no more than this between sizes.
LINEAR = 1.15
# Rules are linear when a node takes at most so much more of their time in the largest fleet than in the smallest: what
# matches each with each would take as many times more as there are more nodes. Times of a shared machine vary by half.
LINEAR_TIME = 2.0
# A chunk is cut at 120 samples; so many samples have to be there before bytes per sample mean anything.
CHUNK_SAMPLES, CHUNK_NODES, CHUNK_STEP_SECONDS = 130, 16, 2


class Stack:
    """Fleet and Prometheus in a directory of their own; `close` ends both."""

    def __init__(self, directory: Path, nodes: int, step: int) -> None:
        self.directory, self.nodes = directory, nodes
        self.children = Children(directory)
        self.children.start(
            "fleet",
            # What stands for the nodes has other machines of its own at a site: it gives way to Prometheus.
            ["nice", "-n", "19", sys.executable, "-m", "accelwatch", "simulate", "fleet",
             "--nodes", str(nodes), "--devices", str(DEVICES),
             "--dir", str(directory / "fleet"), "--step", f"{step}s"],
        )  # fmt: skip
        self._until("the fleet's pages", (directory / "fleet" / TARGETS).exists)
        rules = directory / "rules"
        rules.mkdir()
        for path in (shipped.alerts() / "rules").glob("*.yml"):
            text = path.read_text().replace("interval: 1h", "interval: 2m").replace("interval: 5m", "interval: 1m")
            (rules / path.name).write_text(text)
        (port,) = _free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        config = yaml.safe_load((directory / "fleet" / SCRAPE).read_text())
        config["global"] = {
            "scrape_interval": f"{step}s",
            "evaluation_interval": f"{step}s",
            "scrape_timeout": f"{step}s",
        }
        config["rule_files"] = [str(rules / "*.yml")]
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.children.start(
            "prometheus",
            ["prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}", "--web.enable-admin-api"],
        )  # fmt: skip
        self._until("Prometheus", lambda: self.own("prometheus_tsdb_head_series") is not None)
        self._until("all nodes", lambda: self.value("count(up == 1)") == nodes)

    def api(self, path: str, post: bool = False, **parameters: str) -> Any:
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        request = urllib.request.Request(address, method="POST" if post else "GET")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["data"]

    def value(self, question: str) -> float | None:
        """Of the only series, or of none; also while it cannot be asked."""
        try:
            found = self.api("query", query=question)["result"]
        except OSError:
            return None
        return float(found[0]["value"][1]) if found else None

    def own(self, name: str) -> float | None:
        """One of Prometheus's own figures, which nobody scrapes here."""
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), None)

    def resident(self) -> float:
        """Bytes of Prometheus."""
        return self.own("process_resident_memory_bytes") or 0.0

    def _until(self, what: str, true: Any, seconds: float = 300.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            self.children.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"{what}: not there within {seconds:g} s; see {self.directory}")
            time.sleep(1.0)


@dataclass
class Size:
    """What was seen at one number of nodes."""

    nodes: int
    scraped: float = 0.0  # samples of one round
    series: float = 0.0  # in memory, with what rules record
    resident: float = 0.0  # bytes, the most
    scrapes: list[float] = field(default_factory=list)  # seconds, median of a round
    slowest: list[float] = field(default_factory=list)
    groups: dict[str, list[float]] = field(default_factory=dict)  # seconds of each evaluation that was seen
    rules: dict[str, float] = field(default_factory=dict)  # seconds, the most
    often: set[str] = field(default_factory=set)  # groups that run each 15 s

    @property
    def devices(self) -> int:
        return self.nodes * DEVICES

    def rule_seconds(self, all_groups: bool = True) -> float:
        """All groups together, or those that run each 15 s; each at its median."""
        return sum(statistics.median(seen) for name, seen in self.groups.items() if all_groups or name in self.often)


def measure(nodes: int, seconds: float) -> Size:
    """Looks every 15 s for so long."""
    with tempfile.TemporaryDirectory() as scratch:
        stack = Stack(Path(scratch), nodes, STEP_SECONDS)
        try:
            time.sleep(WARM_SECONDS)
            size, until = Size(nodes), time.monotonic() + seconds
            while time.monotonic() < until:
                _look(stack, size)
                time.sleep(STEP_SECONDS)
            return size
        finally:
            stack.children.close()


def _look(stack: Stack, size: Size) -> None:
    size.series = stack.own("prometheus_tsdb_head_series") or 0.0
    size.resident = max(size.resident, stack.resident())
    size.scraped = stack.value("sum(scrape_samples_scraped)") or 0.0
    size.scrapes.append(stack.value("quantile(0.5, scrape_duration_seconds)") or 0.0)
    size.slowest.append(stack.value("max(scrape_duration_seconds)") or 0.0)
    for group in stack.api("rules")["groups"]:
        if group["lastEvaluation"].startswith("0001"):  # not yet
            continue
        size.groups.setdefault(group["name"], []).append(group["evaluationTime"])
        if group["interval"] == STEP_SECONDS:
            size.often.add(group["name"])
        for rule in group["rules"]:
            name = f"{group['name']}: {rule['name']}"
            size.rules[name] = max(size.rules.get(name, 0.0), rule.get("evaluationTime", 0.0))


def block_bytes() -> tuple[float, float]:
    """Bytes of chunks per sample, and of index per series, in a block of more than one chunk's samples."""
    with tempfile.TemporaryDirectory() as scratch:
        stack = Stack(Path(scratch), CHUNK_NODES, CHUNK_STEP_SECONDS)
        try:
            time.sleep(CHUNK_SAMPLES * CHUNK_STEP_SECONDS)
            name = stack.api("admin/tsdb/snapshot", post=True)["name"]
            found = list((Path(scratch) / "tsdb" / "snapshots" / name).glob("*/meta.json"))
            counts = [json.loads(path.read_text())["stats"] for path in found]
            chunks = sum(file.stat().st_size for path in found for file in (path.parent / "chunks").iterdir())
            index = sum((path.parent / "index").stat().st_size for path in found)
            return (
                chunks / sum(count["numSamples"] for count in counts),
                index / sum(count["numSeries"] for count in counts),
            )
        finally:
            stack.children.close()


def table(sizes: list[Size]) -> list[str]:
    """A column per size."""
    rows = {
        "devices": [f"{size.devices:,}" for size in sizes],
        "samples per scrape of a device": [f"{size.scraped / size.devices:.1f}" for size in sizes],
        "series in memory": [f"{size.series:,.0f}" for size in sizes],
        "series in memory per device": [f"{size.series / size.devices:.1f}" for size in sizes],
        "Prometheus, resident, MB": [f"{size.resident / 1e6:,.0f}" for size in sizes],
        "bytes resident per series": [f"{size.resident / size.series:,.0f}" for size in sizes],
        "scrape, median ms": [f"{1e3 * statistics.median(size.scrapes):.1f}" for size in sizes],
        "scrape, slowest ms": [f"{1e3 * max(size.slowest):.0f}" for size in sizes],
        "all rules together, s": [f"{size.rule_seconds():.3f}" for size in sizes],
        "of these those of each 15 s, s": [f"{size.rule_seconds(all_groups=False):.3f}" for size in sizes],
    }
    for name in sorted({name for size in sizes for name in size.groups}):
        cells = [f"{statistics.median(size.groups[name]):.3f}" if name in size.groups else "-" for size in sizes]
        rows[f"{name}, s"] = cells
    head = "| nodes | " + " | ".join(str(size.nodes) for size in sizes) + " |"
    return [
        head,
        "|---" * (len(sizes) + 1) + "|",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
    ]


def slowest_rules(size: Size, number: int = 8) -> list[str]:
    """Those that took longest, once."""
    ordered = sorted(size.rules.items(), key=lambda pair: -pair[1])[:number]
    return [f"  {1e3 * seconds:8.1f} ms  {name}" for name, seconds in ordered]


def bounds(sizes: list[Size]) -> bool:
    """Says each, and whether all are kept."""
    kept = []
    for size in sizes:
        kept.append(_judge(f"{size.nodes} nodes: series per device", size.series / size.devices, SERIES_PER_DEVICE))
        kept.append(_judge(f"{size.nodes} nodes: all rules together, s", size.rule_seconds(), RULE_SECONDS))
    if len(sizes) > 1:
        each = [size.series / size.nodes for size in sizes]
        kept.append(_judge("series of a node, largest against smallest size", max(each) / min(each), LINEAR))
        # What Prometheus needs for itself is in the first size's memory: only growth beyond it is judged.
        first, last = sizes[0], sizes[-1]
        grown = (last.resident / first.resident) / (last.nodes / first.nodes)
        kept.append(_judge("memory against nodes, last size against first", grown, LINEAR))
        seconds = [size.rule_seconds() / size.nodes for size in sizes]
        kept.append(
            _judge("time of the rules for a node, last size against first", seconds[-1] / seconds[0], LINEAR_TIME)
        )
    return all(kept)


def _judge(what: str, value: float, bound: float) -> bool:
    kept = value <= bound
    print(f"  {'ok    ' if kept else 'MISSED'}  {what:<60} {value:10.3f} (at most {bound:g})", flush=True)
    return kept


def main() -> int:
    """Measures, prints, judges."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", default="100,300,1250")
    parser.add_argument("--seconds", type=float, default=240.0, help="of looking, at each size (default %(default)s)")
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {STEP_SECONDS} s scrapes, {DEVICES} devices per node"
    )
    sample, index = block_bytes()
    print(f"a block: {sample:.2f} bytes per sample, {index:.0f} bytes of index per series", flush=True)
    sizes = []
    for nodes in map(int, options.nodes.split(",")):
        sizes.append(measure(nodes, options.seconds))
        print("\n" + "\n".join(table(sizes)), flush=True)
        print(f"slowest rules at {nodes} nodes, once:\n" + "\n".join(slowest_rules(sizes[-1])), flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")
    return 0 if bounds(sizes) else 1


if __name__ == "__main__":
    sys.exit(main())

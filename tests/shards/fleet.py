"""A simulated fleet that is scraped twice: by one Prometheus with all rules, and by two shards that a third federates.

The three are configured by the shipped examples of alerts/scale: what is changed is addresses, places and intervals.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from accelwatch.simulator.cluster import Children, _free_ports
from accelwatch.simulator.fleet.discovery import TARGETS

ALERTS = Path(__file__).resolve().parents[2] / "alerts"
SCALE = ALERTS / "scale"
SHARDS = 2
PARTS = ("shard-0", "shard-1", "global", "single")
SIMULATE = (sys.executable, "-m", "accelwatch", "simulate")
# 5001 is larger than one shard's share, 5002 is to be ended.
RUNS = {"5001": "vendor=nvidia", "5002": "vendor=ascend"}


class Fleet:
    """The pages of the nodes, and four Prometheus; `close` ends all of them."""

    def __init__(self, directory: Path, nodes: int, devices: int, step: int, rule: Callable[[str], str] = str) -> None:
        self.directory, self.step = directory, step
        self.children = Children(directory)
        self.pages = directory / "fleet"
        runs = [word for run, which in RUNS.items() for word in ("--run", f"{run}:nodes={nodes // 2 - 1},{which}")]
        self.children.start(
            "fleet",
            [*SIMULATE, "fleet", "--nodes", str(nodes), "--devices", str(devices), "--dir", str(self.pages),
             "--cluster", "c", "--step", f"{step}s", "--no-workload", "--no-faults", *runs],
        )  # fmt: skip
        until("the fleet", (self.pages / TARGETS).exists)
        self.nodes: list[str] = [group["labels"]["node"] for group in json.loads((self.pages / TARGETS).read_text())]
        rules = directory / "accelwatch"
        rules.mkdir()
        for path in (ALERTS / "rules").glob("*.yml"):
            (rules / path.name).write_text(rule(path.read_text()))
        ports = dict(zip(PARTS, _free_ports(len(PARTS)), strict=True))
        self.urls = {part: f"http://127.0.0.1:{port}" for part, port in ports.items()}
        shards = [f"127.0.0.1:{ports[f'shard-{number}']}" for number in range(SHARDS)]
        for number in range(SHARDS):
            self._start(f"shard-{number}", self._scraping(of_shard(number)))
        self._start("global", self._federating(shards))
        self._start("single", {**self._scraping(of_shard(0), every_node=True), "rule_files": ["accelwatch/*.yml"]})

    def _scraping(self, config: dict[str, Any], every_node: bool = False) -> dict[str, Any]:
        (job,) = config["scrape_configs"]
        job["file_sd_configs"] = [{"files": [str(self.pages / TARGETS)]}]
        if every_node:
            job["relabel_configs"] = job["relabel_configs"][:1]
        return config

    def _federating(self, shards: list[str]) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load((SCALE / "prometheus-global.yml").read_text())
        (job,) = config["scrape_configs"]
        job["static_configs"] = [{"targets": shards}]
        job["scrape_timeout"] = f"{self.step}s"
        return config

    def _start(self, name: str, config: dict[str, Any]) -> None:
        seconds = f"{self.step}s"
        config["global"] |= {"scrape_interval": seconds, "evaluation_interval": seconds, "scrape_timeout": seconds}
        del config["alerting"]  # nobody is to be told; ALERTS shows what would be
        path = self.directory / f"{name}.yml"
        path.write_text(yaml.safe_dump(config))
        self.children.start(
            name,
            ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={self.directory / f'{name}.tsdb'}",
             f"--web.listen-address={self.urls[name].removeprefix('http://')}"],
        )  # fmt: skip

    def ask(self, part: str, question: str) -> dict[frozenset[tuple[str, str]], float]:
        """Values by their labels; none while it cannot be asked."""
        address = f"{self.urls[part]}/api/v1/query?{urllib.parse.urlencode({'query': question})}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                rows = json.load(answer)["data"]["result"]
        except OSError:
            return {}
        return {frozenset(row["metric"].items()): float(row["value"][1]) for row in rows}

    def order(self, *words: str) -> None:
        """`simulate WORD DIR …`."""
        done = subprocess.run([*SIMULATE, words[0], str(self.pages), *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        self.children.close()


def of_shard(number: int) -> dict[str, Any]:
    """The shipped example, with the lines changed that say which shard it is."""
    text = (SCALE / "prometheus-shard.yml").read_text()
    this = re.compile(r'"0"(.*  # this shard)$', re.MULTILINE)
    assert len(this.findall(text)) == 2
    config: dict[str, Any] = yaml.safe_load(this.sub(rf'"{number}"\g<1>', text))
    return config


def until(what: str, true: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits for it, asking twice a second; an assertion fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)

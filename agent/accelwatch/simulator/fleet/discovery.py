"""Prometheus service discovery of the fleet: a file for `file_sd_configs`, and a scrape configuration to start from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import yaml

from accelwatch.simulator.fleet.plan import Placed

TARGETS, SCRAPE = "targets.json", "scrape.yml"


def metrics_path(node: str) -> str:
    """Where the node's page is."""
    return f"/{node}/metrics"


def write(directory: Path, address: str, cluster: str, nodes: Iterable[Placed]) -> None:
    """Writes both files; that of targets in one step, so that Prometheus never reads half of it."""
    groups = [
        {
            "targets": [address],
            "labels": {
                "__metrics_path__": metrics_path(one.spec.name),
                "cluster": cluster,
                "node": one.spec.name,
                "rack": one.rack,
                # One address serves all: without this every target were one `instance`.
                "instance": f"{one.spec.name}:9817",
            },
        }
        for one in nodes
    ]
    temporary = directory / f"{TARGETS}.new"
    temporary.write_text(json.dumps(groups, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, directory / TARGETS)
    job = {"job_name": "accelwatch", "file_sd_configs": [{"files": [str(directory / TARGETS)]}], "sample_limit": 20000}
    (directory / SCRAPE).write_text(yaml.safe_dump({"scrape_configs": [job]}, sort_keys=False), encoding="utf-8")

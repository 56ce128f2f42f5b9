"""The truth of a quarter asked of the Prometheus that holds its series, without the report: does the backfill agree?"""

from __future__ import annotations

from collections import Counter
from typing import Any

from accelwatch.prometheus_api import Prometheus
from quarters.truth import Truth

# Sums over the window, and the labels that they stand apart by.
SUMS = {
    "episodes": ("accelwatch:serial_fault_episodes:count1h", "model", "class"),
    "maintenance": ("accelwatch:serial_maintenance_episodes:count1h", "model", "class"),
    "exposure": ("accelwatch:serial_exposure:seconds1h", "model", "state"),
    "down": ("accelwatch:serial_down:seconds1h", "model", "planned"),
    "interruptions": ("accelwatch:run_interruptions:count1h", "model", "class"),
    "lost": ("accelwatch:run_interruptions:lost_device_seconds1h", "model", "class"),
    "drills": ("accelwatch:drills:count1h", "vendor", "class"),
    "repair": ("accelwatch:fault:repair_seconds", "class", "vendor"),
    "detect": ("accelwatch:run_interruption:detect_seconds", "model", "cause"),
}


def answers(url: str, cluster: str, end: int, days: int) -> dict[str, dict[tuple[str, str], int]]:
    """Of a window that ends at `end`: a second later, since a range takes in both its ends."""
    prometheus = Prometheus(url, seconds=60)
    found = prometheus.ask(
        {
            name: f'sum by ({a}, {b}) (sum_over_time({series}{{cluster="{cluster}"}}[{days}d]))'
            for name, (series, a, b) in SUMS.items()
        },
        end + 1,
    )
    return {
        name: {(one[SUMS[name][1]], one[SUMS[name][2]]): round(one.value) for one in samples}
        for name, samples in found.items()
    }


def expected(truth: Truth) -> dict[str, dict[tuple[str, str], int]]:
    vendors = {life.node.model.name: life.node.model.vendor for life in truth.lives}
    repairs: Counter[tuple[str, str]] = Counter()
    for (model, class_), seconds in truth.repairs.items():
        repairs[class_, vendors[model]] += sum(seconds)
    down = {"down_planned": "true", "down_unplanned": "false"}
    found: dict[str, Any] = {
        "episodes": truth.episodes,
        "maintenance": truth.maintenance_episodes,
        "exposure": {key: value for key, value in truth.seconds.items() if key[1] not in down},
        "down": {(key[0], down[key[1]]): value for key, value in truth.seconds.items() if key[1] in down},
        "interruptions": truth.interruptions,
        "lost": truth.lost,
        "drills": truth.drills,
        "repair": repairs,
        "detect": {key: sum(seconds) for key, seconds in truth.detects.items()},
    }
    return {name: {key: value for key, value in of.items() if value} for name, of in found.items()}


def installed(url: str, cluster: str, end: int, days: int) -> dict[str, int]:
    """Serial -> when it was installed (unix seconds)."""
    question = f'max by (serial) (max_over_time(accelwatch:serial:installed_timestamp_seconds{{cluster="{cluster}"}}[{days}d]))'
    return {one["serial"]: round(one.value) for one in Prometheus(url, seconds=60).query(question, end + 1)}

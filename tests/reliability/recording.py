"""What the shipped rules record of raw scrapes, through `promtool test rules`: Prometheus' own engine at a fake clock.

promtool evaluates every group at one interval. At one minute what is an increment since the last record is one of a
minute: its sum over an hour is what an hourly evaluation records. What looks back an hour is read at the hour itself.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

RULES = Path(__file__).resolve().parents[2] / "alerts" / "rules"
_FAILED = re.compile(r'^    expr: ("(?:[^"\\]|\\.)*"), time: (\S+),\n +exp: nil\n +got: (.*)$', re.MULTILINE)
_SAMPLE = re.compile(r"\{([^}]*)\} (\S+?)(?:, (?=\{)|$)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    """Of a query at a minute."""

    labels: dict[str, str]
    value: float


def recorded(
    series: Iterable[tuple[str, Sequence[str]]], queries: Iterable[tuple[str, int]], scratch: Path
) -> dict[tuple[str, int], list[Sample]]:
    """Of each (query, minute) what it gives. AssertionError where a rule or query fails."""
    asked = list(queries)
    document = {
        "rule_files": [str(RULES / name) for name in ("serials.yml", "exposure.yml", "reliability.yml", "fleet.yml")],
        "evaluation_interval": "1m",
        "group_eval_order": [
            f"accelwatch-{group}" for group in ("serials", "exposure", "reliability-hourly", "reliability-30d")
        ],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": " ".join(values)} for name, values in series],
                # None is expected: promtool then prints what there is.
                "promql_expr_test": [
                    {"expr": query, "eval_time": f"{minute}m", "exp_samples": []} for query, minute in asked
                ],
            }
        ],
    }
    path = scratch / "recorded.yml"
    path.write_text(json.dumps(document))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=600)
    output = done.stdout + done.stderr
    assert done.returncode in (0, 1), output
    assert "err:" not in output, output
    blocks = {(json.loads(query), _minutes(at)): got for query, at, got in _FAILED.findall(output)}
    assert len(blocks) == output.count("expr:"), output
    assert blocks.keys() <= set(asked), output
    return {
        one: [
            Sample(dict(_LABEL.findall(labels)), float(value)) for labels, value in _SAMPLE.findall(blocks.get(one, ""))
        ]
        for one in asked
    }


def _minutes(duration: str) -> int:
    units = {"d": 1440, "h": 60, "m": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([dhm])", duration))

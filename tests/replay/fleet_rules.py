"""The pages of a fleet as input of `promtool test rules`, and what the shipped rules make of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from replay.fleet import SCRAPE_SECONDS, Fleet

_SHIPPED = Path(__file__).resolve().parents[2] / "alerts" / "rules"
# What is recorded of runs over all nodes. The alerts on it, and on devices and nodes, have unit tests of their own.
RULES = (_SHIPPED / "hangs.yml", _SHIPPED / "runs.yml")
CLUSTER = "c"
# Series of pages have an underscore behind the prefix, recorded ones a colon.
_FAMILY = re.compile(r"\baccelwatch_[a-z0-9_]+")
_TARGET_LABEL = re.compile(r'(?:^|(?<=",))(?=(?:cluster|instance|job|node|rack)=")')
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")


@dataclass(frozen=True)
class Expected:
    """An instant query at scenario second `at`; `samples`: labels and value of each series of the answer."""

    at: float
    query: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def expect(at: float, query: str, *samples: tuple[Mapping[str, str], float]) -> Expected:
    """The answer whole: a series that is not named here must not be in it."""
    return Expected(at, query, samples)


def judge(scratch: Path, fleet: Fleet, *expected: Expected) -> None:
    """Fails with promtool's words where the rules make something else of the fleet's pages."""
    document = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": f"{SCRAPE_SECONDS}s",
        "tests": [
            {
                "interval": f"{SCRAPE_SECONDS}s",
                "input_series": series(fleet),
                "promql_expr_test": [_query(one) for one in expected],
            }
        ],
    }
    path = scratch / "fleet_test.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False, width=1_000_000))
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def series(fleet: Fleet) -> list[dict[str, str]]:
    """Input series of all families that the rules read, with the labels of their targets."""
    families = set(_FAMILY.findall("".join(path.read_text() for path in RULES)))
    values: dict[str, list[str | None]] = {}
    for number, pages in enumerate(fleet.scrapes):
        for node, page in pages.items():
            target = f'cluster="{CLUSTER}",instance="{node}:9817",job="accelwatch",node="{node}",rack="r1"'
            # What a page says of itself under the name of a target label is renamed.
            found = {f"up{{{target}}}": "0" if page is None else "1"}
            for line in (page or "").splitlines():
                match = None if line.startswith("#") else _SAMPLE.match(line)
                if match is not None and match[1] in families:
                    own = _TARGET_LABEL.sub("exported_", match[2] or "")
                    found[f"{match[1]}{{{target},{own}}}" if own else f"{match[1]}{{{target}}}"] = match[3]
            for name, value in found.items():
                kept = values.setdefault(name, [])
                kept += [None] * (number - len(kept))
                kept.append(value)
    length = len(fleet.scrapes)
    return [
        {"series": name, "values": notation([*kept, *[None] * (length - len(kept))])} for name, kept in values.items()
    ]


def notation(values: Sequence[str | None]) -> str:
    """promtool's words: `_` for nothing, `stale` for what Prometheus writes when a series is gone, `5x3` for four 5."""
    words: list[str] = []
    for value, group in groupby(values):
        length = len(list(group))
        if value is not None:
            words.append(value if length == 1 else f"{value}x{length - 1}")
            continue
        if words:
            words.append("stale")
            length -= 1
        if length:
            words.append(f"_x{length}")
    return " ".join(words)


def _query(one: Expected) -> dict[str, Any]:
    name = one.query if re.fullmatch(r"[a-zA-Z_:][\w:]*", one.query) else ""
    samples = [{"labels": f"{name}{_labels(labels)}", "value": value} for labels, value in one.samples]
    return {"expr": one.query, "eval_time": f"{round(one.at)}s", "exp_samples": samples}


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"

"""The shipped dashboards, and what is in them."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "dashboards" / "json"
FILES = sorted(FOLDER.glob("*.json"))
UIDS = [path.stem for path in FILES]
ALL = ".*"

Panel = dict[str, Any]


def document(uid: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{uid}.json").read_text())
    return loaded


def panels(uid: str) -> list[Panel]:
    """Without headings."""
    return [panel for panel in document(uid)["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """A name such as `accelwatch-run/13 A`, and the expression."""
    for uid in UIDS:
        for panel in panels(uid):
            for target in panel["targets"]:
                yield f"{uid}/{panel['id']} {target['refId']}", target["expr"]
        for marks in document(uid).get("annotations", {}).get("list", ()):
            if marks.get("expr"):
                yield f"{uid}/annotation {marks['name']}", marks["expr"]


def filled_in(expr: str, seconds: int = 600) -> str:
    """As Grafana sends it when all variables say All and `seconds` are shown."""
    for name, value in (
        ("$__rate_interval", "20s"),
        ("$__range", f"{seconds}s"),
        ("$__interval", f"{seconds}s"),
        ("$job", "accelwatch"),
    ):
        expr = expr.replace(name, value)
    return re.sub(r"\$\w+", ALL, expr)


def ask(url: str, expr: str, at: float | None = None) -> list[Any]:
    """The answer's series. Raises `AssertionError` with Prometheus' words where it refuses."""
    parameters = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query", urllib.parse.urlencode(parameters).encode(), 30) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error.read().decode()}: {expr}") from error

#!/usr/bin/env python3
"""The series that rules, dashboards, the report and the commands ask for, written into the examples: `make allow-list`.

    allow_list.py [--check] [FILE…]

In each example (default: those beside this file) the lines between `# <allow-list: WHICH>` and `# </allow-list>` are
made anew. WHICH is `all` (a `regex:` of relabelling), `scraped` (the same without what rules record), or `match` (those
as a selector to federate by). `--check` writes nothing, and ends with status 1 where a file is not current.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Modules that put questions to a Prometheus.
ASKING = ("reliability", "diagnosis", "commands")
# Of Prometheus itself.
OWN = frozenset({"up", "scrape_duration_seconds", "ALERTS"})
_NAME = re.compile(r"\baccelwatch[_:][a-z0-9_:]+\b|\b(?:up|scrape_duration_seconds|ALERTS)\b(?=\s*[{\[)])")
_BLOCK = re.compile(
    r"(?P<begin>^(?P<indent> *)# <allow-list: (?P<which>\w+)>\n).*?(?P<end>^ *# </allow-list>)",
    re.MULTILINE | re.DOTALL,
)
# How the names stand in the YAML: key, and what is around them.
_REGEX = ("regex:", "", "")
_SELECTOR = ("-", r"{job=\"accelwatch\",__name__=~\"", r"\"}")
_PARTS = ("_bucket", "_sum", "_count")


def asked() -> set[str]:
    """Every series that is asked for by name, and every one that a rule records."""
    found = set(recorded())
    for text in _questions():
        found |= set(_NAME.findall(text))
    return found & (_exported() | set(recorded()) | OWN)


def recorded() -> set[str]:
    """What the shipped rules record."""
    return {rule["record"] for rule in _rules() if "record" in rule}


def _exported() -> set[str]:
    from accelwatch.metrics.catalogue import FAMILIES

    histograms = {family.full_name for family in FAMILIES if family.type == "histogram"}
    return {f.full_name for f in FAMILIES} - histograms | {name + part for name in histograms for part in _PARTS}


def _rules() -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / "alerts" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def _questions() -> Iterator[str]:
    """Expressions of rules, what their annotations ask, queries of dashboards, and strings of the code."""
    for rule in _rules():
        yield rule["expr"]
        yield from rule.get("annotations", {}).values()
    for path in sorted((ROOT / "dashboards" / "json").glob("*.json")):
        yield from _of_dashboard(json.loads(path.read_text(encoding="utf-8")))
    for folder in ASKING:
        for path in sorted((ROOT / "agent" / "accelwatch" / folder).glob("*.py")):
            yield from _of_code(ast.parse(path.read_text(encoding="utf-8")))


def _of_dashboard(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (part[key] for key in ("expr", "query", "definition") if isinstance(part.get(key), str))
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _of_dashboard(inner)


def _of_code(tree: ast.AST) -> Iterator[str]:
    """Strings, but not what is only said: docstrings."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def written(text: str) -> str:
    """The text of an example with its lists made anew. In double quotes YAML joins lines that end in a backslash."""

    def lines(block: re.Match[str]) -> str:
        which, indent = block["which"], block["indent"]
        names = asked() - (set() if which == "all" else recorded() | {"ALERTS"})
        joined = "|\\\n".join(f"{indent}  {name}" for name in sorted(names))
        key, before, after = _SELECTOR if which == "match" else _REGEX
        return f'{block["begin"]}{indent}{key} "{before}\\\n{joined}{after}"\n{block["end"]}'

    return _BLOCK.sub(lines, text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="say what is not current, and write nothing")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    old = []
    for path in options.files or sorted(Path(__file__).parent.glob("*.yml")):
        text = path.read_text(encoding="utf-8")
        if (new := written(text)) != text:
            old.append(path)
            if not options.check:
                path.write_text(new, encoding="utf-8")
    for path in old:
        print(f"{path}: {'is not current: make allow-list' if options.check else 'written'}")
    return 1 if options.check and old else 0


if __name__ == "__main__":
    sys.exit(main())

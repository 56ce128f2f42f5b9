"""The unit tests of the rules, one by one: which of them a rule can show in, and whether one passes.

`promtool test rules` takes whole files. A change of one rule shows only in tests that ask for that rule or for one that
reads it, and the first that fails is enough: so each test is taken out of its file and run alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alerts.shipped_rules import TESTS, rules

_NAME = re.compile(r"\b(?:accelwatch:[a-z0-9_:]+|Accelwatch[A-Za-z]+)\b")
# A query that may mean any rule: no name of an alert, or a pattern.
_ANY = re.compile(r'ALERTS(?!\{[^}]*alertname=")|__name__')


@dataclass(frozen=True)
class UnitCase:
    """One test of a file: `text` is a document that promtool reads, whose rule files lie in ../rules."""

    name: str
    rule_files: frozenset[str]
    asks: frozenset[str] | None = field(repr=False)  # names of rules; None: any
    text: str = field(repr=False)

    def can_show(self, file: str, dependents: frozenset[str]) -> bool:
        """Whether it loads the file of rules, and asks for one of these rules."""
        return file in self.rule_files and (self.asks is None or bool(self.asks & dependents))


def unit_cases(paths: Sequence[Path] = TESTS) -> list[UnitCase]:
    """The tests of all files, with their file's other settings."""
    found = []
    for path in paths:
        document: dict[str, Any] = yaml.safe_load(path.read_text())
        root = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
        tests = next(value for key, value in root.value if key.value == "tests")
        for test, node in zip(document["tests"], list(tests.value), strict=True):
            # As nodes, since `0x60` is a number for YAML and sixty samples for promtool.
            tests.value = [node]
            queries = [case["expr"] for case in test.get("promql_expr_test", ())]
            alerts = {case["alertname"] for case in test.get("alert_rule_test", ())}
            named = alerts | {name for query in queries for name in _NAME.findall(query)}
            found.append(
                UnitCase(
                    f"{path.name}: {test['name']}",
                    frozenset(Path(file).name for file in document["rule_files"]),
                    None if any(_ANY.search(query) for query in queries) else frozenset(named),
                    yaml.serialize(root, Dumper=yaml.SafeDumper, width=1_000_000),
                )
            )
    return found


def dependents() -> dict[str, frozenset[str]]:
    """Of each rule by name: itself, and all that read it in expression or words, however indirectly."""
    reads: dict[str, set[str]] = {}
    for _, rule in rules():
        name = rule.get("alert") or rule["record"]
        reads.setdefault(name, set()).update(_NAME.findall(json.dumps(rule)))
    found = {}
    for name in reads:
        reached, last = {name}, 0
        while len(reached) != last:
            last = len(reached)
            reached |= {reader for reader, read in reads.items() if read & reached}
        found[name] = frozenset(reached)
    return found


def passes(case: UnitCase, scratch: Path) -> bool:
    """Runs it on the rules that lie in `scratch`/rules."""
    (scratch / "tests").mkdir(exist_ok=True)
    path = scratch / "tests" / "one.yml"
    path.write_text(case.text)
    done = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"promtool on {case.name}: exit {done.returncode}: {done.stderr.strip()}")
    return done.returncode == 0


def durations(cases: Iterable[UnitCase], scratch: Path) -> Mapping[str, float]:
    """Seconds that each takes on the rules in `scratch`/rules. RuntimeError where one does not pass."""
    found = {}
    for case in cases:
        began = time.monotonic()
        if not passes(case, scratch):
            raise RuntimeError(f"{case.name}: fails with the rules as they are")
        found[case.name] = time.monotonic() - began
    return found

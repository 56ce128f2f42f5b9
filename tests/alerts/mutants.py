"""Changes each number of each rule, one at a time: at least one unit test must fail then (`make mutants`).

Numbers are thresholds, ranges, offsets, factors, `for` and `keep_firing_for`. What only makes a value (0 * x, topk of 1)
is none.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from alerts.shipped_rules import ALERTS
from alerts.unit_cases import UnitCase, dependents, durations, passes, unit_cases

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIME = r"((?:\d+(?:ms|[smhd]))+)"
_DURATION = re.compile(rf"\[{_TIME}(?::[^\]]*)?\]|\boffset {_TIME}\b|^{_TIME}$")
# After a comparison, or a term or factor of at least two digits or with a fraction.
_NUMBER = re.compile(r"(?:(?:>=|<=|==|!=|<|>)(?: bool)? |(?<=[-+*/] )(?=\d\d|0\.))(\d+(?:\.\d+)?)(?![\w.:\]])")
_FACTOR = re.compile(r"(?<![\w.])([2-9])(?= \* )")
_CLAMP = re.compile(r"(?<=, )(\d+(?:\.\d+)?)(?=\))")


@dataclass(frozen=True)
class Equivalent:
    """A change that no input can show: the rule, the text before the number, what it becomes (None: both), and why."""

    rule: str
    before: str
    new: str | None
    reason: str


EQUIVALENT = (
    Equivalent(
        "accelwatch:device_exposure:hours30d",
        ") / 3600 > ",
        "(-1)",
        "only hours with exposure are recorded: their sum is above 0",
    ),
    Equivalent("accelwatch:serial_down:seconds1h", " > ", "1", "down time grows by a minute at a time"),
    Equivalent(
        "accelwatch:hang_cause:first",
        "min by (cluster, run_id, attempt) (accelwatch:hang_cause:first_seen_timestamp_seconds) + ",
        "16",
        "these are moments of evaluations, which are 5, 10, 15 s or more apart",
    ),
    Equivalent(
        "accelwatch:serial_exposure_seconds:at_first_sight",
        "unless last_over_time(accelwatch:serial_exposure_seconds:at_first_sight[",
        None,
        "a serial comes back after an hour or more, and is looked for during five minutes",
    ),
    Equivalent(
        "accelwatch:serial_exposure:seconds1h",
        "last_over_time(accelwatch:serial_exposure_seconds:last[3d] offset ",
        None,
        "the evaluations before this one are an hour ago",
    ),
    *(
        Equivalent(
            rule,
            f"or 0 * last_over_time({counter}:total[",
            "21600s",
            "what it is taken from counts three hours",
        )
        for rule, counter in (
            ("accelwatch:serial_maintenance_episodes:count1h", "accelwatch:serial_maintenance_episodes"),
            ("accelwatch:serial_down:seconds1h", "accelwatch:serial_down_seconds"),
        )
    ),
    *(
        Equivalent(
            rule,
            "last_over_time(accelwatch:run_interruptions:counted_until_timestamp_seconds[",
            "180000s",
            "a day without this rule is a day without `first_recorded`, by which it is first known afterwards",
        )
        for rule in ("accelwatch:run_interruptions:count1h", "accelwatch:run_interruptions:lost_device_seconds1h")
    ),
)


@dataclass(frozen=True)
class Mutant:
    """`start` and `end` are places in the file's text, `old` what stands there."""

    path: Path
    rule: str
    start: int
    end: int
    old: str
    new: str

    @property
    def equivalent(self) -> Equivalent | None:
        """The entry that says why nothing can show it."""
        before = self.path.read_text()[: self.start]
        return next(
            (e for e in EQUIVALENT if self.rule == e.rule and before.endswith(e.before) and e.new in (None, self.new)),
            None,
        )

    def __str__(self) -> str:
        line = self.path.read_text()[: self.start].count("\n") + 1
        return f"{self.path.name}:{line} {self.rule}: {self.old} -> {self.new}"


def mutants(path: Path) -> Iterator[Mutant]:
    """All of a file of rules, two for each number: one smaller, one larger."""
    text = path.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for group in _value(root, "groups").value:
        for rule in _value(group, "rules").value:
            name = next(value.value for key, value in rule.value if key.value in ("record", "alert"))
            for key, value in rule.value:
                if key.value not in ("expr", "for", "keep_firing_for"):
                    continue
                start, end = value.start_mark.index, value.end_mark.index
                for place, new in _changes(text[start:end].rstrip(), key.value == "expr"):
                    first, last = start + place.start, start + place.stop
                    yield Mutant(path, name, first, last, text[first:last], new)


def _value(node: yaml.MappingNode, name: str) -> yaml.Node:
    found: yaml.Node = next(value for key, value in node.value if key.value == name)
    return found


def _changes(text: str, expression: bool) -> Iterator[tuple[slice, str]]:
    for match in _DURATION.finditer(text):
        group = next(number for number in (1, 2, 3) if match[number] is not None)
        parts = re.findall(r"(\d+)(ms|[smhd])", match[group])
        milliseconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
        place = slice(match.start(group), match.end(group))
        yield place, f"{max(1, milliseconds // 2000)}s"
        yield place, f"{max(1, milliseconds // 500)}s"
    if not expression:
        return
    for pattern in (_NUMBER, _FACTOR, _CLAMP):
        for match in pattern.finditer(text):
            for new in _others(match[1]):
                yield slice(match.start(1), match.end(1)), new


def _others(number: str) -> tuple[str, str]:
    if "." in number:
        return f"{float(number) - 0.1:g}", f"{float(number) + 0.1:g}"
    value = int(number)
    if value < 20:
        return (str(value - 1), str(value + 1)) if value else ("(-1)", "1")
    return str(value // 2), str(value * 2)


def killed_by(mutant: Mutant, cases: Sequence[UnitCase]) -> UnitCase | None:
    """The first of the unit tests that fails with it."""
    with tempfile.TemporaryDirectory(prefix="accelwatch-mutant-") as scratch:
        shutil.copytree(ALERTS / "rules", Path(scratch, "rules"))
        text = mutant.path.read_text()
        Path(scratch, "rules", mutant.path.name).write_text(text[: mutant.start] + mutant.new + text[mutant.end :])
        return next((case for case in cases if not passes(case, Path(scratch))), None)


def cases_of(mutant: Mutant, cases: Sequence[UnitCase], readers: dict[str, frozenset[str]]) -> list[UnitCase]:
    """Those of the unit tests that it can show in, in their order."""
    return [case for case in cases if case.can_show(mutant.path.name, readers[mutant.rule])]


def main(arguments: Sequence[str]) -> int:
    """Of the files named, else of all; prints each that survives, exit 1 when one does."""
    paths = [ALERTS / "rules" / name for name in arguments] or sorted((ALERTS / "rules").glob("*.yml"))
    readers, names = dependents(), {path.name for path in paths}
    cases = [case for case in unit_cases() if case.rule_files & names]
    with tempfile.TemporaryDirectory(prefix="accelwatch-rules-") as scratch:
        shutil.copytree(ALERTS / "rules", Path(scratch, "rules"))
        seconds = durations(cases, Path(scratch))
    cases.sort(key=lambda case: seconds[case.name])
    work = [one for path in paths for one in mutants(path)]
    survived = excused = 0
    for mutant in work:
        killer = killed_by(mutant, cases_of(mutant, cases, readers))
        reason = mutant.equivalent
        if killer is None and reason is None:
            survived += 1
            print(f"survived  {mutant}", flush=True)
        elif killer is None:
            excused += 1
        else:
            if reason is not None:  # whoever excused it was wrong
                survived += 1
                print(f"no equal  {mutant}: {killer.name} fails, though {reason.reason}", flush=True)
            # What notices one change of a rule often notices the next.
            cases.remove(killer)
            cases.insert(0, killer)
    print(f"{len(work)} mutants, {excused} of them equal to the rule, {survived} survived or were wrongly excused")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

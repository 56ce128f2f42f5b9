"""What a report asks of a Prometheus: the hourly recorded series, summed day by day.

Days are asked a few at a time, so that no single question loads more than a large Prometheus allows; where even that
is refused, the stretch is halved down to one day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from accelwatch.prometheus_api import Prometheus, PrometheusError, PrometheusOverwhelmed, quoted

DAY = 86_400.0
# How often the rules record (alerts/rules/reliability.yml).
RECORDED_EVERY = 3600.0
# Seven days of a thousand devices are 28,000 values, about a megabyte.
DAYS_AT_ONCE = 7
# Prometheus answers 20 questions at a time for everybody.
AT_ONCE = 2
# A question over many series: more than a person's patience at a prompt, less than Prometheus' own limit of 2 minutes.
QUESTION_SECONDS = 100.0
MATCHABLE = ("cluster", "node", "vendor", "device", "model", "driver", "serial")
_MATCH = re.compile(r"([a-z_]+)(=~|!=|!~|=)(.*)", re.DOTALL)


class Question(NamedTuple):
    """A series, the labels to keep apart, and what is asked of a day of it."""

    series: str
    by: tuple[str, ...]
    over: str = "sum_over_time"
    across: str = "sum"
    has: tuple[str, ...] = ()  # labels that can be matched beside those of `by`
    only: str = ""  # a matcher that it always has


_DEVICE = ("cluster", "node", "vendor", "device", "model", "serial")
QUESTIONS: Mapping[str, Question] = {
    "episodes": Question(
        "accelwatch:serial_fault_episodes:count1h", (*_DEVICE, "class"), has=("driver",), only='device!=""'
    ),
    # What stands on no device has neither model nor serial number of one.
    "host_episodes": Question(
        "accelwatch:serial_fault_episodes:count1h", ("cluster", "node", "class"), only='device=""'
    ),
    "maintenance_episodes": Question(
        "accelwatch:serial_maintenance_episodes:count1h",
        ("cluster", "vendor", "model", "class"),
        has=("node", "device", "driver", "serial"),
    ),
    "exposure": Question("accelwatch:serial_exposure:seconds1h", (*_DEVICE, "state"), has=("driver",)),
    "down": Question("accelwatch:serial_down:seconds1h", (*_DEVICE, "planned"), has=("driver",)),
    "installed": Question(
        "accelwatch:serial:installed_timestamp_seconds", _DEVICE, "min_over_time", "min", has=("driver",)
    ),
    # A device whose driver changed has two series in that hour.
    "known": Question(
        "accelwatch:serial:installed_timestamp_seconds", _DEVICE, "count_over_time", "sum", has=("driver",)
    ),
    "observable": Question("accelwatch:class:observable1h", ("cluster", "vendor", "class"), "avg_over_time", "max"),
    "hours": Question("accelwatch:class:observable1h", ("cluster",), "count_over_time", "max", has=("vendor",)),
    "drills": Question("accelwatch:drills:count1h", ("cluster", "vendor", "class")),
    "repair": Question(
        "accelwatch:fault:repair_seconds", ("cluster", "node", "vendor", "device", "class", "incident")
    ),
    "detect": Question(
        "accelwatch:run_interruption:detect_seconds", ("cluster", "vendor", "model", "cause", "run_id", "attempt")
    ),
    "interruptions": Question(
        "accelwatch:run_interruptions:count1h", ("cluster", "vendor", "model", "class", "outcome")
    ),
    "lost": Question(
        "accelwatch:run_interruptions:lost_device_seconds1h", ("cluster", "vendor", "model", "class", "outcome")
    ),
}  # fmt: skip
# What says of the fleet, or of devices by another name: matched as far as its labels go.
PARTLY = ("observable", "hours", "repair", "drills")
# A host's faults are those of all its devices, of whatever vendor and model they are; not of a part of them.
OF_ALL_DEVICES = ("cluster", "node", "vendor", "model")


class Match(NamedTuple):
    """`label=value`, or another of PromQL's operators."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{quoted(self.value)}"


class Window(NamedTuple):
    """Wall time, seconds. A recorded hour belongs to it where its sample stands: after `start`, `end` included."""

    start: float
    end: float


class Value(NamedTuple):
    """Of one series on one day of the window, days counted from 0."""

    name: str
    labels: Mapping[str, str]
    day: int
    value: float


def match(text: str) -> Match:
    """Raises `ValueError`."""
    found = _MATCH.fullmatch(text)
    if found is None or found[1] not in MATCHABLE:
        raise ValueError(
            f"--match: expected LABEL=VALUE (or !=, =~, !~) with one of {', '.join(MATCHABLE)}, got {text!r}"
        )
    return Match(*found.groups())


def left_out(matches: Sequence[Match]) -> list[str]:
    """The questions that cannot be asked so: their series do not have one of these labels."""

    def has(name: str, label: str) -> bool:
        question = QUESTIONS[name]
        return label in (OF_ALL_DEVICES if name == "host_episodes" else question.by + question.has)

    return [name for name in QUESTIONS if name not in PARTLY and not all(has(name, one.label) for one in matches)]


def asked(
    prometheus: Prometheus, window: Window, matches: Sequence[Match] = (), progress: Callable[[float], object] = bool
) -> Iterator[Value]:
    """All values, in no order. `progress`: told the share that is done. Raises `PrometheusError`."""
    omitted = left_out(matches)
    names = [name for name in QUESTIONS if name not in omitted]
    stretches = list(_stretches(window))
    jobs = [(name, stretch) for stretch in stretches for name in names]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # So few at a time that what waits to be read does not grow with the window.
        for start in range(0, len(jobs), AT_ONCE):
            batch = [
                pool.submit(_ask, prometheus, name, stretch, matches) for name, stretch in jobs[start : start + AT_ONCE]
            ]
            for answer in batch:
                yield from answer.result()
            progress(min(1.0, (start + AT_ONCE) / len(jobs)))


class _Stretch(NamedTuple):
    """Days that end at `first`, and each day after it until `last`. `seconds`: how long each of them is."""

    day: int
    first: float
    last: float
    seconds: float


def _stretches(window: Window) -> Iterator[_Stretch]:
    whole = int((window.end - window.start) / DAY + 1e-9)
    for day in range(0, whole, DAYS_AT_ONCE):
        last = min(whole, day + DAYS_AT_ONCE)
        yield _Stretch(day, window.start + (day + 1) * DAY, window.start + last * DAY, DAY)
    rest = window.end - window.start - whole * DAY
    if rest >= 1.0:
        yield _Stretch(whole, window.end, window.end, rest)


def _ask(prometheus: Prometheus, name: str, stretch: _Stretch, matches: Sequence[Match]) -> list[Value]:
    question = QUESTIONS[name]
    # A range takes in both its ends (Prometheus 3: its end alone): less a millisecond no sample is of two days.
    asked_for = [str(one) for one in matches if one.label in question.by + question.has]
    matchers = ",".join([*asked_for, question.only] if question.only else asked_for)
    text = (
        f"{question.across} by ({', '.join(question.by)}) "
        f"({question.over}({question.series}{{{matchers}}}[{round(stretch.seconds * 1000) - 1}ms]))"
    )
    try:
        found = prometheus.query_range(text, stretch.first, stretch.last, DAY)
    except PrometheusOverwhelmed as error:
        halves = _halves(stretch)
        if not halves:
            raise PrometheusError(
                f"{error}; even one day is too much: ask for less with --match, such as one cluster or vendor at a "
                "time, or raise --query.max-samples or --query.timeout of that Prometheus"
            ) from error
        return [value for half in halves for value in _ask(prometheus, name, half, matches)]
    return [
        Value(name, series.labels, stretch.day + round((at - stretch.first) / DAY), value)
        for series in found
        for at, value in series.values
    ]


def _halves(stretch: _Stretch) -> list[_Stretch]:
    days = round((stretch.last - stretch.first) / DAY) + 1
    if days == 1:
        return []
    early = days // 2
    return [
        stretch._replace(last=stretch.first + (early - 1) * DAY),
        stretch._replace(day=stretch.day + early, first=stretch.first + early * DAY),
    ]

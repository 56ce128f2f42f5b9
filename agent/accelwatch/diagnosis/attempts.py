"""Which attempts of a run Prometheus has, back to the end of its retention."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from accelwatch.diagnosis.facts import Attempt
from accelwatch.prometheus_api import Prometheus, Sample, selector

# Older than any retention in use: what is not stored costs nothing.
LOOK_BACK = "400d"
_LOOK_BACK_SECONDS = 400 * 86400.0
NEAREST = 5
# Attempts without a known end, of which the last sample is looked for.
LOST_LIMIT = 5
# The series that say that a run is, or was.
_OF_RUNS = ("accelwatch_run_devices", "accelwatch_run_end_timestamp_seconds")
_Key = tuple[str, str]


class NoSuchRun(Exception):
    """Prometheus has no series of it; the message names runs that it has."""


def find(prometheus: Prometheus, run_id: str, at: float, cluster: str | None) -> list[Attempt]:
    """All attempts that were known at `at`, the latest first. Raises `NoSuchRun`, `PrometheusError`."""
    of_run = selector(run_id=run_id) if cluster is None else selector(run_id=run_id, cluster=cluster)
    by = "by (cluster, attempt)"
    ends = f"accelwatch_run_end_timestamp_seconds{of_run} or accelwatch:run_interruption:end_timestamp_seconds{of_run}"
    seen_within = f"0 * last_over_time(accelwatch:run:devices{of_run}[1h]) + time()"
    answers = prometheus.ask(
        {
            "now": f"max {by} (timestamp(accelwatch_run_devices{of_run}))",
            # One series per attempt: the end of the last hour in which it has a sample.
            "seen": f"max {by} ({seen_within})",
            "seen_before": f"max {by} (max_over_time(({seen_within})[{LOOK_BACK}:1h]))",
            # Ends stay on the page for 24 hours.
            "first": f"min {by} ({ends})",
            "last": f"max {by} ({ends})",
            "first_before": f"min_over_time(min {by} ({ends})[{LOOK_BACK}:1h])",
            "last_before": f"max_over_time(max {by} ({ends})[{LOOK_BACK}:1h])",
        },
        at,
    )
    now = _by_key(answers["now"])
    first = _merged(min, _by_key(answers["first"]), _by_key(answers["first_before"]))
    last = _merged(max, _by_key(answers["last"]), _by_key(answers["last_before"]))
    hours = _merged(max, _by_key(answers["seen"]), _by_key(answers["seen_before"]))
    # To the sample only where nothing else says when it was over.
    lost = {key: hour for key, hour in hours.items() if key not in now and key not in last}
    seen = now | _last_samples(prometheus, of_run, lost)
    attempts = [
        Attempt(
            cluster=key[0],
            attempt=key[1],
            going=key in now,
            seen=seen.get(key),
            first_end=first.get(key),
            last_end=last.get(key),
        )
        for key in seen.keys() | first.keys()
    ]
    if not attempts:
        raise NoSuchRun(_nearest(prometheus, run_id, at, cluster))
    return sorted(attempts, key=lambda a: (a.going, a.latest, _natural(a.attempt)), reverse=True)


def chosen(attempts: list[Attempt], attempt: str | None) -> tuple[Attempt, tuple[Attempt, ...]]:
    """The one that is asked for, else the latest, and the others. Raises `NoSuchRun`."""
    wanted = next((a for a in attempts if attempt in (None, a.attempt)), None)
    if wanted is None:
        raise NoSuchRun(f"no attempt {attempt}; there are: {', '.join(a.attempt for a in attempts)}")
    return wanted, tuple(other for other in attempts if other is not wanted)


def _nearest(prometheus: Prometheus, run_id: str, at: float, cluster: str | None) -> str:
    matchers = "" if cluster is None else selector(cluster=cluster)
    known = prometheus.label_values("run_id", [name + matchers for name in _OF_RUNS], at - _LOOK_BACK_SECONDS, at)
    where = "" if cluster is None else f" in cluster {cluster}"
    if not known:
        return f"no run {run_id!r}{where}, and no other either: does it scrape the agents?"
    near = difflib.get_close_matches(run_id, known, NEAREST, cutoff=0.5)
    near += [name for name in known if run_id and run_id in name and name not in near]
    if near:
        return f"no run {run_id!r}{where}; nearest: {', '.join(near[:NEAREST])}"
    return f"no run {run_id!r}{where}, nor one that is called like it; {len(known)} runs are known"


def _by_key(samples: list[Sample]) -> dict[_Key, float]:
    return {(sample["cluster"], sample["attempt"]): sample.value for sample in samples}


def _last_samples(prometheus: Prometheus, of_run: str, hours: Mapping[_Key, float]) -> dict[_Key, float]:
    """When each was last seen, in the hour before the time that is given."""
    found: dict[_Key, float] = {}
    latest = sorted(hours, key=lambda key: hours[key], reverse=True)[:LOST_LIMIT]
    for hour in {hours[key] for key in latest}:
        question = f"max by (cluster, attempt) (max_over_time(timestamp(accelwatch:run:devices{of_run})[1h:15s]))"
        answer = _by_key(prometheus.query(question, hour))
        found |= {key: answer[key] for key in latest if hours[key] == hour and key in answer}
    return found


def _merged(
    choose: Callable[[float, float], float], one: Mapping[_Key, float], other: Mapping[_Key, float]
) -> dict[_Key, float]:
    return {
        key: choose(one.get(key, other.get(key, 0.0)), other.get(key, one.get(key, 0.0)))
        for key in one.keys() | other.keys()
    }


def _natural(attempt: str) -> tuple[float, str]:
    head = attempt.partition(".")[0].partition("s")[0]
    return (float(head) if head.isdecimal() else -1.0), attempt

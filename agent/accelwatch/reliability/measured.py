"""The report's inputs from a Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from accelwatch.prometheus_api import Prometheus, PrometheusError
from accelwatch.reliability import missing, observed, published
from accelwatch.reliability.cells import Inputs
from accelwatch.reliability.recorded import DAY, QUESTIONS, RECORDED_EVERY, Match, Window, asked, left_out
from accelwatch.reliability.tally import Tally

# A rate that changes shows in parts of a window: (from so many days on, so many days a part).
PERIODS = ((400, 91), (45, 30), (14, 7), (0, 1))


class NothingRecorded(PrometheusError):
    """Prometheus answers, but has no exposure of any device in the window."""


def read(
    prometheus: Prometheus,
    window: Window,
    matches: Sequence[Match] = (),
    *,
    every: float = RECORDED_EVERY,
    progress: Callable[[float], object] = bool,
) -> Inputs:
    """All that was recorded in the window. Raises `PrometheusError`."""
    days = (window.end - window.start) / DAY
    omitted = left_out(matches)
    period = next(length for least, length in PERIODS if days >= least)
    tally = Tally(window, period, every, hosts_asked="host_episodes" not in omitted)
    try:
        for value in asked(prometheus, window, matches, progress):
            tally.add(value)
    except ValueError as error:
        raise PrometheusError(f"{prometheus.url}: {error}; do other rules record under the same name?") from error
    names = observed.groups(tally)
    if not names:
        raise NothingRecorded(
            f"{prometheus.url}: no {QUESTIONS['exposure'].series} above 0 from {_time(window.start)} to "
            f"{_time(window.end)}{' with these --match' if matches else ''}. The rules of "
            "`accelwatch rules export` record it once an hour: are they loaded, has an hour passed, and does this "
            "Prometheus keep a past that long?"
        )
    fleets = observed.fleets(names, tally)
    lifetimes = observed.lifetimes(names, tally)
    return Inputs(
        title="Reliability of accelerators, as the agents counted it",
        produced=datetime.now(UTC).isoformat(timespec="seconds"),
        origin=prometheus.url,
        window=(_time(window.start), _time(window.end)),
        cells=observed.cells(names, tally),
        interruptions=observed.interruptions(names, tally),
        runs_counted="interruptions" not in omitted,
        fleets=fleets,
        durations=observed.durations(names, tally),
        lifetimes=lifetimes,
        published=published.figures(),
        notes=missing.notes(names, tally, fleets, lifetimes, matches, sorted(prometheus.warnings)),
    )


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

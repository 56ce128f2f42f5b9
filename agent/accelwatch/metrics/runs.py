"""Series of runs: those that go on, and for a day those that have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from accelwatch.metrics import catalogue as c
from accelwatch.metrics.exposition import Lines
from accelwatch.runs.activity import Activity
from accelwatch.runs.book import RunView
from accelwatch.runs.model import Outcome, RunRecord
from accelwatch.runs.stall import Verdict

# Ended runs stay on the page for so long, also after a restart (design.md, Metrics).
ENDED_SECONDS = 86400.0
_STATES = (Activity.BUSY, Activity.SPIN, Activity.QUIET)


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of runs. `ended`: counters by `outcome:cause`; `models`: by vendor and device label."""

    views: tuple[RunView, ...]
    ended: Mapping[str, float]
    models: Mapping[tuple[str, str], str]
    wall: float
    wall_of: Callable[[float], float]


def add_runs(lines: Lines, page: RunPage) -> None:
    """All series of runs."""
    for view in page.views:
        record = view.record
        if record.ended is None:
            _add_open(lines, record, view.verdict, page)
        elif record.ended_at is None or page.wall - page.wall_of(record.ended_at) < ENDED_SECONDS:
            _add_ended(lines, record, page.models)
    for labels, count in page.ended.items():
        outcome, _, cause = labels.partition(":")
        lines.add(c.RUNS_ENDED, (outcome, cause), count)


def _add_open(lines: Lines, record: RunRecord, verdict: Verdict | None, page: RunPage) -> None:
    run = (record.run_id, record.attempt)
    lines.add(c.RUN_INFO, (*run, record.launcher, record.partition, "true" if record.rank0 else "false"), 1)
    lines.add(c.RUN_DEVICES, run, len(record.devices))
    lines.add(c.RUN_WORLD_SIZE, run, record.world_size)
    if verdict is None:
        return
    lines.add(c.RUN_STALLED, run, None if verdict.level is None else int(verdict.level))
    lines.add(c.RUN_HANG_THRESHOLD, run, verdict.threshold)
    for key, activity in verdict.activities.items():
        if activity is Activity.UNKNOWN:
            continue
        device = _device(key, page.models)
        for state in _STATES:
            lines.add(c.DEVICE_ACTIVITY, (*device, state.value, *run), int(activity is state))
    for key, at in verdict.last_progress.items():
        lines.add(c.LAST_PROGRESS, (*_device(key, page.models), *run), round(page.wall_of(at), 1))


def _add_ended(lines: Lines, record: RunRecord, models: Mapping[tuple[str, str], str]) -> None:
    run = (record.run_id, record.attempt)
    first = record.devices[0] if record.devices else None
    outcome = (record.outcome or Outcome.UNKNOWN).value
    vendor, model = (first.vendor, first.model) if first is not None else ("", "")
    lines.add(c.RUN_END, (*run, outcome, vendor, model), record.ended)
    if record.cause is not None:
        device = record.cause_device or ""
        blamed = record.cause_vendor or vendor
        lines.add(
            c.RUN_CAUSE,
            (*run, record.cause, blamed, models.get((blamed, device), model), device),
            record.cause_wall if record.cause_wall is not None else record.ended,
        )
    lines.add(c.RUN_LOST, run, record.lost_device_seconds)


def _device(key: str, models: Mapping[tuple[str, str], str]) -> tuple[str, str, str]:
    vendor, _, label = key.partition("/")
    return vendor, label, models.get((vendor, label), "")

"""Which fault ended a run: judged on this node, from its episodes (design.md, Faults: the cause window).

What happened on other nodes is for the recording rules: they join on (cluster, run_id, attempt).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from accelwatch.faults.episode import Episode
from accelwatch.readings.severity import Severity
from accelwatch.runs.model import Outcome, RunRecord, Suspect
from accelwatch.taxonomy.model import Kind

# A fault works on a run for minutes before the run stands still: retries, a link that is given up after its own
# time-outs. What struck earlier did not stop it (reference/reliability.md section 3).
BEFORE_ONSET_SECONDS = 900.0
# Drivers and logs tell of a fault after the process died of it.
AFTER_END_SECONDS = 60.0
# By then the slowest tier that a fault is read from has been read.
FINAL_AFTER_SECONDS = 300.0

UNKNOWN, OPERATOR, SOFTWARE_JOB, HANG = "unknown", "operator", "software_job", "hang_no_error"
# Ends of a process's own making: abort, segmentation fault and their like. Without a fault they are the job's.
_OWN_SIGNALS = ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")

KindOf = Callable[[str], Kind]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The episode that stands for the cause; without one, a class that follows from how the run ended."""

    class_: str
    episode: Episode | None = None


def judge(
    run: RunRecord, episodes: Iterable[Episode], kinds: Mapping[str, Kind] | KindOf, now: float, operator: bool = False
) -> RunRecord:
    """The ended run with cause, suspects and lost device-seconds as far as they are known at `now` (steady seconds).

    `kinds`: what the taxonomy says of a class. `operator`: the scheduler says that somebody ended it. To be called at
    the end and until `cause_final`: until then only a fault is named, never that there was none. A run that completed
    has no cause. Raises `ValueError` for a run that goes on, `KeyError` for a class that is not in the taxonomy.
    """
    if run.ended_at is None or run.ended is None:
        raise ValueError(f"run {run.run_id} attempt {run.attempt} has not ended")
    final = now >= _end(run) + FINAL_AFTER_SECONDS
    if run.outcome is Outcome.COMPLETED:
        return msgspec.structs.replace(run, cause_final=True, suspects=(), lost_device_seconds=None)
    kind_of = kinds.__getitem__ if isinstance(kinds, Mapping) else kinds
    found = [e for e in episodes if e.class_ != UNKNOWN and not e.historical and not e.drill and _touches(run, e)]
    onset = _onset(run, [e for e in found if kind_of(e.class_) is Kind.SYMPTOM])
    found = [e for e in found if _within(run, e, onset)]
    judged = _cause(run, found, kind_of, onset, operator, final)
    episode = judged.episode if judged is not None else None
    hardware = episode is not None and _kind(episode, kind_of) is Kind.CAUSE
    return msgspec.structs.replace(
        run,
        cause=None if judged is None else judged.class_,
        cause_vendor=None if episode is None else episode.vendor,
        cause_device=None if episode is None else episode.device,
        cause_code=None if episode is None else episode.code,
        cause_wall=None if judged is None else run.ended if episode is None else episode.first_wall,
        cause_final=final,
        suspects=() if hardware else _suspects(found, kind_of),
        lost_device_seconds=None if run.onset_at is None else len(run.devices) * max(0.0, run.ended_at - run.onset_at),
    )


def _cause(
    run: RunRecord, found: list[Episode], kind_of: KindOf, onset: float, operator: bool, final: bool
) -> Judged | None:
    ending = [e for e in found if e.severity is Severity.RUN_ENDING and not e.echo]
    by_kind = {kind: [e for e in ending if _kind(e, kind_of) is kind] for kind in Kind}
    if by_kind[Kind.CAUSE]:
        return _of(min(by_kind[Kind.CAUSE], key=lambda e: (-e.rank, abs(_struck(e, run, onset) - onset))))
    if operator:
        return Judged(class_=OPERATOR)
    if by_kind[Kind.APPLICATION]:
        return _of(min(by_kind[Kind.APPLICATION], key=lambda e: (abs(_struck(e, run, onset) - onset), -e.rank)))
    if not final:
        return None  # a fault may still be read, and what follows is only the lack of one
    if by_kind[Kind.SYMPTOM]:
        return _of(min(by_kind[Kind.SYMPTOM], key=lambda e: (-e.rank, e.first_at)))
    if run.outcome is Outcome.HUNG:
        return Judged(class_=HANG)
    if run.outcome is Outcome.FAILED and any(name in run.detail for name in _OWN_SIGNALS):
        return Judged(class_=SOFTWARE_JOB)
    return Judged(class_=UNKNOWN)


def _of(episode: Episode) -> Judged:
    return Judged(class_=episode.class_, episode=episode)


def _kind(episode: Episode, kind_of: KindOf) -> Kind:
    """An episode that several devices of the run showed at once is the application's, whatever its class."""
    return Kind.APPLICATION if episode.application else kind_of(episode.class_)


def _suspects(found: list[Episode], kind_of: KindOf) -> tuple[Suspect, ...]:
    degrading = [e for e in found if e.severity is Severity.DEGRADING and _kind(e, kind_of) is Kind.CAUSE]
    degrading.sort(key=lambda e: (-e.rank, e.first_at))
    suspects = [Suspect(class_=e.class_, vendor=e.vendor, device=e.device, code=e.code) for e in degrading]
    return tuple(dict.fromkeys(suspects))


def _touches(run: RunRecord, episode: Episode) -> bool:
    """On one of its devices, on the host, or said of this very run."""
    if episode.device is None:
        return episode.run_id is None or (episode.run_id == run.run_id and episode.attempt in (None, run.attempt))
    return any((d.vendor, d.device) == (episode.vendor, episode.device) for d in run.devices)


def _onset(run: RunRecord, symptoms: list[Episode]) -> float:
    """Steady seconds: the last progress; else when the wait began that a symptom tells of; else the end."""
    if run.onset_at is not None:
        return run.onset_at
    assert run.ended_at is not None  # noqa: S101
    latest = _end(run) + AFTER_END_SECONDS
    waits = [s.onset_at for s in symptoms if s.onset_at is not None and run.started_at <= s.first_at <= latest]
    return max(run.started_at, min([run.ended_at, *waits]))


def _within(run: RunRecord, episode: Episode, onset: float) -> bool:
    """Whether it struck in the window; before the run began only what still held when it did."""
    latest = _end(run) + AFTER_END_SECONDS
    earliest = onset - BEFORE_ONSET_SECONDS
    if any(max(earliest, run.started_at) <= at <= latest for at in _times(episode)):
        return True
    lasted = any(c.lasting for c in episode.conditions.values()) and (
        episode.cleared_at is None or episode.cleared_at > run.started_at
    )
    return earliest <= episode.first_at < run.started_at and lasted


def _struck(episode: Episode, run: RunRecord, onset: float) -> float:
    """Of the times at which it struck, the one that the window holds and that is nearest to the onset."""
    latest = _end(run) + AFTER_END_SECONDS
    times = [at for at in _times(episode) if onset - BEFORE_ONSET_SECONDS <= at <= latest]
    return min(times or [episode.first_at], key=lambda at: abs(at - onset))


def _times(episode: Episode) -> list[float]:
    """When it happened: its first sign, and later ones of what happens anew rather than lasts."""
    return [episode.first_at, *(c.last_at for c in episode.conditions.values() if not c.lasting)]


def _end(run: RunRecord) -> float:
    """When the end was seen at the latest."""
    end = run.ended_by_at if run.ended_by_at is not None else run.ended_at
    assert end is not None  # noqa: S101
    return end

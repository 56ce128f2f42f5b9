"""The runs of this node with all that is known of them: who holds what, who stands still, how each ended and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set

import msgspec

from accelwatch.faults.episode import Episode
from accelwatch.faults.sign import Finding, Sign
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.process import HostProcess, ProcessExit
from accelwatch.readings.severity import Severity
from accelwatch.runs import cause, idle, slow, stall
from accelwatch.runs.activity import Activity
from accelwatch.runs.attempt import Progress
from accelwatch.runs.holding import HeldDevice
from accelwatch.runs.idle import Floor
from accelwatch.runs.model import RunRecord, RunRef
from accelwatch.runs.sample import Sample, Work
from accelwatch.runs.signs import hang, name_of, over
from accelwatch.runs.signs import slow as slow_sign
from accelwatch.runs.stall import Level, Verdict
from accelwatch.runs.tracker import RunTracker, TrackerState
from accelwatch.runs.work import Works
from accelwatch.taxonomy.loader import Taxonomy
from accelwatch.taxonomy.model import Kind

# A fault accuses a stall while it is active, and for ten minutes after (reference/reliability.md section 4.4).
CAUSE_SECONDS = 600.0
# Before its end a run may have waited for the longest time-out that a user sets; HCCL's goes up to 7,200 s by itself.
LONGEST_WAIT_SECONDS = 7200.0


class BookState(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal keeps, as JSON. `stalls` by run id and attempt, `floors` by `Sample.key`."""

    tracker: TrackerState = TrackerState()
    stalls: dict[str, stall.State] = {}
    slow: dict[str, slow.State] = {}
    floors: dict[str, Floor] = {}


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it is shown; `verdict` is `None` once it has ended, or before its devices were read."""

    record: RunRecord
    verdict: Verdict | None = None


class News(msgspec.Struct, kw_only=True):
    """What a step brought: records for the journal, signs for the ledger, and ends whose cause is now final."""

    records: list[RunRecord] = []
    findings: list[Finding] = []
    final: list[RunRecord] = []


class RunBook:
    """Not for several threads at once; told the time."""

    def __init__(
        self,
        node: str,
        taxonomy: Taxonomy,
        state: BookState | None = None,
        own_pid: int | None = None,
        key_of: Callable[[str, str], DeviceKey | None] = lambda _vendor, _label: None,
    ) -> None:
        """`own_pid`: of the agent, whose children are no runs; `key_of`: the device of a vendor and label."""
        state = state or BookState()
        self._taxonomy = taxonomy
        self._key_of = key_of
        self.tracker = RunTracker(node, state.tracker, own_pid)
        self._stalls = dict(state.stalls)
        self._slow = dict(state.slow)
        self._floors = dict(state.floors)
        self._samples: dict[str, Sample] = {}
        self._processes: dict[int, HostProcess] = {}
        self._processes_at = 0.0
        self._works = Works()
        self._verdicts: dict[RunRef, Verdict] = {}
        self._hanging: dict[RunRef, Sign] = {}
        self._slowing: dict[tuple[RunRef, str], Sign] = {}

    def state(self) -> BookState:
        """What to keep."""
        return BookState(tracker=self.tracker.state(), stalls=self._stalls, slow=self._slow, floors=self._floors)

    def views(self) -> list[RunView]:
        """Open runs, then those that ended within the last day."""
        open_runs = [RunView(record=record, verdict=self._verdicts.get(record.ref)) for record in self.tracker.open]
        return open_runs + [RunView(record=record) for record in self.tracker.ended]

    def run_of_pid(self, pid: int) -> tuple[RunRef, tuple[tuple[str, str], ...]] | None:
        """The run that a process belongs to, and the devices that it holds (vendor and label)."""
        for record in self.tracker.open:
            for member in self.tracker.members(record.ref):
                if member.pid == pid:
                    return record.ref, member.devices
        return None

    # --- what comes in

    def sampled(self, samples: Sequence[Sample]) -> None:
        """New readings of devices, whoever holds them."""
        self._floors = idle.observe(self._floors, samples)
        self._samples.update((sample.key, sample) for sample in samples)

    def looked(self, processes: Sequence[HostProcess], devices: Sequence[HeldDevice], now: float, wall: float) -> News:
        """A new view of /proc."""
        self._processes = {process.pid: process for process in processes}
        self._processes_at = now
        return self._tracked(processes, devices, (), now, wall)

    def exited(self, exits: Iterable[ProcessExit], now: float, wall: float) -> News:
        """Processes have ended; `at` of each in steady seconds."""
        return self._tracked(None, (), exits, now, wall)

    def tick(
        self,
        devices: Sequence[HeldDevice],
        lost: Set[tuple[str, str]],
        since: Callable[[float], Sequence[Episode]],
        now: float,
        wall: float,
    ) -> News:
        """Judges stalls and causes anew.

        `lost`: vendor and label of devices that do not answer; `since` gives the episodes that were active at or
        after a moment in steady seconds.
        """
        news = self._tracked(None, devices, (), now, wall)
        if self.tracker.open:
            recent = since(now - CAUSE_SECONDS)
            holders = {device.key: device.pids for device in devices if device.key not in lost}
            for record in self.tracker.open:
                self._judge_stall(record, recent, holders, now, news)
        for record in self.tracker.ended:
            if not record.cause_final and record.ended_at is not None:
                onset = min(record.ended_at - LONGEST_WAIT_SECONDS, record.onset_at or record.ended_at)
                self._judge_cause(record, since(onset - cause.BEFORE_ONSET_SECONDS), now, news)
        return news

    # --- inside

    def _tracked(
        self,
        processes: Sequence[HostProcess] | None,
        devices: Sequence[HeldDevice],
        exits: Iterable[ProcessExit],
        now: float,
        wall: float,
    ) -> News:
        progress = {ref: _progress(verdict) for ref, verdict in self._verdicts.items()}
        changes = self.tracker.step(processes, devices, exits, now, wall, progress)
        news = News(records=[*changes.started, *changes.changed, *changes.ended])
        for record in changes.ended:
            self._verdicts.pop(record.ref, None)
            self._works.forget(record.ref)
            self._stalls.pop(name_of(record.ref), None)
            self._slow.pop(name_of(record.ref), None)
            for told in [key for key in self._slowing if key[0] == record.ref]:
                news.findings.append(over(self._slowing.pop(told), now, "the run has ended"))
            hanging = self._hanging.pop(record.ref, None)
            if hanging is not None:
                news.findings.append(over(hanging, now, "the run has ended"))
        return news

    def _judge_stall(
        self,
        record: RunRecord,
        episodes: Sequence[Episode],
        pids: Mapping[tuple[str, str], tuple[int, ...] | None],
        now: float,
        news: News,
    ) -> None:
        members = self.tracker.members(record.ref)
        work = self._works.of(record, members, self._processes, self._processes_at, pids)
        if work is None:
            return
        causes = {
            None if e.device is None else f"{e.vendor}/{e.device}": e.first_at
            for e in episodes
            if self._ends_runs(e) and _touches(record, e)
        }
        state, verdict = stall.step(
            self._stalls.get(name_of(record.ref)),
            [sample for key in work.devices if (sample := self._samples.get(key)) is not None],
            work,
            now,
            floors=self._floors,
            active_cause=any(e.active and self._ends_runs(e) and _touches(record, e) for e in episodes),
        )
        self._stalls[name_of(record.ref)] = state
        self._verdicts[record.ref] = verdict
        hanging = self._hanging.get(record.ref)
        if verdict.level is Level.HANG:
            self._hanging[record.ref] = sign = hang(record, verdict, causes, now)
            news.findings.append(sign)
        elif verdict.level is Level.NONE and hanging is not None:
            del self._hanging[record.ref]
            news.findings.append(over(hanging, now, "the run goes on"))
        self._judge_pace(record, work, verdict, now, news)

    def _judge_pace(self, record: RunRecord, work: Work, verdict: Verdict, now: float, news: News) -> None:
        stands = verdict.level is not Level.NONE or verdict.pause is not None
        before = self._slow.get(name_of(record.ref))
        if before is not None and not stands and 0 <= now - before.at < slow.LOOK_SECONDS:
            return
        readings = {
            key: slow.values(sample, verdict.activities.get(key, Activity.UNKNOWN))
            for key in work.devices
            if (sample := self._samples.get(key)) is not None
        }
        state, stragglers = slow.step(before, readings, now, stalled=stands)
        self._slow[name_of(record.ref)] = state
        stragglers = tuple(straggler for straggler in stragglers if straggler.of_pace)
        for straggler in stragglers:
            key = self._key_of(*straggler.device.split("/", 1))
            if key is not None:
                self._slowing[(record.ref, straggler.device)] = sign = slow_sign(record, straggler, key, now)
                news.findings.append(sign)
        behind = {straggler.device for straggler in stragglers}
        for told in [key for key in self._slowing if key[0] == record.ref and key[1] not in behind]:
            news.findings.append(over(self._slowing.pop(told), now, "it keeps pace with its peers again"))

    def _judge_cause(self, record: RunRecord, episodes: Sequence[Episode], now: float, news: News) -> None:
        judged = cause.judge(record, episodes, lambda name: self._taxonomy.class_(name).kind, now)
        if judged == record:
            return
        self.tracker.replace(judged)
        news.records.append(judged)
        if judged.cause_final:
            news.final.append(judged)

    def _ends_runs(self, episode: Episode) -> bool:
        return (
            episode.severity is Severity.RUN_ENDING
            and self._taxonomy.class_(episode.class_).kind is Kind.CAUSE
            and not (episode.echo or episode.application or episode.historical or episode.drill)
        )


def _touches(record: RunRecord, episode: Episode) -> bool:
    if episode.device is None:
        return episode.run_id in (None, record.run_id)
    return any((d.vendor, d.device) == (episode.vendor, episode.device) for d in record.devices)


def _progress(verdict: Verdict) -> Progress:
    stalled = verdict.level is not None and verdict.level >= Level.WARN
    last = verdict.since if stalled and verdict.since is not None else max(verdict.last_progress.values(), default=None)
    return Progress(last_at=last, stalled=stalled)

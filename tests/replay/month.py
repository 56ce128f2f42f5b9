"""Weeks of ordinary work replayed through the agent's core with a fake clock: `make month` runs 30 days per vendor.

Whatever ends a run in it is a job's own failure, so every other run-ending episode, and every warning of a hang, is a
false alarm. All of it is drawn from a seed.

A day is replayed with readings every 10 s, about every 30 s where jobs just go on with what they do for minutes, and in
stretches of minutes at the agent's default intervals (NVML each second with a full reading every ten, network ports and
processes every 5 s). Detectors are told the default intervals
throughout, so none waits longer before it speaks than it would live.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.faults.episode import Episode
from accelwatch.journal.changes import Pending
from accelwatch.journal.store import Store
from accelwatch.readings.severity import Severity
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.runs.model import RunRecord, RunRef
from accelwatch.taxonomy.loader import Taxonomy, load
from accelwatch.taxonomy.model import Kind

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from replay.boards import A2, A3, H100, Model  # type: ignore[import-not-found]
    from replay.jobs import OUTCOMES, Job  # type: ignore[import-not-found]
    from replay.machine import DAY, Machine  # type: ignore[import-not-found]
    from replay.operations import events  # type: ignore[import-not-found]
else:
    from .boards import A2, A3, H100, Model
    from .jobs import OUTCOMES, Job
    from .machine import DAY, Machine
    from .operations import events

ROUND_SECONDS, STEADY_SECONDS = 10.0, (18.0, 42.0)
INTERVALS = {"nvml": 1.0, "npu_smi": 10.0, "hccn_tool": 10.0, "rdma": 5.0, "processes": 5.0}


class MachineClock:
    """The machine's clocks, as the agent sees them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def monotonic(self) -> float:
        return self.machine.monotonic

    def time(self) -> float:
        return self.machine.wall


@dataclass(frozen=True)
class Warned:
    """A run that was said to stand still. `doing`: what its job did."""

    day: float
    run: str
    level: int
    kind: str
    doing: str
    lasted: float
    devices: int


@dataclass
class Month:
    """What came of it. `episodes`: every one that was opened, as it stood last."""

    episodes: dict[int, Episode] = field(default_factory=dict)
    runs: dict[RunRef, RunRecord] = field(default_factory=dict)
    warned: list[Warned] = field(default_factory=list)
    wrong_outcomes: list[tuple[str, str, str]] = field(default_factory=list)
    ingredients: Counter[str] = field(default_factory=Counter)
    readings: int = 0
    days: float = 0.0

    def of(self, severity: Severity) -> list[Episode]:
        return [e for e in self.episodes.values() if e.severity is severity and not e.historical]

    def false_endings(self, taxonomy: Taxonomy) -> list[Episode]:
        """Run-ending episodes of anything but a job's own failure."""
        return [
            e
            for e in self.of(Severity.RUN_ENDING)
            if not (e.application or taxonomy.class_(e.class_).kind is Kind.APPLICATION)
        ]


class Replay:
    """One node for some days. `directory`: for the journal, which is written when the agent ends."""

    def __init__(self, machine: Machine, directory: Path, seed: int) -> None:
        self.machine = machine
        self.directory = directory
        self.rng = random.Random(seed)
        self.result = Month()
        self.taxonomy = load()
        self.pending = Pending()
        self.full: tuple[Device, ...] = ()
        self.progress = False
        self._told_days = 1.0
        self.muted: dict[str, int] = {}  # polls of a source that fail yet
        self._levels: dict[RunRef, int] = {}
        self._follow: list[tuple[float, Job]] = []
        self.core = self._start(first=True)

    # --- the agent

    def _start(self, first: bool = False) -> Core:
        """A new agent on what the journal holds."""
        store = Store(self.directory)
        store.write(self.pending.changes())
        self.pending = Pending()
        loaded = store.load(self.machine.wall)
        store.close()
        assert not loaded.problems
        clock = SteadyClock(MachineClock(self.machine), self.machine.boot_id, loaded.clock)
        core = Core(clock, loaded, self.taxonomy, node_name="node-1", boot_id=self.machine.boot_id)
        new_boot = first or loaded.clock is None or loaded.clock.boot_id != self.machine.boot_id
        records = self.machine.records(everything=True) if new_boot else self.machine.unread()
        if records is not None:
            core.kernel_records(records)
        return core

    def start_anew(self) -> None:
        """The host has booted: an agent begins on what was committed."""
        self.core = self._start()
        self.full = ()

    def restart_agent(self, away: float) -> None:
        """Stopped, and started again after so many seconds in which the node goes on."""
        self.commit(everything=True)
        while away > 0:
            self.machine.pass_time(min(away, ROUND_SECONDS))
            away -= ROUND_SECONDS
        self.core = self._start()
        self.full = ()

    def commit(self, everything: bool = False) -> None:
        changes = self.core.take_changes(everything)
        if changes.empty:
            return
        self.pending.add(changes)
        self.result.episodes.update((e.id, e) for e in changes.episodes)
        self.result.runs.update((run.ref, run) for run in changes.runs)

    # --- time

    def run(self, seconds: float, dense: bool = False) -> None:
        """Ordinary time; `dense`: at the default intervals."""
        until = self.result.days + seconds / DAY
        while self.result.days < until:
            self._tell_progress()
            if not dense:
                # Not in step with what a job repeats: a reading each 30 s sees the same second of a 30 s swing for ever.
                self.advance(self.rng.uniform(*STEADY_SECONDS) if self.machine.steady else ROUND_SECONDS)
                self.read(self.list_source, self._listed)
                self.read("rdma" if self.machine.nvidia else "hccn_tool", self.machine.links)
                self.read("processes", self.machine.processes)
                self.end_round()
                continue
            for second in range(int(ROUND_SECONDS)):
                self.advance(1.0)
                if self.machine.nvidia:
                    self.read("nvml", self._listed if second == 0 or not self.full else self._fast)
                    if second % 5 == 1:
                        self.read("rdma", self.machine.links)
                elif second == 0:
                    self.read("npu_smi", self._listed)
                elif second == 4:
                    self.read("hccn_tool", self.machine.links)
                if second % 5 == 2:
                    self.read("processes", self.machine.processes)
                self.end_round()

    @property
    def list_source(self) -> str:
        return "nvml" if self.machine.nvidia else "npu_smi"

    def _tell_progress(self) -> None:
        """A line a day for who waits, on standard error."""
        if self.progress and self.result.days >= self._told_days:
            self._told_days += 1.0
            false, warned = len(self.result.false_endings(self.taxonomy)), len(self.result.warned)
            told = f"day {self.result.days:.0f}: {len(self.result.runs)} runs, false endings {false}, warnings {warned}"
            print(f"{self.machine.model.name}, {told}", file=sys.stderr, flush=True)

    def advance(self, seconds: float) -> None:
        self.result.days += seconds / DAY
        exits = self.machine.pass_time(seconds)
        records = self.machine.records()
        if records is not None:
            self.core.kernel_records(records)
        if exits:
            self.core.exits(exits)

    def end_round(self) -> None:
        self.core.tick()
        self.commit()
        self._watch()

    def read(self, source: str, read: Callable[[], Snapshot]) -> None:
        left = self.muted.get(source, 0)
        if left:
            self.muted[source] = left - 1
            self.core.silent(source, f"{source}: it did not answer within its deadline", timed_out=True)
            return
        self.result.readings += 1
        self.core.answered(source, read(), INTERVALS[source])

    def _listed(self) -> Snapshot:
        self.full = self.machine.devices()
        devices = self.full
        if not self.machine.nvidia and self.rng.random() < 1e-4:  # a table that was cut
            self.machine.count("npu-smi table cut")
            kept = devices[: self.rng.randrange(1, len(devices))]
            devices = (*kept[:-1], msgspec.structs.replace(kept[-1], processes=None))
            return Snapshot(devices=devices, complete=False, problems=("npu-smi info: the table is cut",))
        return Snapshot(devices=devices, devices_on_bus=None if self.machine.nvidia else len(devices))

    def _fast(self) -> Snapshot:
        devices = tuple(b.fast(old) for b, old in zip(self.machine.boards, self.full, strict=True))
        return Snapshot(devices=devices)

    # --- what came of it

    def _watch(self) -> None:
        for view in self.core.runs.views():
            record = view.record
            if record.ended is not None:
                continue
            level = int(view.verdict.level or 0) if view.verdict is not None else 0
            if level > self._levels.get(record.ref, 0) and view.verdict is not None:
                devices = {f"{d.vendor}/{d.device}" for d in record.devices}
                job = next((j for j in self.machine.jobs if record.run_id == j.name), None)
                if job is None:
                    pids = {d.pid for d in record.devices}
                    job = next((j for j in self.machine.jobs if pids & {r.pid for r in j.ranks}), None)
                since = view.verdict.since
                self._warn(
                    Warned(
                        day=round(self.result.days, 3),
                        run=record.run_id,
                        level=level,
                        kind=job.kind if job is not None else "none",
                        doing=job.phase.name if job is not None and job.phase is not None else "none",
                        lasted=0.0 if since is None else self.core._clock.now() - since,
                        devices=len(devices),
                    )
                )
            self._levels[record.ref] = level

    def _warn(self, warned: Warned) -> None:
        self.result.warned.append(warned)
        if self.progress:
            print(warned, file=sys.stderr, flush=True)

    def finish(self) -> Month:
        self.commit(everything=True)
        self.result.ingredients.update(self.machine.ingredients)
        by_name = {}
        for ref, record in self.result.runs.items():
            by_name.setdefault(ref.run_id, []).append(record)
        for job, _ in self.machine.ended:
            if job.world is None:
                continue
            for record in by_name.get(job.name, ()):
                told = record.outcome.value if record.outcome is not None else "open"
                if told not in (OUTCOMES[job.end], "unknown"):
                    self.result.wrong_outcomes.append((job.name, OUTCOMES[job.end], told))
        return self.result


def live(
    model: Model,
    devices: int,
    days: float,
    seed: int,
    directory: Path,
    dense_seconds: float = 2400.0,
    progress: bool = False,
) -> Month:
    """A node of this model for so many days. `dense_seconds`: the longest stretch at the default intervals."""
    machine = Machine(model, devices, seed)
    replay = Replay(machine, directory, seed + 1)
    replay.progress = progress
    plan = sorted(events(replay, days, random.Random(seed + 2), dense_seconds), key=lambda event: event[0])
    for at, what, how in plan:
        if at / DAY > replay.result.days:
            replay.run(at - replay.result.days * DAY)
        machine.count(what)
        how()
    if days > replay.result.days:
        replay.run((days - replay.result.days) * DAY)
    return replay.finish()


def told(name: str, month: Month, taxonomy: Taxonomy, seconds: float) -> list[str]:
    """The figures, in lines."""
    lines = [f"{name}: {month.days:.1f} days, {month.readings} readings, {len(month.runs)} runs, {seconds:.0f} s"]
    false = month.false_endings(taxonomy)
    lines.append(f"  run-ending episodes that no job brought upon itself: {len(false)}")
    lines += [f"    FALSE {e.class_} {e.vendor}/{e.device} {e.code or ''}: {e.message}" for e in false]
    lines.append(f"  warnings of a hang: {len(month.warned)}")
    lines += [f"    FALSE {warned}" for warned in month.warned]
    for severity in (Severity.RUN_ENDING, Severity.DEGRADING, Severity.INFORMATIONAL):
        classes = Counter(e.class_ for e in month.of(severity))
        lines.append(f"  {severity.value}: {sum(classes.values())} {dict(classes.most_common())}")
    lines += [f"    {e.class_} {e.device}: {e.message}"[:160] for e in month.of(Severity.DEGRADING)]
    outcomes = Counter(f"{r.outcome.value if r.outcome else 'open'}" for r in month.runs.values())
    lines.append(f"  outcomes of runs: {dict(outcomes)}; wrong: {month.wrong_outcomes}")
    lines.append(f"  causes: {dict(Counter(r.cause for r in month.runs.values()))}")
    lines.append(f"  ingredients: {dict(sorted(month.ingredients.items()))}")
    return lines


NODES: dict[str, Sequence[tuple[Model, int, float]]] = {  # model, devices, share of the days
    "nvidia": ((H100, 8, 1.0),),
    "ascend": ((A2, 8, 0.5), (A3, 16, 0.5)),
}


def main() -> int:
    """Prints the figures; status 1 where anything was told that was not so."""
    parser = argparse.ArgumentParser(description="Replays weeks of ordinary work through the agent's core.")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("vendors", nargs="*", metavar="VENDOR", help=", ".join(NODES))
    options = parser.parse_args()
    if odd := set(options.vendors) - set(NODES):
        parser.error(f"no vendor {', '.join(sorted(odd))}; expected {', '.join(NODES)}")
    taxonomy, bad = load(), False
    for vendor in options.vendors or list(NODES):
        for number, (model, devices, share) in enumerate(NODES[vendor]):
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as directory:
                seed = options.seed * 1000 + number
                month = live(model, devices, options.days * share, seed, Path(directory), progress=True)
            print("\n".join(told(f"{vendor} {model.name} x {devices}", month, taxonomy, time.perf_counter() - started)))
            bad = bad or bool(month.false_endings(taxonomy) or month.warned or month.wrong_outcomes)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())

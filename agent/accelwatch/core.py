"""What follows from readings: detectors, episodes, runs, exposure. No threads, no I/O, no clock of its own ticking.

The agent feeds it live, a replay feeds it at any speed; both get the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence, Set

import msgspec

from accelwatch import maintenance as planned_work
from accelwatch.clock import SteadyClock
from accelwatch.config import Expect, RemediationHook
from accelwatch.detectors.base import Answered, Context, Known, Logged, Reading, Silent, Tick
from accelwatch.detectors.registry import DETECTORS
from accelwatch.faults.clearing import Evidence
from accelwatch.faults.episode import Episode
from accelwatch.faults.ledger import Ledger
from accelwatch.faults.resets import ResetWatch
from accelwatch.faults.sign import Finding, Sign
from accelwatch.journal.changes import Changes
from accelwatch.journal.rows import DeviceRow
from accelwatch.journal.store import Loaded
from accelwatch.kernel_time import KernelTimes
from accelwatch.logs.kernel import KernelReader
from accelwatch.maintenance import Maintenance
from accelwatch.metrics.faults import DeviceCounts, FaultView
from accelwatch.metrics.remediation import RemediationPage
from accelwatch.metrics.runs import RunPage
from accelwatch.node import LISTED_BY, Node
from accelwatch.pager.notice import Candidate
from accelwatch.pager.standing import candidates
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.kernel import KernelRecords
from accelwatch.readings.log_event import Entry
from accelwatch.readings.process import ProcessExit
from accelwatch.readings.snapshot import Snapshot, read_anew
from accelwatch.reliability.exposure import BUSY_UTILIZATION, ExposureMeter, Seen
from accelwatch.remediation.keeper import Keeper
from accelwatch.runs import feed
from accelwatch.runs.book import BookState, News, RunBook
from accelwatch.runs.model import RunRecord, RunRef
from accelwatch.taxonomy.loader import Taxonomy

# Exposure and detector states go to disk this often, when no fault takes them along sooner.
KEEP_SECONDS = 15.0
EPISODES_COUNTER = "fault_episodes"
EXPOSURE_COUNTER = "device_exposure_seconds"
HOST_OWNER = "host"
RUNS_STATE, RUNS_COUNTER = "runs", "runs_ended"
REMEDIATIONS_COUNTER = "remediations"
TICK_SECONDS = 0.9
# Active episodes, and those that were cleared within the hour: a storm must not make the page grow without end.
# The worst come first; with so many, and as many ended runs as are shown, a page of 16 devices stays within 20 kB.
SHOWN_EPISODES = 150


class Core:
    """One node. Not for several threads at once."""

    def __init__(
        self,
        clock: SteadyClock,
        loaded: Loaded,
        taxonomy: Taxonomy,
        *,
        node_name: str,
        boot_id: str,
        expect: Expect | None = None,
        kernel_clock: bool = True,
        own_pid: int | None = None,
    ) -> None:
        """`kernel_clock`: the kernel log's seconds are this host's (a file of records has a time of its own).

        `own_pid`: of the agent, whose children hold devices and are no runs.
        """
        self.clock = self._clock = clock
        self.expect = expect or Expect()
        self.taxonomy = taxonomy
        self.node = Node(clock, loaded.devices, loaded.counters, loaded.links_seen_up)
        self.ledger = Ledger(taxonomy, node_name, loaded.episodes, loaded.next_episode_id, self._count_episode)
        self.remediations = Keeper(
            taxonomy,
            node_name,
            loaded.remediations,
            loaded.next_remediation_id,
            known=loaded.read,
            counted=lambda outcome: self.node.count(HOST_OWNER, REMEDIATIONS_COUNTER, outcome.value, 1),
        )
        self._states = {detector.name: _restored(detector, loaded.states) for detector in DETECTORS}
        self._kept_states = dict(self._states)
        self._kernel = KernelReader()
        self._times = KernelTimes(clock, shared=kernel_clock)
        self._first_start = "kernel_log" not in loaded.cursors
        self.cursors = dict(loaded.cursors)  # of all sources, the newest
        self._cursors: dict[str, str] = {}  # those that moved since the last commit
        self.runs = RunBook(node_name, taxonomy, _book_state(loaded), own_pid, self.node.key_of)
        self._records: dict[RunRef, RunRecord] = {}  # changed since the last commit
        kept = loaded.clock
        booted = kept is not None and kept.boot_id != boot_id
        self._resets = ResetWatch(max(kept.steady, clock.offset) if kept is not None and booted else None)
        self._exposure = ExposureMeter()
        self._maintenance = planned_work.restored(loaded.states)
        self._kept_maintenance = self._maintenance
        self._silent_since: dict[str, float] = {}
        # Who holds what by vendor and label, the inventory, and both together: asked for several times a second.
        self._holders: tuple[object, object, Mapping[DeviceKey, RunRef]] | None = None
        self._kept_at = clock.now()
        self._ticked_at = self._heard_at = clock.now() - TICK_SECONDS

    # --- what comes in

    def answered(self, source: str, snapshot: Snapshot, interval: float) -> None:
        """A source has answered."""
        now = self._clock.now()
        self._silent_since.pop(source, None)
        before = self.node.snapshot(source)
        missing = self.node.update(source, snapshot)
        self._resets.observe(before, snapshot, now)
        if snapshot.cursor is not None:
            self._moved(source, snapshot.cursor)
        if source in LISTED_BY:
            self._expose(source, snapshot, now, interval)
            labels = {key: known.label for key, known in self.node.known().items()}
            self.runs.sampled(feed.samples(snapshot.devices, labels, self.node.packets(), now))
        if source == "processes":
            devices = feed.held_devices(self.node.inventory(), self.node.measured())
            self._take(self.runs.looked(snapshot.processes, devices, now, self._clock.time()), now)
        reading = Answered(
            source=source,
            snapshot=snapshot,
            missing=tuple(missing),
            interval=interval,
            fresh=read_anew(before, snapshot),
        )
        self._step(reading, now)
        if snapshot.events:
            wall = self._clock.time()
            entries = tuple(
                Entry(event=event, at=now, wall=event.wall if event.wall is not None else wall, file=event.file)
                for event in snapshot.events
            )
            self._step(Logged(source=source, entries=entries), now)

    def silent(
        self,
        source: str,
        error: str,
        *,
        timed_out: bool = False,
        released: bool = False,
        deadline: float = 10.0,
        waited: float | None = None,
    ) -> None:
        """A source has failed: what it measured is not known any more."""
        now = self._clock.now()
        self.node.silence(source)
        self._exposure.silent(source)
        since = self._silent_since.setdefault(source, now)
        silent = Silent(
            source=source,
            error=error,
            timed_out=timed_out,
            released=released,
            since=since,
            deadline=deadline,
            waited=waited,
        )
        self._step(silent, now)

    def removed(self, source: str) -> None:
        """A source was switched off by the configuration."""
        self.node.silence(source)
        self._exposure.silent(source)
        self._silent_since.pop(source, None)

    def kernel_records(self, records: KernelRecords) -> None:
        """Lines of the kernel log, in order."""
        now = self._clock.now()
        entries: list[Entry] = []
        times = self._times.of(records)
        for record, (at, wall) in zip(records.records, times, strict=True):
            entries += (
                Entry(
                    event=event,
                    at=at,
                    wall=wall,
                    boot_id=records.boot_id,
                    kernel_seconds=record.seconds,
                    backlog=records.backlog,
                    historical=records.backlog and self._first_start,
                )
                for event in self._kernel.feed(record.text, record.details)
            )
        if records.last_sequence is not None:
            self._moved("kernel_log", f"{records.boot_id} {records.last_sequence}")
        if entries:
            self._heard_at = now
            self._step(Logged(source="kernel_log", entries=tuple(entries)), now)

    def exits(self, exits: Sequence[ProcessExit]) -> None:
        """Processes have ended; `at` of each in monotonic seconds."""
        now, offset = self._clock.now(), self._clock.offset
        steady = [msgspec.structs.replace(end, at=end.at + offset) for end in exits]
        self._take(self.runs.exited(steady, now, self._clock.time()), now)

    @property
    def listens(self) -> bool:
        """Whether a line of a log, or a fault, came within the last second: what it began may need to be told soon."""
        return self._clock.now() - self._heard_at < TICK_SECONDS

    def tick(self) -> None:
        """Time has passed. Detectors hear of it each time, what costs more is done once a second."""
        now, wall = self._clock.now(), self._clock.time()
        self._step(Tick(), now)
        if self.remediations.on:
            self.remediations.step(self.ledger.active(), now, wall, maintenance=self.maintenance is not None)
        if now - self._ticked_at < TICK_SECONDS:
            return
        self._ticked_at = now
        devices = feed.held_devices(self.node.inventory(), self.node.measured())
        lost = {(k.key.vendor.value, k.label) for k in self.node.known().values() if not k.up}
        self._take(self.runs.tick(devices, lost, self.ledger.recent, now, wall), now)
        self.ledger.tick(self.context(), now, wall, self._evidence)

    def expect_now(self, expect: Expect) -> None:
        """A reload has changed what the operator expects."""
        self.expect = expect

    def remedy_by(self, hook: RemediationHook) -> None:
        """The site's command for run-ending faults, at the start and after a reload."""
        self.remediations.hook = hook

    def accept_inventory(self) -> list[DeviceRow]:
        """An operator says that devices which are not up are meant to be gone."""
        gone = self.node.forget(key for key, known in self.node.known().items() if not known.up)
        now, wall = self._clock.now(), self._clock.time()
        labels = {(row.identity.key.vendor.value, row.label) for row in gone}
        for episode in self.ledger.active():
            if episode.device is not None and (episode.vendor, episode.device) in labels:
                self.ledger.clear(episode.id, "the device was taken out of the inventory", now, wall)
        return gone

    def clear(self, number: int, reason: str) -> Episode | None:
        """An operator clears a fault."""
        return self.ledger.clear(number, reason, self._clock.now(), self._clock.time())

    def drill(self, class_: str, vendor: str, known: Known | None, seconds: float) -> Episode | None:
        """An operator has a fault acted; `None` when the same drill goes on already."""
        self._heard_at = self._clock.now()  # paged like a fault: what waits for a root is to be told soon
        return self.ledger.drill(class_, vendor, known, self._clock.now(), self._clock.time(), seconds)

    def maintain(self, planned: Maintenance | None) -> None:
        """An operator begins planned work, or ends it."""
        self._maintenance = planned

    # --- what goes out

    @property
    def maintenance(self) -> Maintenance | None:
        """Planned work that goes on now."""
        planned = self._maintenance
        return planned if planned is not None and self._clock.now() < planned.until_at else None

    def paging(self, min_run_devices: int) -> list[Candidate]:
        """How the faults stand that the fast path speaks of: drills, and those of runs of at least so many devices."""
        now, known = self._clock.now(), self.node.known()
        return candidates(self.ledger.paging(), self.taxonomy, known, self.maintenance, now, min_run_devices)

    def context(self) -> Context:
        """What detectors are told besides their reading."""
        return Context(
            devices=self.node.known(),
            runs=self.runs_of_devices(),
            links_seen_up=self.node.links_seen_up(),
            expected_devices=self.expect.devices,
            expected_links=self.expect.links,
        )

    def runs_of_devices(self) -> Mapping[DeviceKey, RunRef]:
        """Who holds which device now, or held it until a minute ago."""
        held, known = self.runs.tracker.runs_of_devices(self._clock.now()), self.node.known()
        if self._holders is None or self._holders[0] != held or self._holders[1] is not known:
            runs = {
                key: run
                for key, device in known.items()
                if (run := held.get((key.vendor.value, device.label))) is not None
            }
            self._holders = (held, known, runs)
        return self._holders[2]

    def take_changes(self, everything: bool = False) -> Changes:
        """What is to be committed. Exposure and states come along when something else does, or after a while."""
        now = self._clock.now()
        self._note_run_sizes()
        episodes = self.ledger.take_changes()
        records, self._records = list(self._records.values()), {}
        planned, remediations = self.maintenance, self.remediations.take_changes()
        news = everything or bool(episodes or records or remediations) or planned is not self._kept_maintenance
        self._kept_maintenance = planned
        due = news or now - self._kept_at >= KEEP_SECONDS
        if due:
            self._kept_at = now
            for (owner, state), seconds in self._exposure.take().items():
                self.node.count(owner, EXPOSURE_COUNTER, state.value, seconds)
        devices, counters, links = self.node.take_changes()
        forget = self.node.take_forgotten()
        changes = Changes(
            devices=devices,
            counters=counters,
            links=links,
            episodes=episodes,
            runs=records,
            forget=forget,
            remediations=remediations,
        )
        if due:
            changes.states = {**self._changed_states(), planned_work.STATE: planned_work.encode(planned)}
            changes.cursors, self._cursors = self._cursors, {}
        if not changes.empty:
            changes.clock = self._clock.keep()
        return changes

    def fault_view(self, sources_up: Set[str], unjournalled: int) -> FaultView:
        """What the page shows of faults."""
        known = [device for device in self.node.known().values() if device.parent is None]
        vendors = sorted({device.key.vendor.value for device in known})
        host = vendors[0] if len(vendors) == 1 else HOST_OWNER
        counts = [self._counts(device) for device in known]
        counts.append(
            DeviceCounts(
                vendor=host,
                device="",
                model="",
                episodes=self.node.counters_of(HOST_OWNER, EPISODES_COUNTER),
                exposure=None,
            )
        )
        return FaultView(
            counts=tuple(counts),
            episodes=tuple(self.ledger.shown()[:SHOWN_EPISODES]),
            observable={
                (vendor, name): not sources_up.isdisjoint(class_.observable.get(vendor, ()))
                for vendor in vendors
                for name, class_ in self.taxonomy.classes.items()
            },
            unjournalled=unjournalled,
        )

    def recent(self, seconds: float) -> list[Episode]:
        """Faults that were active within so long, newest first."""
        return self.ledger.recent(self._clock.now() - seconds)

    def run_page(self) -> RunPage:
        """What the page shows of runs."""
        return RunPage(
            views=tuple(self.runs.views()),
            ended=self.node.counters_of(HOST_OWNER, RUNS_COUNTER),
            models={(k.key.vendor.value, k.label): k.model or "" for k in self.node.known().values()},
            wall=self._clock.time(),
            wall_of=self._clock.wall_of,
        )

    def remediation_page(self) -> RemediationPage | None:
        """What the page shows of the site's command; `None` where there is none."""
        if not self.remediations.on:
            return None
        counts = self.node.counters_of(HOST_OWNER, REMEDIATIONS_COUNTER)
        breaker_open = self.remediations.breaker_closes_at(self._clock.now()) is not None
        return RemediationPage(counts=counts, breaker_open=breaker_open)

    # --- inside

    def _note_run_sizes(self) -> None:
        """A page is for runs of some size, also after a restart when the run is long forgotten."""
        episodes = [e for e in self.ledger.paging() if e.active and e.run_id is not None]
        if not episodes:
            return
        sizes: dict[str, int] = {}
        for record in (*self.runs.tracker.ended, *self.runs.tracker.open):
            size = record.world_size if record.world_size is not None else len(record.devices)
            sizes[record.run_id] = max(size, sizes.get(record.run_id, 0))
        for episode in episodes:
            size = sizes.get(episode.run_id or "", 0)
            if size > (episode.run_devices or 0):
                self.ledger.note_run_devices(episode.id, size)

    def _counts(self, device: Known) -> DeviceCounts:
        owner = self.node.owner_of(device.key)
        return DeviceCounts(
            vendor=device.key.vendor.value,
            device=device.label,
            model=device.model or "",
            episodes=self.node.counters_of(owner, EPISODES_COUNTER),
            exposure=self.node.counters_of(owner, EXPOSURE_COUNTER),
        )

    def _step(self, reading: Reading, now: float) -> None:
        context = self.context()
        wall = self._clock.time()
        for detector in DETECTORS:
            state, findings = detector.step(self._states[detector.name], reading, now, context)
            self._states[detector.name] = state
            if findings:
                self.ledger.apply([self._attributed(finding) for finding in findings], context, now, wall)

    def _moved(self, source: str, cursor: str) -> None:
        if self.cursors.get(source) != cursor:
            self.cursors[source] = self._cursors[source] = cursor

    def _changed_states(self) -> dict[str, bytes]:
        changed = {name: state for name, state in self._states.items() if state is not self._kept_states.get(name)}
        self._kept_states = dict(self._states)
        states = {name: msgspec.json.encode(state) for name, state in changed.items()}
        # Ended runs have rows of their own: written with every state they would be most of what the journal writes.
        state = self.runs.state()
        state = msgspec.structs.replace(state, tracker=msgspec.structs.replace(state.tracker, ended=()))
        return {**states, RUNS_STATE: msgspec.json.encode(state)}

    def _take(self, news: News, now: float) -> None:
        self._records.update((record.ref, record) for record in news.records)
        for record in news.final:
            self._records[record.ref] = record
            self.node.count(HOST_OWNER, RUNS_COUNTER, f"{record.outcome}:{record.cause or ''}", 1)
        if news.findings:
            self.ledger.apply(news.findings, self.context(), now, self._clock.time())

    def _attributed(self, finding: Finding) -> Finding:
        """A line that names a process is of the run, and of the device, that this process has."""
        if not isinstance(finding, Sign) or finding.pid is None or finding.run_id is not None:
            return finding
        found = self.runs.run_of_pid(finding.pid)
        if found is None:
            return finding
        run, devices = found
        device = finding.device
        if device is None and finding.place is None and len(devices) == 1:
            device = self.node.key_of(*devices[0])
        return msgspec.structs.replace(finding, run_id=run.run_id, attempt=run.attempt, device=device)

    def _count_episode(self, episode: Episode) -> None:
        self._heard_at = self._clock.now()  # its page waits for a root, and is to be told soon
        key = None if episode.device is None else self.node.key_of(episode.vendor, episode.device)
        owner = HOST_OWNER if key is None else self.node.owner_of(key)
        name = "app_device_exception" if episode.application else episode.class_
        self.node.count(owner, EPISODES_COUNTER, name, 1)

    def _evidence(self, episode: Episode) -> Evidence:
        if episode.device is None:
            return Evidence(answers=True, reset_after=self._resets.last(None))
        key = self.node.key_of(episode.vendor, episode.device)
        return Evidence(answers=key is not None and self.node.answers(key), reset_after=self._resets.last(key))

    def _expose(self, source: str, snapshot: Snapshot, now: float, interval: float) -> None:
        runs = self.runs_of_devices()
        seen = []
        for device in snapshot.devices:
            if device.state.value != "up" or device.identity.parent is not None:
                continue
            utilization = device.sensors.utilization_ratio if device.sensors is not None else None
            busy = utilization is not None and utilization >= BUSY_UTILIZATION
            allocated = busy or bool(device.processes) or device.key in runs
            seen.append(Seen(owner=self.node.owner(device.identity), allocated=allocated, busy=busy))
        self._exposure.answered(source, seen, now, interval, maintenance=self.maintenance is not None)


def _book_state(loaded: Loaded) -> BookState:
    state, raw = BookState(), loaded.states.get(RUNS_STATE)
    if raw is not None:
        with contextlib.suppress(msgspec.MsgspecError):  # of another version: runs that go on are found anew
            state = msgspec.json.decode(raw, type=BookState)
    ended = sorted((run for run in loaded.runs if run.ended_at is not None), key=lambda run: run.ended_at or 0.0)
    return msgspec.structs.replace(state, tracker=msgspec.structs.replace(state.tracker, ended=tuple(ended)))


def _restored(detector: object, states: Mapping[str, bytes]) -> object:
    """The kept state, or a fresh one: a state that another version wrote in another shape is not worth a crash."""
    raw = states.get(detector.name)  # type: ignore[attr-defined]
    if raw is not None:
        try:
            return msgspec.json.decode(raw, type=detector.state_type)  # type: ignore[attr-defined]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
    return detector.start()  # type: ignore[attr-defined]

"""The daemon: ties sources, node, page, journal and server together."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path

import msgspec

from accelwatch import __version__, config, log
from accelwatch.answers import Answers
from accelwatch.clock import Clock, SteadyClock, SystemClock
from accelwatch.config import Config, ConfigError
from accelwatch.core import Core
from accelwatch.journal.changes import Changes
from accelwatch.journal.writer import Writer
from accelwatch.late_drivers import LateDrivers
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.exposition import Page
from accelwatch.metrics.page import AgentStatus, Renderer
from accelwatch.pager.pager import Pager
from accelwatch.pipeline import Pipeline
from accelwatch.privileged.remote import reads_for
from accelwatch.readings.kernel import KernelRecords
from accelwatch.readings.snapshot import Snapshot
from accelwatch.remediation import trust
from accelwatch.remediation.child import ChildRunner
from accelwatch.remediation.remediator import Remediator
from accelwatch.scheduler import Polled, Scheduler
from accelwatch.server.access import OPEN, AccessFile
from accelwatch.server.http import Server
from accelwatch.signals import Signals
from accelwatch.sources.base import Follower, Presence, SourceReleased, SourceTimeout
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.kernel_log import boot_id_path, read_boot_id
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.registry import BUILDERS, Surroundings, settings
from accelwatch.systemd import Notifier
from accelwatch.taxonomy import loader as taxonomy

CONTROL_SOCKET = "control.sock"
# A driver that is installed after the agent's start is found by looking again this often.
LOOK_AGAIN_SECONDS = 60.0


class Agent:
    """One agent of one node."""

    def __init__(self, path: Path | None, clock: Clock | None = None) -> None:
        """Reads configuration, taxonomy and journal. Raises `ConfigError`, `TaxonomyError`, `JournalError`."""
        self._path = path
        self._system_clock = clock or SystemClock()
        self.config = config.load(path)
        self._digest = self.config.digest
        self._reload_time = self._system_clock.time()
        self._reload_ok = True
        self._writer = Writer(Path(self.config.state_dir), self._journal_news)
        loaded = self._writer.open()
        boot = read_boot_id(boot_id_path(Path(self.config.sources.processes.proc)))
        self._clock = SteadyClock(self._system_clock, boot, loaded.clock)
        self._core = Core(
            self._clock,
            loaded,
            taxonomy.load(),
            node_name=self.config.node_name,
            boot_id=boot,
            expect=self.config.expect,
            kernel_clock=Path(self.config.sources.kernel_log.path).is_char_device(),
            own_pid=os.getpid(),
        )
        self._metrics = AgentMetrics()
        self._pager = Pager(
            self.config, self._core.taxonomy, self._system_clock, self._metrics, secure=lambda: self.server.secure
        )
        self._planned = self._core.maintenance
        self._pipeline = Pipeline(self._core, self._writer, self._publish, self._hand_over)
        self._remediator = Remediator(
            ChildRunner(), self._clock, lambda row: self._pipeline.put(lambda core: core.remediations.ended(row))
        )
        self._remedy_by_config()
        self._renderer = Renderer(self._metrics)
        self._render_lock = threading.Lock()
        self._scheduler = Scheduler(self._clock, self._metrics, self._deliver)
        runner = ToolRunner()
        self._around = Surroundings(
            self._clock,
            runner,
            reads_for(LocalReads(runner), _report_helper),
            self._core.node.ascend_devices,
            self._kernel_records,
            exits=lambda exits: self._pipeline.put(lambda core: core.exits(exits)),
            cursors=self._core.cursors,
        )
        self._had_ascend = bool(self._core.node.ascend_devices())
        self._sources_started = False
        self.answers = Answers(
            self._core,
            self._pipeline,
            self._scheduler,
            self._status,
            page=lambda: self._page,
            started=lambda: self._sources_started,
            pagers=lambda: self._pager.count,
        )
        self._web = self._web_access(self.config)
        self._web_ok = True
        self._shut_out_lines = log.Throttle()
        self.server = Server(self.answers.routes, report=_report_flaw, shut_out=self._shut_out)
        self._late_drivers = LateDrivers()
        self._page = self._render()

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT; gives the exit status. Raises `ServerError` when it cannot listen."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, as it may be inherited, it hides how a tool ended
        signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self._let_in(None)
        address = self.server.listen(self.config.listen)
        self.server.listen_control(Path(self.config.state_dir) / CONTROL_SOCKET, self.answers.control)
        self._writer.start()
        self._pager.start()
        self._remediator.start()
        self._pipeline.start()
        self.server.start()
        self._scheduler.start()
        self._match_sources(None)
        self._sources_started = True
        notifier = Notifier()
        notifier.send("READY=1", f"STATUS=serving on {address[0]}:{address[1]}")
        log.get().info(
            "started",
            version=__version__,
            node=self.config.node_name,
            listen=f"{address[0]}:{address[1]}",
            sources=",".join(status.source for status in self._scheduler.statuses) or "none on this host",
        )
        self._serve(notifier, signals)
        notifier.send("STOPPING=1")
        self._scheduler.close()
        self._remediator.close()
        self._pipeline.close()
        self._hand_to_pager()
        self._pager.close()
        if self._web is not None:
            self._web.close()
        self.server.close()
        self._writer.close()
        log.get().info("stopped")
        return 0

    def _serve(self, notifier: Notifier, signals: Signals) -> None:
        pause = min(LOOK_AGAIN_SECONDS, (notifier.watchdog_seconds or LOOK_AGAIN_SECONDS) / 3)
        looked = self._clock.monotonic()
        while True:
            came = signals.wait(pause)
            if came - {signal.SIGHUP}:
                return
            if came:
                notifier.reloading()
                self._reload_config()
                notifier.send("READY=1")
            if self._clock.monotonic() - looked >= LOOK_AGAIN_SECONDS:
                looked = self._clock.monotonic()
                self._match_sources(self.config)
                if late := self._late_drivers.arrived():
                    log.get().warning(
                        "drivers were loaded after this start: ending, for systemd to start it with their device nodes",
                        drivers=",".join(late),
                    )
                    return
            if self.server.alive and self._pipeline.alive:
                notifier.send("WATCHDOG=1")

    def _reload_config(self) -> None:
        try:
            new = config.load(self._path)
            web = self._web_access(new)
        except ConfigError as error:
            self._reload_ok = False
            log.get().error("configuration not reloaded, the old one stays in force", error=str(error))
            self._publish()
            return
        old = self.config
        kept = {key: getattr(old, key) for key in ("node", "listen", "state_dir")}
        for key, value in kept.items():
            if getattr(new, key) != value:
                log.get().warning("not changed by a reload: restart the agent", key=key, in_force=value)
        self.config = msgspec.structs.replace(new, **kept)
        self._digest = self.config.digest
        self._reload_ok = self._web_ok = True
        self._reload_time = self._clock.time()
        before, self._web = self._web, web
        self._let_in(before)
        self._pipeline.put(lambda core: core.expect_now(self.config.expect))
        self._remedy_by_config()
        self._match_sources(old)
        self._pager.configure(self.config)
        self._publish()
        log.get().info("configuration reloaded", config_hash=self.config.digest)

    def _web_access(self, wanted: Config) -> AccessFile | None:
        if wanted.web_config is None:
            return None
        return AccessFile(Path(wanted.web_config), lambda access: self.server.use(access), self._web_news)

    def _let_in(self, before: AccessFile | None) -> None:
        """Opens the server in the way of the configuration, and follows its file."""
        if before is not None:
            before.close()
        if self._web is not None or before is not None:
            self.server.use(OPEN if self._web is None else self._web.access)
        if self._web is not None:
            self._web.start()

    def _web_news(self, problem: ConfigError | None) -> None:
        """From the thread that follows the web configuration."""
        self._web_ok = problem is None
        if problem is None:
            self._reload_time = self._clock.time()
            log.get().info("web configuration reloaded")
        else:
            log.get().error("web configuration not reloaded, the old one stays in force", error=str(problem))
        self._publish()

    def _shut_out(self, address: str, why: str) -> None:
        held = self._shut_out_lines.admit(why, self._clock.monotonic())
        if held is not None:
            log.get().warning("a client's TLS handshake failed", client=address, reason=why, held_back=held)

    def _match_sources(self, old: Config | None) -> None:
        """Starts, stops and rebuilds sources until they are those of the configuration and of this host."""
        for name, build in BUILDERS.items():
            wanted = settings(self.config.sources, name)
            running = self._scheduler.source(name) is not None
            if running and (old is None or settings(old.sources, name) == wanted):
                continue
            if running:
                self._scheduler.remove(name)
                self._pipeline.put(partial(_removed, name))
            if wanted.enabled is False:
                continue
            source = build(self.config.sources, self._around)
            if wanted.enabled == "auto" and source.presence() is Presence.ABSENT:
                source.close()
                continue
            if isinstance(source, Follower):
                source.start()
            self._scheduler.add(source, wanted.interval)

    def _deliver(self, polled: Polled, snapshot: Snapshot | None) -> None:
        name, interval = polled.source.name, polled.interval
        if snapshot is not None:
            self._pipeline.put(lambda core: core.answered(name, snapshot, interval))
            if name == "npu_smi" and not self._had_ascend:
                self._pipeline.put(self._look_for_ascend)
            return
        failure = polled.failure
        self._pipeline.put(
            lambda core: core.silent(
                name,
                str(failure),
                timed_out=isinstance(failure, SourceTimeout),
                released=isinstance(failure, SourceReleased),
                deadline=float(getattr(settings(self.config.sources, name), "timeout", 0.0)),
                waited=failure.waited if isinstance(failure, SourceTimeout) else None,
            )
        )

    def _look_for_ascend(self, core: Core) -> None:
        if core.node.ascend_devices():
            self._had_ascend = True
            self._scheduler.poll_now("hccn_tool")  # it had nobody to ask about until now

    def _remedy_by_config(self) -> None:
        hook = self.config.remediation
        with self._pipeline.lock:
            self._core.remedy_by(hook)
        wrong = trust.problem(hook.command[0]) if hook.command else None
        if hook.command and not self._core.remediations.known:
            wrong = "the journal could not be read at the start: what was run before is not known until a restart"
        if wrong is not None:
            log.get().error("the command for run-ending faults would not be run", error=wrong)

    def _hand_over(self) -> None:
        try:
            self._hand_to_pager()
        finally:
            self._hand_to_remediator()

    def _hand_to_remediator(self) -> None:
        with self._pipeline.lock:
            orders, news = self._core.remediations.take_orders(), self._core.remediations.take_news()
        if orders or news:
            # A ticket of nothing stands for all that was put before it, the rows of these orders too.
            self._remediator.take(orders, news, self._writer.put(Changes()))

    def _hand_to_pager(self) -> None:
        with self._pipeline.lock:
            planned = self._core.maintenance
            least = self.config.alertmanager.min_run_devices
            candidates = self._core.paging(least) if self._pager.on else []
        if planned is None and self._planned is not None:
            log.get().warning("maintenance is over", reason=self._planned.reason)
        self._planned = planned
        if self._pager.on:
            self._pager.offer(candidates)

    def _publish(self) -> None:
        with self._render_lock:
            self._page = self._render()

    def _render(self) -> Page:
        statuses = self._scheduler.statuses
        up = {status.source for status in statuses if status.up}
        with self._pipeline.lock:
            view = self._core.node.view()
            faults = self._core.fault_view(up, self._pipeline.unjournalled)
            runs = self._core.run_page()
            remediation = self._core.remediation_page()
            planned = self._core.maintenance
        until = 0.0 if planned is None else self._clock.wall_of(planned.until_at)
        return self._renderer.render(view, statuses, self._status(until), faults, runs, remediation)

    def _status(self, maintenance_until: float = 0.0) -> AgentStatus:
        return AgentStatus(
            node=self.config.node_name,
            config_hash=self._digest,
            labels=self.config.labels,
            reload_successful=self._reload_ok and self._web_ok,
            reload_time=self._reload_time,
            journal_degraded=self._writer.degraded or self._writer.begun_anew,
            maintenance_until=maintenance_until,
        )

    def _kernel_records(self, records: KernelRecords) -> None:
        self._metrics.kernel_records.inc(len(records.records))
        self._metrics.kernel_records_lost.inc(records.lost)
        self._pipeline.put(lambda core: core.kernel_records(records))

    def _journal_news(self, problem: str | None) -> None:
        if problem is None:
            log.get().info("journal is written again")
        else:
            log.get().error("something is wrong with the journal", error=problem)


def _removed(source: str, core: Core) -> None:
    core.removed(source)


def _report_helper(news: str) -> None:
    log.get().warning("privileged reads", news=news)


def _report_flaw(where: str, error: BaseException) -> None:
    log.get().error("a request could not be answered", where=where, error=str(error), exc_info=error)

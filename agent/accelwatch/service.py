"""The daemon: ties sources, node, page, journal and server together."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import msgspec

from accelwatch import __version__, config, log, report
from accelwatch.clock import Clock, SystemClock
from accelwatch.config import Config, ConfigError
from accelwatch.detectors.device_lost import lost_devices
from accelwatch.journal.changes import Changes
from accelwatch.journal.writer import Writer
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.exposition import Page
from accelwatch.metrics.page import AgentStatus, Renderer
from accelwatch.node import Node
from accelwatch.readings.kernel import KernelRecords
from accelwatch.readings.snapshot import Snapshot
from accelwatch.scheduler import Scheduler
from accelwatch.server import node_page
from accelwatch.server.http import Request, Response, Server
from accelwatch.sources.base import Follower, Presence, Releasable
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.registry import BUILDERS, Surroundings, settings
from accelwatch.systemd import Notifier

CONTROL_SOCKET = "control.sock"
# A driver that is installed after the agent's start is found by looking again this often.
LOOK_AGAIN_SECONDS = 60.0


class Agent:
    """One agent of one node."""

    def __init__(self, path: Path | None, clock: Clock | None = None) -> None:
        """Reads the configuration and the journal. Raises `ConfigError`, `JournalError`."""
        self._path = path
        self._clock = clock or SystemClock()
        self.config = config.load(path)
        self._digest = self.config.digest
        self._reload_time = self._clock.time()
        self._reload_ok = True
        self._writer = Writer(Path(self.config.state_dir), self._journal_news)
        kept = self._writer.open()
        self._node = Node(self._clock, kept.devices, kept.counters, kept.links_seen_up)
        self._lost_since: dict[tuple[str, str], float] = {}
        self._metrics = AgentMetrics()
        self._renderer = Renderer(self._metrics)
        self._render_lock = threading.Lock()
        self._scheduler = Scheduler(self._clock, self._metrics, self._deliver)
        runner = ToolRunner()
        self._around = Surroundings(
            self._clock, runner, LocalReads(runner), self._node.ascend_devices, self._kernel_records
        )
        self._had_ascend = bool(self._node.ascend_devices())
        self.server = Server(
            {
                "/": self._serve_node_page,
                "/metrics": self._serve_metrics,
                "/healthz": self._serve_healthz,
                "/readyz": self._serve_readyz,
            },
            report=_report_flaw,
        )
        self._sources_started = False
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._wake = threading.Event()
        self._page = self._render()

    def run(self) -> int:
        """Runs until SIGTERM or SIGINT; gives the exit status. Raises `ServerError` when it cannot listen."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        address = self.server.listen(self.config.listen)
        self.server.listen_control(Path(self.config.state_dir) / CONTROL_SOCKET, self._control)
        self._writer.start()
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
        self._wait(notifier)
        notifier.send("STOPPING=1")
        self._scheduler.close()
        self.server.close()
        self._writer.put(self._changes())
        self._writer.close()
        log.get().info("stopped")
        return 0

    def _wait(self, notifier: Notifier) -> None:
        pause = min(LOOK_AGAIN_SECONDS, (notifier.watchdog_seconds or LOOK_AGAIN_SECONDS) / 3)
        looked = self._clock.monotonic()
        while not self._stop.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            if self._reload.is_set():
                self._reload.clear()
                notifier.reloading()
                self._reload_config()
                notifier.send("READY=1")
            if self._clock.monotonic() - looked >= LOOK_AGAIN_SECONDS:
                looked = self._clock.monotonic()
                self._match_sources(self.config)
            if self.server.alive:
                notifier.send("WATCHDOG=1")

    def _signalled(self, number: int, _frame: object) -> None:
        (self._reload if number == signal.SIGHUP else self._stop).set()
        self._wake.set()

    def _reload_config(self) -> None:
        try:
            new = config.load(self._path)
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
        self._reload_ok = True
        self._reload_time = self._clock.time()
        self._match_sources(old)
        self._publish()
        log.get().info("configuration reloaded", config_hash=self.config.digest)

    def _match_sources(self, old: Config | None) -> None:
        """Starts, stops and rebuilds sources until they are those of the configuration and of this host."""
        for name, build in BUILDERS.items():
            wanted = settings(self.config.sources, name)
            running = self._scheduler.source(name) is not None
            if running and (old is None or settings(old.sources, name) == wanted):
                continue
            if running:
                self._scheduler.remove(name)
                self._node.silence(name)
            if wanted.enabled is False:
                continue
            source = build(self.config.sources, self._around)
            if wanted.enabled == "auto" and source.presence() is Presence.ABSENT:
                source.close()
                continue
            if isinstance(source, Follower):
                source.start()
            self._scheduler.add(source, wanted.interval)

    def _deliver(self, source: str, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            self._node.silence(source)
        else:
            self._node.update(source, snapshot)
        self._writer.put(self._changes())
        if source == "npu_smi" and not self._had_ascend and self._node.ascend_devices():
            self._had_ascend = True
            self._scheduler.poll_now("hccn_tool")  # it had nobody to ask about until now
        self._publish()

    def _changes(self) -> Changes:
        devices, counters, links = self._node.take_changes()
        return Changes(devices=devices, counters=counters, links=links)

    def _publish(self) -> None:
        with self._render_lock:
            self._page = self._render()

    def _render(self) -> Page:
        view, now = self._node.view(), self._clock.time()
        lost = {(d.row.identity.key.vendor.value, d.row.label) for d in view.devices if not d.row.up}
        self._lost_since = {key: self._lost_since.get(key, now) for key in lost}
        return self._renderer.render(view, self._scheduler.statuses, self._status())

    def _status(self) -> AgentStatus:
        return AgentStatus(
            node=self.config.node_name,
            config_hash=self._digest,
            labels=self.config.labels,
            reload_successful=self._reload_ok,
            reload_time=self._reload_time,
            journal_degraded=self._writer.degraded,
        )

    def report(self) -> dict[str, Any]:
        """The document of `check --json` as it stands now."""
        view, now = self._node.view(), self._clock.time()
        faults = lost_devices(view, self.config.node_name, self._lost_since, now)
        return report.document(self.config.node_name, view, faults, self._scheduler.statuses)

    def _kernel_records(self, records: KernelRecords) -> None:
        self._metrics.kernel_records.inc(len(records.records))
        self._metrics.kernel_records_lost.inc(records.lost)

    def _journal_news(self, problem: str | None) -> None:
        if problem is None:
            log.get().info("journal is written again")
        else:
            log.get().error("journal cannot be written, going on in memory", error=problem)

    def _control(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
            answer = self._command(request)
        except (ValueError, KeyError, TypeError) as error:
            answer = {"error": f"control socket: not understood: {error}"}
        return json.dumps(answer).encode()

    def _command(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["command"] == "report":
            return {"report": self.report()}
        if request["command"] == "metrics":
            return {"text": self._page.text.decode()}
        if request["command"] == "release":
            seconds = float(request["seconds"])
            source = self._scheduler.source("nvml")
            if not isinstance(source, Releasable):
                return {"error": "release: no NVML source is running on this node"}
            source.release(seconds)
            log.get().warning("NVML released by an operator", seconds=seconds)
            return {"released": seconds}
        return {"error": f"control socket: unknown command {request['command']!r}"}

    def _serve_metrics(self, request: Request) -> Response:
        body, content_type, encoding = self._page.encode(request.accept, request.accept_encoding)
        return Response(200, content_type, body, encoding)

    def _serve_healthz(self, _request: Request) -> Response:
        return Response(200, "text/plain; charset=utf-8", b"ok\n")

    def _serve_readyz(self, _request: Request) -> Response:
        if not self._sources_started:
            return Response(503, "text/plain; charset=utf-8", b"starting\n")
        waiting = [status.source for status in self._scheduler.statuses if status.up is None]
        if waiting:
            text = f"waiting for the first answer of: {', '.join(waiting)}\n"
            return Response(503, "text/plain; charset=utf-8", text.encode())
        return Response(200, "text/plain; charset=utf-8", b"ready\n")

    def _serve_node_page(self, _request: Request) -> Response:
        labels = self.config.labels
        agent = {
            "simulated": labels.get("simulated") == "true",
            "labels": labels,
            "reload_successful": self._reload_ok,
            "journal_degraded": self._writer.degraded,
        }
        body = node_page.render(self.report(), version=__version__, node=self.config.node_name, agent=agent)
        return Response(200, "text/html; charset=utf-8", body)


def _report_flaw(where: str, error: BaseException) -> None:
    log.get().error("a request could not be answered", where=where, error=str(error), exc_info=error)

"""What the agent answers: its pages, and the commands of the control socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from accelwatch import __version__, log, report
from accelwatch.core import Core
from accelwatch.faults.shown import shown
from accelwatch.metrics.exposition import Page
from accelwatch.metrics.page import AgentStatus
from accelwatch.operators import Operator
from accelwatch.pipeline import Pipeline
from accelwatch.runs.shown import document
from accelwatch.scheduler import Scheduler
from accelwatch.server import node_page
from accelwatch.server.http import Request, Response
from accelwatch.sources.base import Releasable

PLAIN = "text/plain; charset=utf-8"
TIMELINE_SECONDS = 86400.0


class Answers:
    """Reads the core under the pipeline's lock; changes it only by work that the pipeline does."""

    def __init__(
        self,
        core: Core,
        pipeline: Pipeline,
        scheduler: Scheduler,
        status: Callable[[], AgentStatus],
        page: Callable[[], Page],
        started: Callable[[], bool],
        pagers: Callable[[], int] = lambda: 0,
    ) -> None:
        self._core = core
        self._pipeline = pipeline
        self._scheduler = scheduler
        self._status = status
        self._page = page
        self._started = started
        self._operator = Operator(core, pipeline, pagers)

    @property
    def routes(self) -> dict[str, Callable[[Request], Response]]:
        """Path to answer, for the server."""
        return {"/": self._node_page, "/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz}

    def report(self) -> dict[str, Any]:
        """The document of `check --json` as it stands now."""
        with self._pipeline.lock:
            view = self._core.node.view()
            faults = [shown(episode) for episode in self._core.ledger.active()]
            planned = self._operator.planned()
        return report.document(self._status().node, view, faults, self._scheduler.statuses, planned)

    def _past(self) -> dict[str, Any]:
        """Runs and faults of the last day, newest first."""
        with self._pipeline.lock:
            episodes = self._core.recent(TIMELINE_SECONDS)
            views = self._core.runs.views()
        runs = [
            {
                **document(view.record),
                "stalled": None if view.verdict is None or view.verdict.level is None else int(view.verdict.level),
                "cause_vendor": view.record.cause_vendor,
                "cause_device": view.record.cause_device,
            }
            for view in views
        ]
        runs.sort(key=lambda run: (run["ended"] is not None, run["started"]), reverse=False)
        return {
            "runs": runs,
            "history": [
                {
                    **msgspec.to_builtins(shown(episode)),
                    "active": episode.active,
                    "historical": episode.historical,
                    "because": episode.cleared_because,
                }
                for episode in episodes
            ],
        }

    # --- pages

    def _metrics(self, request: Request) -> Response:
        body, content_type, encoding = self._page().encode(request.accept, request.accept_encoding)
        return Response(200, content_type, body, encoding)

    def _healthz(self, _request: Request) -> Response:
        return Response(200, PLAIN, b"ok\n")

    def _readyz(self, _request: Request) -> Response:
        if not self._started():
            return Response(503, PLAIN, b"starting\n")
        waiting = [status.source for status in self._scheduler.statuses if status.up is None]
        if waiting:
            return Response(503, PLAIN, f"waiting for the first answer of: {', '.join(waiting)}\n".encode())
        return Response(200, PLAIN, b"ready\n")

    def _node_page(self, _request: Request) -> Response:
        status = self._status()
        agent = {
            "simulated": status.labels.get("simulated") == "true",
            "labels": status.labels,
            "reload_successful": status.reload_successful,
            "journal_degraded": status.journal_degraded,
        }
        body = node_page.render(self.report() | self._past(), version=__version__, node=status.node, agent=agent)
        return Response(200, "text/html; charset=utf-8", body)

    # --- commands

    def control(self, line: bytes) -> bytes:
        """One request of the control socket, as a line of JSON."""
        try:
            # An argument that is no UTF-8 comes as lone surrogates, which no page and no journal can hold.
            whole = json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace")
            answer = self._command(json.loads(whole))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            answer = {"error": f"control socket: not understood: {error}"}
        return json.dumps(answer).encode()

    def _command(self, request: dict[str, Any]) -> dict[str, Any]:
        commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "report": lambda _request: {"report": self.report()},
            "metrics": lambda _request: {"text": self._page().text.decode()},
            "release": self._release,
            "clear": self._clear,
            "inventory": self._inventory,
            "inventory_accept": self._accept,
            "drill": self._operator.drill,
            "maintenance": self._operator.maintenance,
            "remediation_reset": self._operator.reset_breaker,
        }
        command = commands.get(request["command"])
        if command is None:
            return {"error": f"control socket: unknown command {request['command']!r}"}
        return command(request)

    def _release(self, request: dict[str, Any]) -> dict[str, Any]:
        seconds = float(request["seconds"])
        source = self._scheduler.source("nvml")
        if not isinstance(source, Releasable):
            return {"error": "release: no NVML source is running on this node"}
        source.release(seconds)
        log.get().warning("NVML released by an operator", seconds=seconds)
        return {"released": seconds}

    def _clear(self, request: dict[str, Any]) -> dict[str, Any]:
        number, reason = int(request["id"]), str(request["reason"])
        with self._pipeline.lock:
            cleared = self._core.clear(number, reason)
        if cleared is None:
            return {"error": f"clear: no fault with id {number} is active; `accelwatch faults` lists them"}
        self._pipeline.wake()
        log.get().warning("fault cleared by an operator", id=number, fault=cleared.class_, reason=reason)
        return {"cleared": number}

    def _inventory(self, _request: dict[str, Any]) -> dict[str, Any]:
        with self._pipeline.lock:
            rows = self._core.node.inventory()
        return {"devices": [_device(row) for row in rows]}

    def _accept(self, _request: dict[str, Any]) -> dict[str, Any]:
        with self._pipeline.lock:
            gone = self._core.accept_inventory()
        self._pipeline.wake()
        log.get().warning("inventory accepted by an operator", forgotten=len(gone))
        return {"forgotten": [_device(row) for row in gone]}


def _device(row: Any) -> dict[str, Any]:
    identity = row.identity
    return {
        "vendor": identity.key.vendor.value,
        "device": row.label,
        "model": identity.model,
        "serial": identity.serial,
        "pci": identity.pci,
        "up": row.up,
        "first_seen": row.first_seen,
    }

"""A real Alertmanager on 127.0.0.1 with the shipped configuration, and what it sends: web hooks, mail, chat."""

from __future__ import annotations

import contextlib
import copy
import datetime
import http.server
import json
import re
import socketserver
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from accelwatch.simulator.cluster import _free_ports

ALERTS = Path(__file__).resolve().parents[1] / "alerts"
SHIPPED = ALERTS / "alertmanager.yml"
EXAMPLE = re.compile(r"^( +)# ( *(?:- )?[a-z_]+:(?: .*)?)$")


def shipped() -> dict[str, Any]:
    """The configuration as it is shipped, with its templates' place."""
    return _absolute(SHIPPED.read_text())


def with_examples() -> dict[str, Any]:
    """The same with every commented example made real."""
    return _absolute("\n".join(EXAMPLE.sub(r"\1\2", line) for line in SHIPPED.read_text().splitlines()))


def _absolute(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(text)
    document["templates"] = [str(ALERTS / "templates" / "*.tmpl")]
    return copy.deepcopy(document)  # without what YAML's anchors share


def without_waiting(document: dict[str, Any]) -> dict[str, Any]:
    """The same routes, with news of a group after a second instead of minutes; `group_wait` stays, but for tickets."""
    for route in (document["route"], *document["route"]["routes"]):
        route["group_interval"] = "1s"
        if route.get("group_wait") not in ("0s", "250ms"):
            route["group_wait"] = "1s"
    return document


def silent(document: dict[str, Any]) -> dict[str, Any]:
    """Never gets as far as to send anything: asked what hides what."""
    for route in (document["route"], *document["route"]["routes"]):
        route["group_wait"] = "1h"
    return document


def until(what: str, true: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Receiver:
    """Takes web hooks of all kinds: what came, by path."""

    def __init__(self) -> None:
        received: list[tuple[str, float, Any]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, time.time(), json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_arguments: object) -> None:
                pass

        self.received = received
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def of(self, cluster: str) -> list[tuple[str, Any]]:
        """Notifications of one cluster: receiver and body."""
        return [
            (path, body) for path, _, body in self.received if body.get("groupLabels", {}).get("cluster") == cluster
        ]


class Mailbox:
    """An SMTP server that keeps what it gets."""

    def __init__(self) -> None:
        mails: list[str] = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 here\r\n")
                while line := self.rfile.readline():
                    verb = line.split(b" ")[0].strip().upper()
                    if verb == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        mails.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                    self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
                    if verb == b"QUIT":
                        return

        self.mails = mails
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class Alertmanager:
    """Talks to one over its API v2."""

    def __init__(self, url: str) -> None:
        self._url = url + "/api/v2/alerts"
        self._settled = 0

    def post(self, *alerts: Mapping[str, str], minutes: float = 30.0, **annotations: str) -> None:
        """Alerts that began now; over when `minutes` is not above 0. Annotations are those of each."""
        now = datetime.datetime.now(datetime.UTC)
        ends = (now + datetime.timedelta(minutes=minutes)).isoformat()
        body = [{"labels": alert, "annotations": annotations, "endsAt": ends} for alert in alerts]
        if minutes > 0:
            body = [one | {"startsAt": now.isoformat()} for one in body]
        request = urllib.request.Request(self._url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200

    def alerts(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self._url, timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def settle(self) -> None:
        """Waits until everything posted so far hides what it hides: alerts are taken in in their order."""
        self._settled += 1
        cluster = f"settled {self._settled}"
        last = {"cluster": cluster, "incident": "run/1"}
        self.post(
            {**last, "alertname": "AccelwatchRunHang", "severity": "page", "id": "target"},
            {**last, "alertname": "AccelwatchNodeDark", "severity": "page", "id": "source"},
        )
        until("Alertmanager to take them in", lambda: self._hidden(cluster).get("target"))

    def hidden(self, cluster: str) -> dict[str, bool]:
        """Alerts of a cluster, by their label `id`: whether another one inhibits it."""
        self.settle()
        return self._hidden(cluster)

    def _hidden(self, cluster: str) -> dict[str, bool]:
        return {
            alert["labels"]["id"]: bool(alert["status"]["inhibitedBy"])
            for alert in self.alerts()
            if alert["labels"].get("cluster") == cluster
        }


@contextlib.contextmanager
def running(document: Mapping[str, Any], directory: Path) -> Iterator[Alertmanager]:
    """An Alertmanager of its own, ended afterwards."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(dict(document)))
    (port,) = _free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus-alertmanager", f"--config.file={directory / 'alertmanager.yml'}", "--cluster.listen-address=",
             f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={directory / 'data'}"],
            stdout=log, stderr=log,
        )  # fmt: skip

    def ready() -> bool:
        assert process.poll() is None, (directory / "log").read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(url + "/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    try:
        until("Alertmanager", ready)
        yield Alertmanager(url)
    finally:
        process.terminate()
        process.wait(10)

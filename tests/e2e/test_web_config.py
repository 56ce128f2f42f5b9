"""An agent behind TLS, client certificates and a password: scraped by a real Prometheus, changed while it runs."""

import base64
import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import pytest

from server import certificates

pytestmark = pytest.mark.e2e
WITHIN_SECONDS = 30.0
PASSWORD = "sesam-oeffne-dich"
WEB = """\
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [scraper.example]
basic_auth_users:
  prometheus: {hash}
"""


def until(what: str, found: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            if found():
                return
        time.sleep(0.1)
    pytest.fail(f"{what} did not come within {WITHIN_SECONDS:g} s")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Site:
    """One agent, its certificates, and where its log goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = certificates.make(folder)
        self.port = free_port()
        self.log = folder / "agent.log"
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
        self.write_web(WEB.format(hash=hashed))
        off = {name: {"enabled": False} for name in ("nvml", "npu_smi", "hccn_tool", "kernel_log", "rdma", "processes")}
        main = {
            "node": "n", "listen": f"127.0.0.1:{self.port}", "state_dir": str(folder / "state"),
            "web_config": str(folder / "web.yml"), "sources": off,
        }  # fmt: skip
        (folder / "main.yml").write_text(json.dumps(main))
        with self.log.open("wb") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "accelwatch", "--config", str(folder / "main.yml"), "agent"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def write_web(self, text: str) -> None:
        (self.folder / "web.new").write_text(text)
        (self.folder / "web.new").rename(self.folder / "web.yml")

    def page(self) -> tuple[int, str, str]:
        """Status, text and the common name of the agent's certificate."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        context.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        client = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=context)
        with contextlib.closing(client):
            token = base64.b64encode(f"prometheus:{PASSWORD}".encode()).decode()
            client.request("GET", "/metrics", headers={"Authorization": f"Basic {token}"})
            assert isinstance(client.sock, ssl.SSLSocket)
            name = client.sock.getpeercert()["subject"][0][0][1]  # type: ignore[index]
            answer = client.getresponse()
            return answer.status, answer.read().decode(), str(name)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.agent.terminate()
    assert made.agent.wait(20) == 0
    log = made.log.read_text()
    assert PASSWORD not in log
    assert base64.b64encode(f"prometheus:{PASSWORD}".encode()).decode() not in log
    assert "$2b$" not in log


def test_prometheus_scrapes_it(site: Site, tmp_path: Path) -> None:
    """With the certificate and the password of its scrape configuration."""
    until("the page", lambda: site.page()[0] == 200)
    port = free_port()
    scrape = {
        "job_name": "accelwatch", "scrape_interval": "1s", "scheme": "https",
        "tls_config": {
            "ca_file": str(tmp_path / "ca.pem"), "cert_file": str(tmp_path / "client.pem"),
            "key_file": str(tmp_path / "client.key"),
        },
        "basic_auth": {"username": "prometheus", "password": PASSWORD},
        "static_configs": [{"targets": [f"127.0.0.1:{site.port}"]}],
    }  # fmt: skip
    (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": [scrape]}))
    prometheus = subprocess.Popen(
        [
            "prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={tmp_path}/tsdb",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}/api/v1/query?query=accelwatch_agent_info"

        def scraped() -> object:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)["data"]["result"]

        until("the scrape", scraped)
    finally:
        prometheus.terminate()
        prometheus.wait(20)


def test_it_changes_without_a_restart(site: Site, tmp_path: Path) -> None:
    """A new certificate by itself, a bad file leaves the old one in force and says so, SIGHUP takes a file at once."""
    until("the page", lambda: site.page()[2] == "server")
    good = (tmp_path / "web.yml").read_text()
    for kind in ("pem", "key"):
        (tmp_path / f"server2.{kind}").rename(tmp_path / f"server.{kind}")
    until("the new certificate", lambda: site.page()[2] == "server2")
    site.write_web(good + "curves: [X25519]\n")
    flag = "accelwatch_config_last_reload_successful"
    until("word of the bad file", lambda: f"{flag} 0" in site.page()[1])
    site.write_web(good)
    site.agent.send_signal(signal.SIGHUP)
    until("the good file", lambda: f"{flag} 1" in site.page()[1])
    site.write_web("")
    site.agent.send_signal(signal.SIGHUP)
    until("the plain page", lambda: urllib.request.urlopen(f"http://127.0.0.1:{site.port}/healthz", timeout=5).read())
    assert "web.yml:9: curves: unknown key" in site.log.read_text()


def test_an_agent_that_cannot_read_its_key_does_not_start_open(tmp_path: Path) -> None:
    """No page rather than one without its protection."""
    site = Site(tmp_path)
    until("the page", lambda: site.page()[0] == 200)
    site.agent.terminate()
    assert site.agent.wait(20) == 0
    (tmp_path / "server.key").unlink()
    again = subprocess.run(
        [sys.executable, "-m", "accelwatch", "--config", str(tmp_path / "main.yml"), "agent"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert again.returncode == 3
    assert "server.key cannot be read" in again.stderr

"""Nothing that the agent serves, writes, logs or posts has a user's command line, environment or path in it."""

from __future__ import annotations

import http.server
import io
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from accelwatch.clock import SystemClock
from accelwatch.journal import reading
from accelwatch.simulator.cluster import _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import NodeSpec, RunSpec, Scenario
from real_alertmanager import until

pytestmark = pytest.mark.e2e
NODES = {"nv": "nvidia", "as": "ascend"}
FAMILIES = {"nvidia": "hopper", "ascend": "910B"}
# Where a user's words stand on a host; each is looked for in everything.
WORDS = ("argumentword", "environmentword", "directoryword", "programword", "driverword", "logword")
WITHIN_SECONDS = 60.0


class Recorder:
    """An Alertmanager that keeps what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Site:
    """One node of each vendor with a run whose processes carry the words, and an agent each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.posted = Recorder()
        self.ports = dict(zip(NODES, _free_ports(len(NODES)), strict=True))
        nodes = tuple(
            NodeSpec(name=name, vendor=vendor, family=FAMILIES[vendor], devices=8)  # type: ignore[arg-type]
            for name, vendor in NODES.items()
        )
        # NVML gives a process's whole path where the tools of Ascend and the kernel give its name alone.
        runs = tuple(RunSpec(id=f"job-{n}", nodes=(n,), name="/home/driverword/bin/python3") for n in NODES)
        self.hardware = Hardware(Scenario(nodes=nodes, runs=runs), directory, SystemClock(), list(self.ports.values()))
        self.hardware.start()
        self.running: list[subprocess.Popen[bytes]] = []
        for name in NODES:
            self._mark(directory / name / "proc")
            self._configure(name)
            self._start(name)

    def _mark(self, proc: Path) -> None:
        for home in (path for path in proc.iterdir() if (path / "environ").is_file()):
            (home / "comm").write_text("python3\n")
            (home / "cmdline").write_bytes(b"/home/programword/python3\0train.py\0--token=argumentword\0")
            with (home / "environ").open("ab") as environ:
                environ.write(b"API_KEY=environmentword\0SLURM_COMMENT=environmentword\0HOME=/home/environmentword\0")
            for link, target in (("cwd", "/home/directoryword/run"), ("exe", "/home/programword/python3")):
                (home / link).unlink(missing_ok=True)
                (home / link).symlink_to(target)

    def _configure(self, name: str) -> None:
        path = self.directory / name / "accelwatch.yml"
        document = yaml.safe_load(path.read_text())
        document["sources"]["processes"]["interval"] = "1s"
        logs = self.directory / name / "logs" / "logword"
        logs.mkdir(parents=True)
        (logs / "train.log").touch()
        document["sources"]["hccl_log"] = {"paths": [f"{logs}/*.log"], "interval": "1s"}
        document["alertmanager"] = {"urls": [f"http://127.0.0.1:{self.posted.server.server_port}"]}
        path.write_text(yaml.safe_dump(document))

    def _start(self, name: str) -> None:
        path = self.directory / name / "accelwatch.yml"
        with (self.directory / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "accelwatch", "--config", str(path), "agent"]
            self.running.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def get(self, name: str, path: str, **headers: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[name]}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def command(self, name: str, *arguments: str) -> str:
        path = self.directory / name / "accelwatch.yml"
        argv = [sys.executable, "-m", "accelwatch", "--config", str(path), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout + done.stderr

    def kernel(self, name: str, sequence: int, line: str) -> None:
        with (self.directory / name / "kmsg").open("ab") as log:
            log.write(f"4,{sequence},{int(self.hardware.now * 1e6) + 86_400_000_000},-;{line}\n".encode())

    def faults(self, name: str) -> list[str]:
        return [episode.class_ for episode in reading.read_faults(self.directory / name / "state", 0.0)]

    def close(self) -> None:
        for child in self.running:
            child.terminate()
        for child in self.running:
            child.wait(20)
        self.hardware.close()
        self.posted.server.shutdown()
        self.posted.server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    try:
        for name in NODES:
            until(
                f"the run on {name}",
                lambda n=name: "accelwatch_run_world_size" in made.get(n, "/metrics"),
                WITHIN_SECONDS,
            )
        _strike(made)
        yield made
    finally:
        made.close()


def _strike(site: Site) -> None:
    """Faults whose lines and processes have the words in them, as far as such lines have."""
    pci = str(site.hardware.state("nv")["nvidia"][2]["pci"]).partition(".")[0]
    site.kernel("nv", 10**6, f"NVRM: Xid (PCI:{pci}): 48, pid=20002, name=/home/driverword/bin/python3, an error")
    oom = "Out of memory: Killed process 20001 (python3) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:1000"
    for name in NODES:
        site.kernel(name, 10**6 + 1, oom)
        line = (
            "[rank3]:[E1104 12:26:31.222 ProcessGroupNCCL.cpp:616] [Rank 3] Watchdog caught collective operation timeout: "
            "WorkNCCL(SeqNum=42, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600027 milliseconds"
            " before timing out.\n"
        )
        if name == "as":
            line = (
                "[ERROR] HCCL(20001,python3):2026-03-18-10:33:52.113.403 [file.cc:797] [18744]"
                "[TaskExecStage][Timeout][Host]EI0002 Notify wait timeout /home/argumentword/rank_table.json\n"
            )
        with (site.directory / name / "logs" / "logword" / "train.log").open("a") as log:
            log.write(line)
        until(f"faults of {name}", lambda n=name: len(set(site.faults(n))) >= 2, WITHIN_SECONDS)
    until("a page", lambda: site.posted.bodies, WITHIN_SECONDS)
    time.sleep(4)  # a rendering, and a commit


def _told(site: Site, name: str) -> dict[str, str]:
    """All that goes out of the agent of a node, by where it is seen."""
    openmetrics = "application/openmetrics-text; version=1.0.0"
    told = {
        "/": site.get(name, "/"),
        "/metrics": site.get(name, "/metrics"),
        "/metrics in OpenMetrics": site.get(name, "/metrics", Accept=openmetrics),
        "/readyz": site.get(name, "/readyz"),
        "its log": (site.directory / f"{name}.log").read_text(),
        "what it posts": "\n".join(site.posted.bodies),
    }
    for path in sorted((site.directory / name / "state").rglob("*")):
        if path.is_file():
            told[f"the file {path.name}"] = path.read_bytes().decode("latin-1")
    for arguments in (
        ("check", "--json"),
        ("check",),
        ("faults", "--json"),
        ("faults",),
        ("runs", "--json"),
        ("runs",),
    ):
        told[" ".join(arguments)] = site.command(name, *arguments)
    return told


@pytest.mark.parametrize("name", NODES)
def test_no_word_of_a_user_goes_out(site: Site, name: str) -> None:
    told = _told(site, name)
    assert f"job-{name}" in told["/metrics"]  # it has looked at these processes,
    assert "python3" in told["/metrics"] + told["check --json"]  # and says the name, which alone it may
    assert f"job-{name}" in told["runs --json"]
    assert {where: word for where, text in told.items() for word in WORDS if word in text} == {}


@pytest.mark.parametrize("name", NODES)
def test_the_evidence_for_the_vendor_has_none_either(site: Site, name: str) -> None:
    number = reading.read_faults(site.directory / name / "state", 0.0)[0].id
    out = site.directory / f"{name}.tar.gz"
    said = site.command(name, "bundle", str(number), "--out", str(out))
    assert out.exists(), said
    with tarfile.open(out) as archive:
        texts = {
            member.name: (archive.extractfile(member) or io.BytesIO()).read().decode("latin-1")
            for member in archive.getmembers()
            if member.isfile()
        }
    assert any("python3" in text for text in texts.values())
    texts = {where: text for where, text in texts.items() if not where.endswith("/configuration.yml")}  # its operator's
    assert {where: word for where, text in texts.items() for word in WORDS if word in text} == {}

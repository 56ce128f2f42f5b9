"""Real agents on simulated nodes, scraped by a real Prometheus."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from accelwatch.clock import SystemClock
from accelwatch.simulator.cluster import Children, _free_ports
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Scenario, load

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 30.0


def accelwatch(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "accelwatch", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(accelwatch(*arguments), capture_output=True, text=True, check=False, timeout=60)


def until(what: str, found: Any, seconds: float = WITHIN_SECONDS) -> Any:
    """The first true answer of `found`, or a failure that says what did not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            answer = found()
            if answer:
                return answer
        time.sleep(0.1)
    pytest.fail(f"{what} did not come within {seconds:g} s")


class Cluster:
    """The hardware of a scenario, and its agents."""

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self.directory = directory
        self.nodes = [node.name for node in scenario.nodes]
        self.ports = _free_ports(1 + len(self.nodes))
        # Scenario time all but stands, so that values can be compared.
        scenario = msgspec.structs.replace(scenario, speed=0.001)
        self.hardware = Hardware(scenario, directory, SystemClock(), self.ports[1:])
        self.children = Children(directory)
        self.hardware.start()

    def config(self, node: str) -> str:
        return str(self.directory / node / "accelwatch.yml")

    def agent(self, node: str) -> None:
        self.children.start(f"agent-{node}", accelwatch("--config", self.config(node), "agent"))

    def page(self, node: str) -> str:
        port = self.ports[1 + self.nodes.index(node)]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def close(self) -> None:
        self.children.close()
        self.hardware.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, load("one-of-each"))
    yield made
    made.close()


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes of each vendor, each pair of two generations."""
    families = (
        ("nv-1", "nvidia", "hopper"),
        ("nv-2", "nvidia", "blackwell"),
        ("as-1", "ascend", "910B"),
        ("as-2", "ascend", "A3"),
    )
    nodes = tuple(NodeSpec(name=n, vendor=vendor, family=family, devices=2) for n, vendor, family in families)
    made = Cluster(tmp_path, Scenario(nodes=nodes))
    yield made
    made.close()


@pytest.mark.parametrize("node", ["nv-1", "as-1"])
def test_check_gives_exactly_the_scenarios_values(cluster: Cluster, node: str) -> None:
    """Without an agent, each field of the document is the simulated device's own."""
    checked = run("--config", cluster.config(node), "check", "--json")
    before = cluster.hardware.state(node)
    assert checked.returncode == 0, checked.stderr
    document = json.loads(checked.stdout)
    true = before["nvidia"] or before["ascend"]
    vendor = "nvidia" if node == "nv-1" else "ascend"
    assert (document["schema"], document["node"], document["faults"]) == (1, node, [])
    assert len(document["devices"]) == len(true) == 2
    for device, expected in zip(document["devices"], true, strict=True):
        wanted = {
            "vendor": vendor, "device": str(expected["index"]), "model": expected["model"], "uuid": expected.get("uuid"),
            "serial": expected["serial"], "pci": expected["pci"], "health": "ok",
            "temperature_celsius": expected["temperature_celsius"], "power_watts": pytest.approx(expected["power_watts"]),
            "utilization_ratio": expected["utilization_percent"] / 100,
            "memory_used_bytes": expected["memory_used_mib"] << 20, "memory_total_bytes": expected["memory_total_mib"] << 20,
            "ecc": {"corrected": 0, "uncorrected": 0}, "error_codes": None if vendor == "nvidia" else [],
            "processes": [{key: p[key] for key in ("pid", "name", "memory_bytes")} for p in expected["processes"]],
        }  # fmt: skip
        if vendor == "ascend":
            wanted |= {"npu_id": expected["npu_id"], "chip_id": expected["chip_id"], "phy_id": None}
            names = [*(f"hccs{n}" for n in range(7)), "roce0"]
        else:
            names = [f"nvlink{n}" for n in range(18)]
        assert {link["link"]: link["state"] for link in device.pop("links")} == dict.fromkeys(names, "up")
        assert device == wanted
    assert {source["source"] for source in document["sources"]} >= {"nvml" if vendor == "nvidia" else "npu_smi"}


def test_a_dead_device_is_seen_by_prometheus_within_two_intervals(pairs: Cluster) -> None:
    """device_up goes to 0 and the measured series vanish, on both vendors, and on no other device of any node."""
    for node in pairs.nodes:
        pairs.agent(node)
    query = _prometheus(pairs)
    until("eight devices in Prometheus", lambda: len(query("accelwatch_device_up == 1")) == 8)
    # The two dies of an A3 share one power reading, on the first.
    until("their power", lambda: len(query("accelwatch_device_power_watts")) == 7)
    for killed, (node, interval) in enumerate((("nv-1", 1.0), ("as-1", 5.0)), 1):
        pairs.hardware.inject(FaultSpec(fault="lost", node=node, device=1))
        gone = f'accelwatch_device_power_watts{{node="{node}",device="1"}}'
        down = f'accelwatch_device_up{{node="{node}",device="1"}} == 0'
        # Two intervals of the source, two scrapes, and room for a busy machine.
        until(f"the loss on {node}", lambda down=down: query(down), 2 * interval + 6)
        until(f"the end of its series on {node}", lambda gone=gone: not query(gone), 6)
        assert query(f'accelwatch_device_power_watts{{node="{node}",device="0"}}')
        assert len(query("accelwatch_device_up == 0")) == killed
        checked = run("--config", pairs.config(node), "check", "--json")
        assert checked.returncode == 2
        (fault,) = json.loads(checked.stdout)["faults"]
        assert (fault["class"], fault["device"], fault["severity"]) == ("device_lost", "1", "run_ending")
        assert "reset" in fault["action"]
        lost = json.loads(checked.stdout)["devices"][1]
        assert (lost["health"], lost["power_watts"], lost["serial"] is not None) == ("critical", None, True)
    assert len(query("accelwatch_device_power_watts")) == 7 - killed
    # Over the whole time, not just now: nothing flickered anywhere else.
    assert len(query("min_over_time(accelwatch_device_up[5m]) == 1")) == 6
    assert not query("min_over_time(accelwatch_source_up[5m]) == 0")
    assert not any(pairs.hardware.tool_server(node).overlaps for node in ("as-1", "as-2"))
    for node in ("nv-2", "as-2"):
        checked = run("--config", pairs.config(node), "check", "--json")
        assert (checked.returncode, json.loads(checked.stdout)["faults"]) == (0, [])


def _prometheus(cluster: Cluster) -> Callable[[str], list[Any]]:
    """Starts one that scrapes every node each second; gives its instant query."""
    targets = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"node": node, "cluster": "c"}}
        for node, port in zip(cluster.nodes, cluster.ports[1:], strict=True)
    ]
    configuration = cluster.directory / "prometheus.yml"
    jobs = [{"job_name": "accelwatch", "static_configs": targets}]
    configuration.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    address = f"127.0.0.1:{cluster.ports[0]}"
    cluster.children.start(
        "prometheus",
        ["prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={cluster.directory / 'tsdb'}",
         f"--web.listen-address={address}"],
    )  # fmt: skip

    def query(expression: str) -> list[Any]:
        quoted = urllib.parse.quote(expression)
        with urllib.request.urlopen(f"http://{address}/api/v1/query?query={quoted}", timeout=5) as answer:
            return json.load(answer)["data"]["result"]

    return query


def test_an_agent_that_restarts_still_knows_what_was_lost(cluster: Cluster) -> None:
    """Identity, label and loss come from the journal, from the first scrape."""
    cluster.agent("as-1")
    until("the agent", lambda: 'device_up{vendor="ascend",device="1",model="910B2C"} 1' in cluster.page("as-1"))
    cluster.hardware.inject(FaultSpec(fault="lost", node="as-1", device=1))
    until("the loss", lambda: 'device_up{vendor="ascend",device="1",model="910B2C"} 0' in cluster.page("as-1"))
    cluster.children.close()
    cluster.agent("as-1")
    first = until("the first page", lambda: cluster.page("as-1"))
    assert 'device_up{vendor="ascend",device="1",model="910B2C"} 0' in first


@pytest.mark.parametrize("kind", ["garbage", "empty", "flood", "language", "error_8005", "block"])
def test_a_sick_tool_costs_its_series_and_nothing_else(cluster: Cluster, kind: str) -> None:
    """npu-smi fails in every way it can: its source is down, the page answers, and it recovers."""
    path = Path(cluster.config("as-1"))
    configuration = yaml.safe_load(path.read_text())
    configuration["sources"]["npu_smi"] |= {"interval": "500ms", "timeout": "1s"}
    path.write_text(yaml.safe_dump(configuration))
    cluster.agent("as-1")
    until("values", lambda: "accelwatch_device_power_watts" in cluster.page("as-1"))
    number = cluster.hardware.inject(FaultSpec(fault="tool", node="as-1", parameters={"kind": kind}))
    until("the failure", lambda: 'source_up{source="npu_smi"} 0' in cluster.page("as-1"))
    page = cluster.page("as-1")
    assert "accelwatch_device_power_watts" not in page
    assert page.count("accelwatch_device_up{") == 2
    assert 'source_up{source="kernel_log"} 1' in page
    up = [line for line in page.splitlines() if line.startswith("accelwatch_device_up{")]
    assert all(line.endswith(" 1") for line in up), "a silent tool is not a lost device"
    cluster.hardware.clear(number)
    until("the recovery", lambda: "accelwatch_device_power_watts" in cluster.page("as-1"))


def test_vendor_tools_are_never_called_twice_at_once(cluster: Cluster) -> None:
    """Neither by two agents of one host nor by a `check` beside them: the lock is the host's."""
    path = Path(cluster.config("as-1"))
    configuration = yaml.safe_load(path.read_text())
    for tool in ("npu_smi", "hccn_tool"):
        configuration["sources"][tool] |= {"interval": "200ms"}
    path.write_text(yaml.safe_dump(configuration))
    server = cluster.hardware.tool_server("as-1")
    cluster.agent("as-1")
    until("the agent's calls", lambda: len(server.calls) > 5)
    other = path.with_name("other.yml")
    other.write_text(yaml.safe_dump(configuration | {"state_dir": str(path.parent / "other")}))
    before = server.calls["npu-smi", "info"]
    checks = [
        subprocess.Popen(accelwatch("--config", str(other), "check", "--json"), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for check in checks:
        answer, _ = check.communicate(timeout=60)
        assert len(json.loads(answer)["devices"]) == 2
    assert server.calls["npu-smi", "info"] >= before + 2
    assert not server.overlaps


def test_signals_reload_and_end_the_agent(cluster: Cluster) -> None:
    """SIGHUP takes a good file and keeps the old one against a bad; SIGTERM ends it with its children within 5 s."""
    cluster.agent("nv-1")
    path = Path(cluster.config("nv-1"))
    good = path.read_text()
    until("values", lambda: "accelwatch_device_power_watts" in cluster.page("nv-1"))
    ((_, agent),) = cluster.children._running
    path.write_text("nonsense: true\n")
    agent.send_signal(signal.SIGHUP)
    until("the refusal", lambda: "accelwatch_config_last_reload_successful 0" in cluster.page("nv-1"))
    assert "accelwatch_device_power_watts" in cluster.page("nv-1")
    path.write_text(good.replace("cluster: simulated", "cluster: other"))
    agent.send_signal(signal.SIGHUP)
    until("the reload", lambda: 'cluster="other"' in cluster.page("nv-1"))
    group = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(int(pid)) == agent.pid]
    assert group, "the NVML worker is a child of the agent"
    started = time.monotonic()
    agent.terminate()
    assert agent.wait(5) == 0
    assert time.monotonic() - started < 5
    until(
        "the end of its children",
        lambda: not any(_parent(pid) in (agent.pid, 1) and Path(f"/proc/{pid}").exists() for pid in group),
        3,
    )


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return -1


@pytest.mark.parametrize(
    ("arguments", "status"), [(["check"], 3), (["chekc"], 3), (["check", "--jsno"], 3), (["--version"], 0)]
)
def test_exit_statuses_without_hardware_and_with_wrong_usage(tmp_path: Path, arguments: list[str], status: int) -> None:
    """Nothing readable and wrong usage are 3, so that a health check does not drain a node for them."""
    path = tmp_path / "c.yml"
    path.write_text(
        f"state_dir: {tmp_path}\nsources: {{nvml: {{enabled: false}}, npu_smi: {{enabled: false}}, hccn_tool: {{enabled: false}}}}\n"
    )
    assert run("--config", str(path), *arguments).returncode == status


UNITS = sorted(
    path for path in (ROOT / "systemd").glob("accelwatch*") if path.suffix in (".service", ".socket", ".slice")
)


def test_the_units_pass_systemds_own_check() -> None:
    """systemd-analyze says nothing at all: it returns 0 even for unknown keys."""
    assert len(UNITS) == 5
    verified = subprocess.run(
        ["systemd-analyze", "verify", *map(str, UNITS)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("service", [path for path in UNITS if path.suffix == ".service"], ids=lambda path: path.name)
def test_a_service_is_open_to_little(service: Path) -> None:
    """At most 2.0 of 10 in systemd's own measure; above it the status is 1."""
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", str(service)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout.splitlines()[-1] if judged.stdout else judged.stderr


def test_rules_and_alertmanager_configuration_are_accepted() -> None:
    """promtool and amtool of Debian take them."""
    rules = [str(path) for path in sorted((ROOT / "alerts" / "rules").glob("*.yml"))]
    subprocess.run(["promtool", "check", "rules", *rules], check=True, capture_output=True)
    subprocess.run(
        ["amtool", "check-config", str(ROOT / "alerts" / "alertmanager.yml")], check=True, capture_output=True
    )


def test_the_installed_example_configuration_is_accepted() -> None:
    """What the installer writes is good."""
    assert run("config", "check", str(ROOT / "systemd" / "accelwatch.yml")).returncode == 0

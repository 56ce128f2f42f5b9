"""`accelwatch drill` and `maintenance`: what they ask the agent, what they print, and silences for many nodes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.commands import silences
from accelwatch.simulator.cluster import _free_ports
from commands.test_operator_commands import Agent


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setenv("SUDO_USER", "anna")
    made = Agent(tmp_path)
    yield made
    made.listener.close()


def test_a_drill_says_what_is_to_be_expected(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.answer = {
        "drill": 3,
        "on": "nvidia 2",
        "seconds": 300.0,
        "notify": "page",
        "fast": True,
        "alertmanagers": 2,
        "maintenance": False,
    }
    assert agent.run("drill", "device_lost", "--device", "2") == 0
    assert agent.requests == [
        {"command": "drill", "class": "device_lost", "device": "2", "seconds": 300.0, "by": "anna"}
    ]
    said = capsys.readouterr().out
    assert said.startswith("drill 3: device_lost on nvidia 2, for 300 s; `accelwatch clear 3 --reason TEXT` ends it")
    assert "posted to 2 Alertmanager(s) at once" in said
    for change, words in (
        ({"alertmanagers": 0}, "fast path: off (no alertmanager.urls)"),
        ({"maintenance": True}, "fast path: silent: planned work goes on"),
        ({"notify": "ticket", "fast": False}, "this class is left to the rules"),
        ({"notify": "none"}, "this class reaches nobody"),
    ):
        agent.answer |= {"alertmanagers": 2, "maintenance": False, "notify": "page", "fast": True} | change
        assert agent.run("drill", "device_lost") == 0
        assert words in capsys.readouterr().out


def test_a_drill_that_cannot_be_is_told(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.answer = {"error": "drill: no fault class 'x'"}
    assert agent.run("drill", "x") == 3
    assert capsys.readouterr().err == "accelwatch drill: no fault class 'x'\n"
    assert agent.run("drill", "host", "--for", "soon") == 3
    assert "Expected a duration" in capsys.readouterr().err
    assert len(agent.requests) == 1


def test_planned_work_is_begun_shown_and_ended(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    planned = {"since": "2026-01-01T10:00:00Z", "until": "2026-01-01T12:00:00Z", "reason": "swap", "by": "anna"}
    agent.answer = {"maintenance": planned}
    assert agent.run("maintenance", "on", "--for", "2h", "--reason", "swap") == 0
    assert agent.requests == [
        {"command": "maintenance", "action": "on", "seconds": 7200.0, "reason": "swap", "by": "anna"}
    ]
    said = capsys.readouterr().out
    assert "maintenance until 2026-01-01T12:00:00Z" in said
    assert "swap" in said
    assert agent.run("maintenance", "status") == 0
    assert "2026-01-01T12:00:00Z" in capsys.readouterr().out
    agent.answer = {"maintenance": None, "before": planned}
    assert agent.run("maintenance", "off") == 0
    assert capsys.readouterr().out == "maintenance is over: swap; what is still wrong pages again\n"
    agent.answer = {"maintenance": None, "before": None}
    assert agent.run("maintenance", "off") == agent.run("maintenance", "status") == 0
    assert capsys.readouterr().out == "no maintenance\n" * 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("on", "--for", "2h"), "expected --for TIME and --reason TEXT"),
        (("on", "--reason", "x"), "expected --for TIME and --reason TEXT"),
        (("on", "--for", "2h", "--reason", "  "), "expected --for TIME and --reason TEXT"),
        (("on", "--for", "2 hours", "--reason", "x"), "Expected a duration"),
        (("off", "--for", "2h"), "belong to `on`"),
        (("status", "--nodes", "n1"), "--nodes belongs to"),
        (("status", "--cluster", "c"), "--cluster belongs to --nodes"),
    ],
)
def test_half_an_order_is_wrong_usage(
    agent: Agent, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert agent.run("maintenance", *arguments) == 3
    assert complaint in capsys.readouterr().err
    assert agent.requests == []


def test_without_an_agent_both_say_so(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.listener.close()
    for arguments in (
        ("drill", "host"),
        ("maintenance", "status"),
        ("maintenance", "on", "--for", "1h", "--reason", "x"),
    ):
        assert agent.run(*arguments) == 3
        assert "no agent answers on" in capsys.readouterr().err


def test_silences_are_printed_and_nobody_is_asked(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--nodes", "n1,gpu-[08-10]", "--cluster", "c")
    assert agent.run("maintenance", "on", "--for", "90m", "--reason", "swap it", *more) == 0
    assert capsys.readouterr().out == (
        "amtool silence add --duration=5400s '--comment=swap it' --author=anna "
        """'node=~"n1|gpu\\\\-08|gpu\\\\-09|gpu\\\\-10"' 'cluster="c"'\n"""
    )
    assert agent.run("maintenance", "off", "--nodes", "n1") == 0
    assert capsys.readouterr().out == "amtool silence expire $(amtool silence query --quiet 'node=\"n1\"')\n"
    assert agent.requests == []


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("n1,n2", ["n1", "n2"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("gpu[008-010],x,x", ["gpu008", "gpu009", "gpu010", "x"]),
        ("r[1-2]n[01,7]", ["r1n01", "r1n7", "r2n01", "r2n7"]),
        ("a.b-c_d", ["a.b-c_d"]),
    ],
)
def test_node_lists_are_read_as_slurm_writes_them(text: str, nodes: list[str]) -> None:
    assert silences.expanded(text) == nodes


@pytest.mark.parametrize(
    "text", ["", "n1,,n2", "n[3-1]", "n[a-b]", "n[1-999999999]", "n[1-2", 'n"1', "n 1", "$(x)", "n[1-99999][1-99999]"]
)
def test_what_is_no_node_list_is_refused(text: str) -> None:
    """Before anything is expanded that fills the memory."""
    with pytest.raises(ValueError, match="--nodes"):
        silences.expanded(text)


def test_real_alertmanager_takes_the_silences_and_ends_them(tmp_path: Path) -> None:
    """250 nodes; an alert of the last one is silenced, one of another cluster and another node is not."""
    (port,) = _free_ports(1)
    (tmp_path / "am.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with (tmp_path / "log").open("wb") as log:
        alertmanager = subprocess.Popen(
            ["prometheus-alertmanager", f"--config.file={tmp_path / 'am.yml'}", f"--storage.path={tmp_path / 'data'}",
             "--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _ready(url)
        nodes = silences.expanded("gpu-[001-250]")
        for line in silences.add(nodes, "c", 3600.0, 'swap "it"; now', "anna"):
            _shell(line, url)
        alerts = [
            {"labels": {"alertname": "A", "node": n, "cluster": c}}
            for n, c in (("gpu-250", "c"), ("gpu-250", "d"), ("x-250", "c"))
        ]
        body = json.dumps(alerts).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/v2/alerts", body, headers), timeout=5)
        assert _silenced(url) == {("gpu-250", "c")}
        for line in silences.expire(nodes, "c"):
            _shell(line, url)
        assert _silenced(url) == set()
    finally:
        alertmanager.terminate()
        alertmanager.wait(10)


def _ready(url: str) -> None:
    import time

    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/-/ready", timeout=1)
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("Alertmanager is not ready")


def _shell(line: str, url: str) -> None:
    line = re.sub(r"\bamtool\b", f"amtool --alertmanager.url={shlex.quote(url)}", line)
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


def _silenced(url: str) -> set[tuple[str, str]]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        alerts = json.load(answer)
    return {(a["labels"]["node"], a["labels"]["cluster"]) for a in alerts if a["status"]["silencedBy"]}

"""`accelwatch faults` and `runs`: the journal as JSON and as a table, while an agent writes it or without one."""

import json
from pathlib import Path

import pytest

from accelwatch import cli
from accelwatch.commands import faults, runs
from accelwatch.commands.journal import Asked
from accelwatch.faults.shown import shown
from accelwatch.journal.changes import Changes
from accelwatch.journal.store import Store
from accelwatch.readings.severity import Severity
from accelwatch.runs.model import Suspect
from journal_rows import WALL, cleared, ended, episode, run

NODE = Asked("node7", "24h")
FAULT_KEYS = {
    "class", "severity", "vendor", "device", "code", "codes", "incident", "echo", "message", "action", "first_seen",
    "last_seen", "count", "run_id", "drill", "id", "active", "historical",
}  # fmt: skip
RUN_KEYS = {
    "run_id", "attempt", "started", "ended", "outcome", "cause", "suspects", "devices", "lost_device_seconds",
}  # fmt: skip


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "accelwatch.yml"
    path.write_text(f"node: node7\nstate_dir: {tmp_path / 'state'}\n")
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An agent's own, open; an hour after `WALL`."""
    monkeypatch.setattr("accelwatch.clock.SystemClock.time", lambda _self: WALL + 3600)
    return Store(tmp_path / "state")


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_faults_are_those_of_check_with_id_active_and_historical(
    configuration: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The document of the contract, newest first, beside the writer."""
    old = cleared(3, first_wall=WALL - 90_000, last_wall=WALL - 90_000, cleared_wall=WALL - 89_000)
    store.write(Changes(episodes=[episode(1), cleared(2, historical=True), old]))
    document = json.loads(asked(capsys, "--config", configuration, "faults", "--json"))
    assert list(document) == ["faults"]
    assert [(f["id"], f["active"], f["historical"]) for f in document["faults"]] == [
        (2, False, True),
        (1, True, False),
    ]
    assert all(set(fault) == FAULT_KEYS for fault in document["faults"])
    first = document["faults"][1]
    assert (first["class"], first["severity"], first["codes"]) == ("mem_uncorrectable", "run_ending", ["48", "63"])
    assert first["first_seen"] == shown(episode(1)).first_seen == "2026-09-21T14:13:21Z"
    wider = json.loads(asked(capsys, "--config", configuration, "faults", "--json", "--since", "40d"))
    assert [f["id"] for f in wider["faults"]] == [2, 1, 3]


def test_runs_have_the_keys_of_the_contract(
    configuration: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not known yet is null."""
    suspect = Suspect(class_="pcie_degraded", vendor="nvidia", device="1")
    store.write(Changes(runs=[run("r2"), ended("r1", 5.0, cause="mem_uncorrectable", lost_device_seconds=80.0)]))
    store.write(Changes(runs=[ended("r0", -200.0, started=WALL - 300, suspects=(suspect,))]))
    document = json.loads(asked(capsys, "--config", configuration, "runs", "--json"))
    assert [r["run_id"] for r in document["runs"]] == ["r2", "r1", "r0"]
    assert all(set(each) == RUN_KEYS for each in document["runs"])
    going, over, older = document["runs"]
    assert (going["ended"], going["outcome"], going["cause"], going["lost_device_seconds"]) == (None,) * 4
    assert (over["outcome"], over["cause"], over["lost_device_seconds"]) == ("failed", "mem_uncorrectable", 80.0)
    assert over["ended"] == "2026-09-21T14:13:25Z"
    assert going["devices"][1] == {"vendor": "nvidia", "device": "1", "model": None, "rank": 1}
    assert older["suspects"] == [{"class": "pcie_degraded", "vendor": "nvidia", "device": "1", "code": None}]


def test_the_table_of_faults_says_what_where_which_run_and_what_to_do(
    configuration: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The action stands with what is active; the reason with what is cleared."""
    store.write(Changes(episodes=[episode(1), cleared(2, severity=Severity.DEGRADING, echo=True)]))
    lines = asked(capsys, "--config", configuration, "faults").splitlines()
    assert lines[0] == "node7: 1 active, 1 cleared in the last 24h"
    assert lines[1].split() == ["ID", "FIRST", "SEEN", "SEVERITY", "CLASS", "DEVICE", "CODE", "COUNT", "RUN", "STATE"]
    assert lines[2].endswith("cleared 2026-09-21 14:13:23Z, echo: the GPU was reset")
    assert lines[3] == "    double-bit error"
    assert lines[4].split() == [
        "1", "2026-09-21", "14:13:21Z", "run_ending", "mem_uncorrectable", "nvidia", "3", "48", "63", "1", "r1",
        "attempt", "0", "active",
    ]  # fmt: skip
    assert lines[5:] == ["    double-bit error", "    do: Reset the GPU."]


def test_the_table_of_runs_says_how_each_ended_and_of_what() -> None:
    """A cause that is not decided yet is not no cause."""
    decided = ended(
        "r1", 5.0, cause="mem_uncorrectable", cause_vendor="nvidia", cause_device="1", cause_code="48",
        cause_final=True, lost_device_seconds=7200.0, detail="signal ABRT",
    )  # fmt: skip
    lines = runs.table([run("r3"), ended("r2", 5.0), decided], NODE, colour=False).splitlines()
    assert lines[0] == "node7: 1 running, 2 ended in the last 24h"
    assert "running" in lines[2]
    assert "not decided yet" in lines[3]
    assert lines[4].endswith("failed   mem_uncorrectable on nvidia 1 [48]  nvidia 0,1  2.0 device-h")
    assert lines[5] == "    signal ABRT"


def test_what_a_log_line_smuggled_in_does_not_reach_the_terminal() -> None:
    """A user's process name may hold anything."""
    text = faults.table([episode(1, message="\x1b]0;owned\x07 gone\r\nfine")], NODE, colour=False)
    assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
    assert "?]0;owned? gone??fine" in text


def test_colour_marks_what_is_active() -> None:
    """Only where the terminal has colours, and only what is not over."""
    text = faults.table([episode(1), cleared(2)], NODE, colour=True)
    assert text.count("\x1b[31m") == 1
    assert "\x1b" not in faults.table([episode(1)], NODE, colour=False)


def test_no_fault_is_said_in_words_and_no_journal_is_not_no_fault(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 3: the question could not be answered."""
    for command in ("faults", "runs"):
        assert cli.main(["--config", str(configuration), command]) == 3
        assert "has an agent run on this node" in capsys.readouterr().err
    Store(tmp_path / "state").close()
    assert "no fault in the last 24h" in asked(capsys, "--config", configuration, "faults")
    assert "no run in the last 2h" in asked(capsys, "--config", configuration, "runs", "--since", "2h")


@pytest.mark.parametrize("since", ["soon", "-5h", "5", "1e3h"])
def test_a_time_that_is_none_is_refused(configuration: Path, since: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is expected."""
    assert cli.main(["--config", str(configuration), "faults", f"--since={since}"]) == 3
    assert "such as 30m, 24h or 90d" in capsys.readouterr().err

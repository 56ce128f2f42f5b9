"""`accelwatch remediations`: the audit as JSON and as a table, the reset, and what `config check` says of the program."""

import json
from pathlib import Path
from typing import Any

import pytest

from accelwatch import cli
from accelwatch.journal.changes import Changes
from accelwatch.journal.store import Store
from accelwatch.remediation.record import Outcome
from accelwatch.server.control import ControlListener
from journal_rows import WALL, remediation


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An hour after `WALL`, with four decisions."""
    monkeypatch.setattr("accelwatch.clock.SystemClock.time", lambda _self: WALL + 3600)
    path = tmp_path / "accelwatch.yml"
    path.write_text(f"node: node7\nstate_dir: {tmp_path / 'state'}\n")
    nothing: dict[str, Any] = {"ended_wall": None, "exit_status": None, "stderr": ""}
    failed = remediation(
        2, outcome=Outcome.FAILED, exit_status=1, error="exit status 1", stderr="a\nInvalid \x1b[31muser id"
    )
    rows = [
        remediation(1, outcome=Outcome.DRY_RUN, dry_run=True, message="fell off the bus", **nothing),
        failed,
        remediation(3, outcome=Outcome.BREAKER_OPEN, opened_at=100.0, **nothing),
        remediation(4, outcome=Outcome.RESET, incident="", command=(), by="op", reason="swapped", **nothing),
    ]
    store = Store(tmp_path / "state")
    store.write(Changes(remediations=rows))
    store.close()
    return path


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_the_audit_says_what_why_and_how_it_ended(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first; what does not apply is null."""
    found = json.loads(asked(capsys, "--config", configuration, "remediations", "--json"))["remediations"]
    assert [(row["id"], row["outcome"], row["dry_run"]) for row in found] == [
        (4, "reset", False), (3, "breaker_open", False), (2, "failed", False), (1, "dry_run", True),
    ]  # fmt: skip
    reset, stopped, failed, rehearsed = found
    assert (reset["by"], reset["reason"], reset["fault"] is not None) == ("op", "swapped", True)
    assert (stopped["breaker_until"], failed["breaker_until"]) == ("2026-09-21T15:13:20Z", None)
    assert (failed["exit_status"], failed["error"], failed["command"]) == (
        1, "exit status 1", ["/usr/local/sbin/drain", "now"],
    )  # fmt: skip
    assert (failed["decided"], failed["ended"]) == ("2026-09-21T14:13:22Z", "2026-09-21T14:13:23Z")
    assert (rehearsed["message"], rehearsed["ended"], rehearsed["stderr"]) == ("fell off the bus", None, None)
    assert json.loads(asked(capsys, "--config", configuration, "remediations", "--json", "--since", "1s")) == {
        "remediations": []
    }


def test_a_person_reads_a_table(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = asked(capsys, "--config", configuration, "remediations")
    for words in (
        "would run: /usr/local/sbin/drain now",
        "stderr: Invalid ?[31muser id",
        "the breaker, which is open until 2026-09-21 15:13:20Z or a reset",
        "breaker closed by op: swapped",
    ):
        assert words in text
    assert "no fault has asked for a command in the last 1s" in asked(
        capsys, "--config", configuration, "remediations", "--since", "1s"
    )


def test_a_reset_needs_a_reason_and_an_agent(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--config", str(configuration), "remediations", "reset"]
    assert cli.main(argv) == 3
    assert "expected --reason TEXT" in capsys.readouterr().err
    assert cli.main([*argv, "--reason", "x"]) == 3
    assert "no agent answers" in capsys.readouterr().err
    requests: list[dict[str, Any]] = []

    def answer(line: bytes) -> bytes:
        requests.append(json.loads(line))
        return json.dumps({"was_open": True}).encode()

    listener = ControlListener(configuration.parent / "state" / "control.sock", answer)
    listener.start()
    assert "was open and is closed" in asked(capsys, *argv, "--reason", "board swapped")
    listener.close()
    (request,) = requests
    assert (request["command"], request["reason"]) == ("remediation_reset", "board swapped")


def test_config_check_looks_at_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, path = tmp_path / "drain", tmp_path / "accelwatch.yml"
    path.write_text(f"remediation: {{command: [{program}]}}\n")

    def check() -> tuple[int, str]:
        status = cli.main(["config", "check", str(path)])
        return status, capsys.readouterr().err

    assert check() == (
        1,
        f"{path}: remediation.command: {program}: No such file or directory; expected a program there\n",
    )
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    assert check() == (1, f"{path}: remediation.command: {program}: not executable; chmod 755 {program}\n")
    program.chmod(0o757)
    status, said = check()
    assert (status, "writable by others than its owner" in said) == (1, True)
    program.chmod(0o755)
    assert check() == (0, "")

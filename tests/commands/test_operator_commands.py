"""`accelwatch clear` and `inventory`: what they ask the agent, and what they print."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accelwatch import cli
from accelwatch.server.control import ControlListener

GPU = {
    "vendor": "nvidia", "device": "0", "model": "H100", "serial": "s1", "pci": "0000:3b:00.0", "up": True,
    "first_seen": 1_790_000_000.0,
}  # fmt: skip


class Agent:
    """Answers the control socket as it is told to."""

    def __init__(self, directory: Path) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}
        (directory / "state").mkdir()
        self.configuration = directory / "accelwatch.yml"
        self.configuration.write_text(f"state_dir: {directory / 'state'}\n")
        self.listener = ControlListener(directory / "state" / "control.sock", self._answer)
        self.listener.start()

    def _answer(self, line: bytes) -> bytes:
        self.requests.append(json.loads(line))
        return json.dumps(self.answer).encode()

    def run(self, *arguments: str) -> int:
        return cli.main(["--config", str(self.configuration), *arguments])


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path)
    yield made
    made.listener.close()


def test_clear_sends_number_and_reason(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    """And says what was cleared."""
    agent.answer = {"cleared": 12}
    assert agent.run("clear", "12", "--reason", "board swapped") == 0
    assert agent.requests == [{"command": "clear", "id": 12, "reason": "board swapped"}]
    assert capsys.readouterr().out == "fault 12 is cleared: board swapped\n"


def test_a_fault_that_cannot_be_cleared_is_said(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 3 and the agent's words."""
    agent.answer = {"error": "no fault with id 12 is active"}
    assert agent.run("clear", "12", "--reason", "x") == 3
    assert "no fault with id 12 is active" in capsys.readouterr().err


def test_clear_without_a_reason_is_wrong_usage(agent: Agent) -> None:
    """Why it is over is kept with the fault."""
    with pytest.raises(SystemExit, match="3"):
        agent.run("clear", "12")
    assert agent.requests == []


def test_the_inventory_shows_what_is_down_and_what_accept_would_do(
    agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device that is down is expected until somebody says otherwise."""
    agent.answer = {"devices": [GPU, GPU | {"device": "1", "up": False, "model": None, "pci": None}]}
    assert agent.run("inventory") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["nvidia", "0", "H100", "up", "0000:3b:00.0", "s1", "2026-09-21", "14:13:20Z"]
    assert lines[2].split() == ["nvidia", "1", "-", "DOWN", "-", "s1", "2026-09-21", "14:13:20Z"]
    assert "inventory accept" in lines[3]
    agent.answer = {"devices": []}
    assert agent.run("inventory") == 0
    assert agent.requests == [{"command": "inventory"}] * 2
    assert capsys.readouterr().out == "no device is known\n"


def test_accept_says_which_devices_are_expected_no_more(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    """Or that all are up."""
    agent.answer = {"forgotten": [GPU | {"up": False}]}
    assert agent.run("inventory", "accept") == 0
    assert agent.requests == [{"command": "inventory_accept"}]
    assert capsys.readouterr().out == "forgotten, and expected no more: nvidia 0 (H100)\n"
    agent.answer = {"forgotten": []}
    assert agent.run("inventory", "accept") == 0
    assert "nothing to forget" in capsys.readouterr().out


def test_without_an_agent_nothing_is_changed_and_that_is_said(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    """The agent alone writes the journal."""
    agent.listener.close()
    for arguments in (("clear", "1", "--reason", "x"), ("inventory",), ("inventory", "accept")):
        assert agent.run(*arguments) == 3
        assert "no agent answers on" in capsys.readouterr().err

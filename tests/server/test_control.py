"""The control socket goes on whatever one client or one command does."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accelwatch.answers import Answers
from accelwatch.server import control


def answer(line: bytes) -> bytes:
    request = json.loads(line)
    if "flaw" in request:
        raise RuntimeError("a flaw")
    return json.dumps(request.get("reply", {"ok": True})).encode()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    flaws: list[str] = []
    path = tmp_path / "control.sock"
    listener = control.ControlListener(path, answer, lambda where, error: flaws.append(f"{where}: {error}"))
    listener.start()
    yield path, flaws
    listener.close()
    assert not path.exists()


def test_a_command_that_fails_inside_does_not_end_the_socket(listening: tuple[Path, list[str]]) -> None:
    """Its client is told, the log is told, the next command is answered."""
    path, flaws = listening
    with pytest.raises(control.ControlError, match="RuntimeError: a flaw"):
        control.ask(path, {"flaw": 1}, 2)
    assert flaws == ["control socket: a flaw"]
    assert control.ask(path, {}, 2) == {"ok": True}


def test_nesting_without_end_does_not_end_the_socket(listening: tuple[Path, list[str]]) -> None:
    """json raises RecursionError, which is no ValueError."""
    path, flaws = listening
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"[" * 60_000 + b"\n")
        assert b"RecursionError" in client.recv(65536)
    assert len(flaws) == 1
    assert control.ask(path, {}, 2) == {"ok": True}


def test_a_request_that_is_too_long_gets_no_answer(listening: tuple[Path, list[str]]) -> None:
    """And is not cut to something that may mean another thing."""
    path, _ = listening
    with pytest.raises(control.ControlError):
        control.ask(path, {"a": "b" * control.LINE_LIMIT_BYTES}, 5)
    assert control.ask(path, {}, 2) == {"ok": True}


def test_a_silent_client_holds_up_the_next_one_only_briefly(
    listening: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saying nothing costs it its connection."""
    monkeypatch.setattr(control, "CLIENT_SECONDS", 0.1)
    path, _ = listening
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        assert control.ask(path, {}, 2) == {"ok": True}


def test_an_error_of_the_agent_and_an_answer_without_sense_are_told_apart(listening: tuple[Path, list[str]]) -> None:
    """Both are a ControlError with the reason."""
    path, _ = listening
    with pytest.raises(control.ControlError, match="not now"):
        control.ask(path, {"reply": {"error": "not now"}}, 2)
    with pytest.raises(control.ControlError, match="no JSON object"):
        control.ask(path, {"reply": 7}, 2)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """Only a socket that nobody answers on may be replaced."""
    path = tmp_path / "control.sock"
    path.write_text("keep me")
    with pytest.raises(OSError, match="not a socket"):
        control.ControlListener(path, answer)
    assert path.read_text() == "keep me"


class Echo(Answers):
    """Answers with what it was asked."""

    def __init__(self) -> None:
        """Without an agent."""

    def _command(self, request: dict[str, Any]) -> dict[str, Any]:
        return request


def test_an_argument_that_is_no_utf8_reaches_no_page_and_no_journal() -> None:
    """A shell's latin-1 comes as a lone surrogate, which cannot be written as text; nesting without end is refused."""
    assert json.loads(Echo().control(b'{"reason": "gepr\\udcfcft"}')) == {"reason": "gepr?ft"}
    assert "not understood" in json.loads(Echo().control(b"[" * 50_000))["error"]

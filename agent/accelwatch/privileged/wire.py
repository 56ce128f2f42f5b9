"""What passes between the agent and its root helper: one question and one answer for each connection.

A question is a JSON object on one line, at most `QUESTION_BYTES`; the answer is one JSON object, at most
`ANSWER_BYTES`, ended by the close of the connection. An opened kernel log or event socket comes beside the answer as a
descriptor (unix(7), SCM_RIGHTS): it stays good when the helper ends, so nothing of it is lost or told twice, and no
record passes through the helper.

Python's own json and plain classes: the helper is small, and so is what root runs. It does without `typing`, which is a
tenth of its memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

QUESTION_BYTES = 4096
# Both streams of a tool are at most 1 MiB (`sources.commands`); JSON writes a control character as six.
ANSWER_BYTES = 8 << 20


class Question:
    """`ask`: kernel_log, process_events, open_files, environment, traffic, hccn_tool; the rest as that one needs it."""

    __slots__ = ("arguments", "ask", "pid", "timeout")

    def __init__(self, ask: str, pid: int = 0, arguments: Sequence[str] = (), timeout: float = 0.0) -> None:
        self.ask = ask
        self.pid = pid
        self.arguments = tuple(arguments)
        self.timeout = timeout

    def line(self) -> bytes:
        """As it is sent."""
        return json.dumps(_all(self)).encode() + b"\n"


class Answer:
    """One of these is set; `error` comes with an errno, 0 where there is none."""

    __slots__ = ("error", "files", "number", "opened", "output", "timed_out", "traffic", "variables")

    def __init__(
        self,
        *,
        error: str | None = None,
        number: int = 0,
        timed_out: bool = False,
        opened: bool = False,
        files: list[str] | None = None,
        variables: dict[str, str] | None = None,
        traffic: tuple[int, int] | None = None,
        output: tuple[int, str, str] | None = None,
    ) -> None:
        self.error = error
        self.number = number
        self.timed_out = timed_out
        self.opened = opened
        self.files = files
        self.variables = variables
        self.traffic = traffic
        self.output = output

    def line(self) -> bytes:
        """As it is sent: what is not set is left out."""
        return json.dumps({name: value for name, value in _all(self).items() if value}).encode()


def question(line: bytes) -> Question:
    """Raises `ValueError` for anything but the fields of a question in their types."""
    fields = _fields(line, Question)
    arguments = fields.get("arguments", [])
    if not isinstance(arguments, list) or not all(isinstance(one, str) for one in arguments):
        raise ValueError("arguments: expected a list of strings")
    for name, kinds in (("ask", (str,)), ("pid", (int,)), ("timeout", (int, float))):
        value = fields.get(name, 0)
        if name in fields and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise ValueError(f"{name}: expected {' or '.join(kind.__name__ for kind in kinds)}")
    if "ask" not in fields:
        raise ValueError("ask: not there")
    return Question(**fields)


def answer(data: bytes) -> Answer:
    """What root's own helper says. Raises `ValueError`."""
    fields = _fields(data, Answer)
    for name in ("traffic", "output"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return Answer(**fields)


def _all(message: Question | Answer) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__slots__}


def _fields(data: bytes, kind: type[Question | Answer]) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(fields, dict):
        raise ValueError("expected an object")
    unknown = sorted(fields.keys() - set(kind.__slots__))
    if unknown:
        raise ValueError(f"unknown fields: {', '.join(unknown)[:80]}")
    return fields

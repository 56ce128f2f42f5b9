"""What passes between the agent and its root helper: one question and one answer for each connection.

A question is a JSON object on one line, at most `QUESTION_BYTES`; the answer is one JSON object, at most
`ANSWER_BYTES`, ended by the close of the connection. An opened kernel log or event socket comes beside the answer as a
descriptor (unix(7), SCM_RIGHTS): it stays good when the helper ends, so nothing of it is lost or told twice, and no
record passes through the helper.
"""

from __future__ import annotations

import msgspec

QUESTION_BYTES = 4096
# Both streams of a tool are at most 1 MiB (`sources.commands`); JSON writes a control character as six.
ANSWER_BYTES = 8 << 20


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ask`: kernel_log, process_events, open_files, environment, traffic, hccn_tool; the rest as that one needs it."""

    ask: str
    pid: int = 0
    arguments: tuple[str, ...] = ()
    timeout: float = 0.0


class Answer(msgspec.Struct, frozen=True):
    """Exactly one of these is set; `error` comes with an errno, 0 where there is none."""

    error: str | None = None
    number: int = 0
    timed_out: bool = False
    opened: bool = False
    files: list[str] | None = None
    variables: dict[str, str] | None = None
    traffic: tuple[int, int] | None = None
    output: tuple[int, str, str] | None = None

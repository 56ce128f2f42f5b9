"""What a simulated vendor tool leaves behind, and how trouble spoils it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelwatch.simulator.state import ToolTrouble

FLOOD_BYTES = 10 << 20
_TRUNCATED_SHARE = 0.62


@dataclass(frozen=True, slots=True)
class Answer:
    """Both streams and the exit status of one call; `block`: it never returns by itself."""

    stdout: str
    stderr: str = ""
    status: int = 0
    block: bool = False
    delay_seconds: float = 0.0  # before anything is printed


def encoded(answer: Answer) -> tuple[bytes, bytes]:
    """Both streams as the tool writes them."""
    return answer.stdout.encode(errors="surrogateescape"), answer.stderr.encode(errors="surrogateescape")


def spoiled(answer: Answer, troubles: Sequence[ToolTrouble], argv: Sequence[str]) -> Answer:
    """The answer as a sick tool gives it: by the first trouble whose `match` is in the arguments.

    Raises `ValueError` for a kind that does not exist.
    """
    line = " ".join(argv)
    trouble = next((trouble for trouble in troubles if trouble.match in line), None)
    if trouble is None:
        return answer
    if trouble.kind == "block":
        return replace(answer, block=True)
    if trouble.kind == "slow":
        return replace(answer, delay_seconds=trouble.seconds)
    if trouble.kind == "truncate":
        return Answer(_cut(answer.stdout))
    if trouble.kind == "flood":
        return Answer("x" * FLOOD_BYTES)
    if trouble.kind not in _FIXED:
        raise ValueError(f"no tool trouble {trouble.kind!r}")
    return _FIXED[trouble.kind]


def _cut(text: str) -> str:
    """Ends in the middle of a row, as a tool does that was killed while it wrote."""
    place = int(len(text) * _TRUNCATED_SHARE)
    if text[place - 1 : place + 1].count("\n"):
        place -= 4
    return text[: max(0, place)]


_FIXED = {
    # The two surrogates become the bytes FF and FE: no UTF-8.
    "garbage": Answer("\x7fELF\x01\x02 \x00@@@ \udcff\udcfe %%% 0x5a5a5a5a\n" * 3),
    "empty": Answer(""),
    "language": Answer("查询设备信息失败，请检查驱动是否正常运行。\n"),
    # On standard output; the status is -8005 modulo 256 (reference/ascend.md section 2.3).
    "error_8005": Answer(
        "DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005\n", status=187
    ),
}

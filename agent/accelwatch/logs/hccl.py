"""Lines of Ascend's collective communication: plog files and the console (reference/ascend.md section 6)."""

from __future__ import annotations

import re

from accelwatch.readings.log_event import LogEvent

# The table of a failed connection: its rows come within this many lines of its head.
TABLE_LINES_LIMIT = 40

_PLOG = re.compile(r"\[(ERROR|WARNING|INFO|EVENT|DEBUG)\]\s?([A-Z_]+)\((-?\d{1,12}),\s*([^)]*)\):")
_CONSOLE = re.compile(r"(?:^|[\s(\]])(E[EIJZ]\d{4})(?:\)\s*:|:)")
_CONSOLE_PID = re.compile(r"\[PID: ?(\d{1,12})\]")
_SECONDS = re.compile(
    r"\btime-?out(?:\[| was set to |[:=] ?|\s+)(\d{1,5})(?: ?s(?:econds?)?)?\b(?!\s*ms)", re.IGNORECASE
)
_ROW = re.compile(
    r"\|\s*(\S+?)\((\d{1,12})\)\s*\|(?:\s*\d+\s*\|)?\s*(\S+?)\((\d{1,12})\)\s*\|.*?\b(no connect|time ?out|\w+)\s*\|?"
)
_DECORATION = re.compile(r"\]\s*(?:_{10,}|\|[-\s|]+$|\|\s+dest_ip|\|\s*comm error|\d\. )")
_RANK = re.compile(
    r"(?<!remote )\b(?:rank|rankId|localUserrank|local rank)\s?\[(\d{1,6})\]|\blocal rank \[[^\]/]*/(\d{1,6})\]"
)
_PHYSICAL = re.compile(r"\bsrc devicePhyId\[(\d{1,4})\]")
_REMOTE = re.compile(
    r"crimer rank ?\[([^\]]+)\]|Location\[IP/ID\]:\[([^\]]+)\]|remoteIP\{[^}]*deviceIp\[([^\]]+)\]|\bip:\[([^\]]+)\]"
    r"|Failed to connect agent\[([\d,]+)\]|\bdestRank\[([^\]]+)\]|\bremote rank:? ?\[(\d{1,12})\]"
)

_CQE = re.compile(r"\bcqe err(?:or)? status|\berror cqe status|\bCQE status\[", re.IGNORECASE)
_HEARTBEAT = re.compile(r"\[HeartbeatAbnormal\]|Cluster Exception Location")
_HEARTBEAT_CQE = re.compile(r"status ?\[ERROR CQE\]|Error cqe Occurred", re.IGNORECASE)
_SOCKET = re.compile(
    r"wait socket establish timeout|get socket timeout|\[InitChannelStage\]\[Timeout\]"
    r"|the connection failure between this device"
)
_LINK = re.compile(
    r"connected p2p timeout|Wait Enable P2P Failed|Failed to connect agent|LinksEstablishCompleted"
    r"|links establish completed failed"
)
_SDMA = re.compile(r"fftsplus sdma error", re.IGNORECASE)

# HCCL prints the console code together with these lines (its own source and fault guide).
LINK_CODE, CQE_CODE, SDMA_CODE = "EI0006", "EI0013", "EI0012"
_MODULES = ("HCCL", "HCCP", "ROCE", "RUNTIME")


class Hccl:
    """See the module. A table gives one event per connection in it, at its row."""

    needles = (
        "[ERROR]", "HeartbeatAbnormal", "LINK_ERROR_INFO", "Cluster Exception", "EI0", "EI9", "EJ0", "EE9", "EZ9",
    )  # fmt: skip

    def __init__(self) -> None:
        self._table: LogEvent | None = None
        self._lines = 0

    @property
    def waiting(self) -> bool:
        """Inside a table."""
        return self._table is not None

    def feed(self, text: str) -> list[LogEvent]:
        """One event per line that tells a failure."""
        head = _PLOG.search(text)
        if head is None:
            return self._console(text)
        level, module = head[1], head[2]
        if _HEARTBEAT.search(text) is not None:
            kind = "hccl_cqe" if _CQE.search(text) or _HEARTBEAT_CQE.search(text) else "hccl_heartbeat"
            return [_event(kind, head, text, CQE_CODE if kind == "hccl_cqe" else None)]
        if level != "ERROR" or module not in _MODULES:
            return []
        if "LINK_ERROR_INFO" in text:
            unfinished = self.flush()
            self._table, self._lines = _event("hccl_link", head, text, LINK_CODE), 0
            return unfinished
        if self._table is not None and (rows := self._row(head, text)) is not None:
            return rows
        if _DECORATION.search(text) is not None:
            return []
        if _CQE.search(text) is not None:
            return [_event("hccl_cqe", head, text, CQE_CODE)]
        if _SDMA.search(text) is not None:
            return [_event("hccl", head, text, SDMA_CODE)]
        if module != "HCCL":
            return []
        if _SOCKET.search(text) is not None:
            return [_event("hccl_link", head, text, LINK_CODE)]
        if _LINK.search(text) is not None:
            return [_event("hccl_link", head, text)]
        return [_event("hccl_error", head, text)]

    def flush(self) -> list[LogEvent]:
        """A table without rows still says that a connection failed."""
        table, self._table = self._table, None
        return [] if table is None or self._lines < 0 else [table]

    def _row(self, head: re.Match[str], text: str) -> list[LogEvent] | None:
        """`None`: the line is no row. The table ends at the line that explains it."""
        match = _ROW.search(text)
        if match is not None:
            self._lines = -1  # it has rows: its head alone says nothing more
            return [
                LogEvent(
                    kind="hccl_link",
                    vendor="ascend",
                    code=LINK_CODE,
                    pid=int(head[3]),
                    process=head[4] or None,
                    rank=int(match[4]),
                    culprit=f"{match[1]}/{match[2]}",
                    text=text,
                )
            ]
        if self._lines >= 0:
            self._lines += 1
        if "the connection failure between" in text or self._lines > TABLE_LINES_LIMIT:
            return self.flush()
        return None

    def _console(self, text: str) -> list[LogEvent]:
        match = _CONSOLE.search(text)
        if match is None:
            return []
        pid = _CONSOLE_PID.search(text)
        return [
            LogEvent(
                kind="hccl",
                vendor="ascend",
                code=match[1],
                pid=None if pid is None else int(pid[1]),
                rank=_rank(text),
                culprit=_remote(text),
                waited_seconds=_waited(text),
                text=text,
            )
        ]


def _event(kind: str, head: re.Match[str], text: str, code: str | None = None) -> LogEvent:
    physical = _PHYSICAL.search(text)
    return LogEvent(
        kind=kind,
        vendor="ascend",
        code=code,
        number=None if physical is None else int(physical[1]),
        pid=int(head[3]) if int(head[3]) > 0 else None,
        process=head[4] or None,
        rank=_rank(text),
        culprit=_remote(text),
        waited_seconds=_waited(text),
        text=text[head.start() :],
    )


def _waited(text: str) -> float | None:
    match = _SECONDS.search(text)
    return None if match is None else float(match[1])


def _rank(text: str) -> int | None:
    match = _RANK.search(text)
    return None if match is None else int(match[1] or match[2])


def _remote(text: str) -> str | None:
    match = _REMOTE.search(text)
    return None if match is None else next(group for group in match.groups() if group is not None)

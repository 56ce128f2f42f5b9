"""Lines of PyTorch's NCCL watchdog, of NCCL and of CUDA in training logs (reference/nvidia.md section 7)."""

from __future__ import annotations

import re

from accelwatch.readings.log_event import LogEvent

# Authors and terminals wrap the watchdog's long lines.
WRAPPED_LINES_LIMIT = 3

_RANK = re.compile(r"\[rank(\d{1,12})\]|\bRank (\d{1,12})\]|\[Rank (\d{1,12})\]")
_TIMEOUT = re.compile(r"Watchdog caught collective operation timeout")
_TIMEOUT_MS = re.compile(r"Timeout\(ms\)=(\d{1,12})")
_WORKS = re.compile(
    r"last enqueued (?:NCCL )?work: (-?\d{1,12}), ?last completed (?:NCCL )?work: (-?\d{1,12})", re.IGNORECASE
)
_EXCEPTION = re.compile(
    r"Exception \(either an error or timeout\) detected by watchdog|failure detected by watchdog at work"
)
_PERIODIC = re.compile(r"Work update periodically")
_HEARTBEAT = re.compile(
    r"Heartbeat monitor timed out|ProcessGroupNCCL's watchdog got stuck for (\d{1,12}) seconds"
    r"|due to ProcessGroupNCCL watchdog hang"
)
_CUDA = re.compile(r"(?:CUDA error|Cuda failure(?: \d+)?|CUDA failure(?: \d+)?):? '?([a-z][\w' ,().-]*)")
_CUDA_NAME = re.compile(r"\bcudaErrorECCUncorrectable\b|\bCUDA_ERROR_ECC_UNCORRECTABLE\b")
_ERROR = re.compile(
    r"NCCL error in: |NCCL error (?:of type|executing)"
    r"|\bnccl(?:SystemError|InternalError|RemoteError|UnhandledCudaError)\b"
)
_WARN = re.compile(r"(?:^|\s)(?:\S+?:(\d{1,12}):\d+ )?\[\d+\] (?:\S+ )?NCCL WARN (.*)|NCCL WARN (.*)")
# Of NCCL's many warnings those that say that a transfer or a peer failed.
_WARN_FAILED = re.compile(
    r"Got completion (?:from peer .*)?with (?:status|error)|Got async event|[Cc]all to \w+ (?:from|to) .*failed"
    r"|[Cc]onnection (?:closed|reset|refused)|[Tt]imed? ?out|remote (?:peer|process)|unhandled (?:cuda|system) error"
)


class Nccl:
    """See the module. A time-out whose line was wrapped waits for the time-out's value, a few lines at most."""

    needles = (
        "Watchdog caught", "Exception (either", ", last completed ", ", Last completed ", "Heartbeat monitor timed out",
        "NCCL watchdog", "CUDA error", "Cuda failure", "CUDA failure", "ECCUncorrectable", "ECC_UNCORRECTABLE",
        "NCCL WARN", "NCCL error", "SystemError", "InternalError", "RemoteError", "UnhandledCudaError",
        "ProcessGroupNCCL",
    )  # fmt: skip

    def __init__(self) -> None:
        self._timeout: LogEvent | None = None
        self._rank: int | None = None  # of the line before, whose rest may stand on this one
        self._lines = 0

    @property
    def waiting(self) -> bool:
        """After the beginning of a record."""
        return self._timeout is not None or self._rank is not None

    def feed(self, text: str) -> list[LogEvent]:
        """One event per line that tells a failure."""
        own = _rank(text)
        done: list[LogEvent] = []
        if self._timeout is not None:
            if _TIMEOUT.search(text) is None and own in (None, self._timeout.rank):
                done = self._wrapped(text)
            else:
                done = self.flush()
        if own is not None:
            self._rank, self._lines = own, 0
        elif self._rank is not None:
            self._lines += 1
            if self._lines > WRAPPED_LINES_LIMIT:
                self._rank = None
        return done + self._line(text, self._rank)

    def flush(self) -> list[LogEvent]:
        """A time-out whose value never came."""
        timeout, self._timeout = self._timeout, None
        return [] if timeout is None else [timeout]

    def _line(self, text: str, rank: int | None) -> list[LogEvent]:
        if _TIMEOUT.search(text) is not None:
            event = LogEvent(kind="nccl_timeout", vendor="nvidia", rank=rank, text=text)
            if (match := _TIMEOUT_MS.search(text)) is None:
                self._timeout, self._lines = event, 0
                return []
            return [_timed(event, match)]
        if (match := _CUDA.search(text)) is not None or _CUDA_NAME.search(text) is not None:
            ecc = _CUDA_NAME.search(text) is not None or "uncorrectable ECC" in text
            return [_event("cuda_ecc" if ecc else "cuda_error", text, rank)]
        works = _WORKS.search(text)
        if (works is not None or _EXCEPTION.search(text) is not None) and _PERIODIC.search(text) is None:
            return [
                LogEvent(
                    kind="nccl_exception",
                    vendor="nvidia",
                    rank=rank,
                    enqueued=None if works is None else int(works[1]),
                    completed=None if works is None else int(works[2]),
                    text=text,
                )
            ]
        if (match := _HEARTBEAT.search(text)) is not None:
            return [_event("nccl_heartbeat", text, rank, waited=None if match[1] is None else float(match[1]))]
        if (match := _WARN.search(text)) is not None and _WARN_FAILED.search(match[2] or match[3] or "") is not None:
            return [_event("nccl_error", text, rank, pid=None if match[1] is None else int(match[1]))]
        if _ERROR.search(text) is not None:
            return [_event("nccl_error", text, rank)]
        return []

    def _wrapped(self, text: str) -> list[LogEvent]:
        timeout = self._timeout
        if timeout is None:
            return []
        self._lines += 1
        match = _TIMEOUT_MS.search(text)
        if match is not None:
            self._timeout = None
            return [_timed(timeout, match, text)]
        return self.flush() if self._lines >= WRAPPED_LINES_LIMIT else []


def _timed(event: LogEvent, match: re.Match[str], more: str = "") -> LogEvent:
    return LogEvent(
        kind=event.kind,
        vendor=event.vendor,
        rank=event.rank,
        waited_seconds=int(match[1]) / 1000,
        text=f"{event.text} {more}".strip(),
    )


def _event(kind: str, text: str, rank: int | None, pid: int | None = None, waited: float | None = None) -> LogEvent:
    return LogEvent(kind=kind, vendor="nvidia", rank=rank, pid=pid, waited_seconds=waited, text=text)


def _rank(text: str) -> int | None:
    match = _RANK.search(text)
    return None if match is None else int(match[1] or match[2] or match[3])

"""Lines of the Ascend driver on the host, of its devices, and of MindCluster (reference/ascend.md section 6)."""

from __future__ import annotations

import re

from accelwatch.logs.family import Stateless
from accelwatch.readings.log_event import LogEvent

_NUMBER = re.compile(r"\b(?:device|devid|dev_id|device_id|phy_id)\s*[=:]\s*(\d{1,5})\b", re.IGNORECASE)
_CALLER = re.compile(r"<([^<>]+?):(\d{1,12})(?::(\d{1,12}))?>")
_DRIVER = re.compile(r"\[ascend\]")
_EVENT_ID = re.compile(r"\bevent[ _]?id\s*[=:]\s*(?:0x([0-9a-fA-F]{8})\b|([0-9A-F]{8})\b)", re.IGNORECASE)
_ASSERTION = re.compile(r"\bassertion\s*[=:]\s*(?:0x)?(\d)", re.IGNORECASE)
_EXCEPTION_ID = re.compile(r"exception_id\s*=\s*0x([0-9a-fA-F]{8})\b")
_BLACK_BOX = re.compile(r"system exception code \[0x([0-9a-fA-F]{8})\]")
_WAIT = re.compile(r"wait_time\s*=\s*(\d{1,12})")
_SWITCH = re.compile(
    r"got fault:.*?AssembledFaultCode: ?\"?(\[0x[0-9a-fA-F]{8},\d+,[^,\]\"]*,[^,\]\"]*\])"
    r".*?Assertion: ?(?:0x)?([0-9a-fA-F])"
)
# The monitor of the host gives this code for it (reference/ascend.md section 5).
HEARTBEAT_CODE = "40F84E00"

_PHRASES = (
    ("Heartbeat lost", "ascend_heartbeat"),
    ("DMA copy failed", "ascend_dma"),
    ("Wait event timeout", "ascend_event_timeout"),
    ("icm send msg failed", "ascend_event_timeout"),
)


class AscendDriver(Stateless):
    """See the module."""

    needles = ("[ascend]", "Event id", "Event_id", "EventI", "=0x8", "=0x4", "ExceptionReason", "AssembledFaultCode")

    def feed(self, text: str) -> list[LogEvent]:
        """One event per line."""
        if (match := _SWITCH.search(text)) is not None:
            return [_coded("ascend", match[1], text, cleared=match[2] == "0")]
        if (match := _BLACK_BOX.search(text)) is not None:
            return [_coded("ascend_mntn", match[1].upper(), text)]
        if _DRIVER.search(text) is not None:
            if (match := _EXCEPTION_ID.search(text)) is not None:
                return [_coded("ascend_mntn", match[1].upper(), text)]
            for phrase, kind in _PHRASES:
                if phrase in text:
                    return [_phrase(kind, text)]
        if (match := _EVENT_ID.search(text)) is not None:
            assertion = _ASSERTION.search(text)
            cleared = assertion is not None and assertion[1] == "0"
            return [_coded("ascend", (match[1] or match[2]).upper(), text, cleared=cleared)]
        return []


def _phrase(kind: str, text: str) -> LogEvent:
    caller = _CALLER.search(text)
    wait = _WAIT.search(text)
    return LogEvent(
        kind=kind,
        vendor="ascend",
        code=HEARTBEAT_CODE if kind == "ascend_heartbeat" else None,
        number=_number(text),
        process=None if caller is None else caller[1],
        pid=None if caller is None else int(caller[2]),
        waited_seconds=None if wait is None else int(wait[1]) / 1000,
        text=text,
    )


def _coded(kind: str, code: str, text: str, cleared: bool = False) -> LogEvent:
    return LogEvent(kind=kind, vendor="ascend", code=code, number=_number(text), cleared=cleared, text=text)


def _number(text: str) -> int | None:
    match = _NUMBER.search(text)
    return None if match is None else int(match[1])

"""Xid lines of the NVIDIA driver, of every generation (reference/nvidia.md section 5.1)."""

from __future__ import annotations

import re

from accelwatch.logs.family import PCI, Stateless, address
from accelwatch.logs.gpus import Gpus
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.severity import Severity

# The driver's own form: address in parentheses ("PCI:" is missing in the oldest, MIG adds its instances), then the
# number. Prose about an Xid, and `XID 641` of a network driver, lack it.
_XID = re.compile(rf"NVRM: Xid \((?:PCI:)?{PCI}(?:\s[^)]*)?\):\s*(\d{{1,4}})(?:,\s*(.*)|\s*)$", re.DOTALL)
_PID = re.compile(r"pid='?(?:(\d{1,12})|<?unknown>?)?'?\s*(?:,\s*|$)")
# A process name holds anything, also colons, brackets, dots and blanks; the driver ends it with a comma.
_NAME = re.compile(r"name=(.*?)\s*(?:,\s+|,?$)", re.DOTALL)
_CAUSED_BY = re.compile(r"caused by previous Xid (\d{1,12})")
_ACTION = re.compile(r"recovery action changed from .*? to 0x([0-9a-fA-F]+)")
_NVLINK = re.compile(r"\b(?:detected on link|Link)\s+(\d{1,12})")
_FATAL = re.compile(r"\b(Fatal|Non-?fatal)\b", re.IGNORECASE)

RECOVERY_ACTION_XID = 154
# Only these print whether they are fatal.
NVLINK5_XIDS = range(144, 151)
LINK_XIDS = (74, *NVLINK5_XIDS)


class Xids(Stateless):
    """See the module. `gpus` is learned from all lines of the driver and adds identity."""

    needles = ("NVRM: Xid (",)

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    def feed(self, text: str) -> list[LogEvent]:
        """One event per line."""
        match = _XID.search(text)
        if match is None:
            return []
        pci = address(match[1], match[2], match[3])
        number, rest = int(match[4]), match[5] or ""
        pid, process, message = _process(rest)
        self._gpus.learn_instance(pci, message)
        return [
            LogEvent(
                kind="xid",
                vendor="nvidia",
                code=str(number),
                pci=pci,
                pid=pid,
                process=process,
                link=_link(number, message),
                caused_by=_first(_CAUSED_BY, message),
                action=_action(number, message),
                severity=_severity(number, message),
                uuid=self._gpus.uuid(pci),
                serial=self._gpus.serial(pci),
                text=text[match.start() :],
            )
        ]


def _process(rest: str) -> tuple[int | None, str | None, str]:
    """pid, name and what follows; pid 0 and `<unknown>` are nobody."""
    pid: int | None = None
    process: str | None = None
    if (match := _PID.match(rest)) is not None:
        pid = int(match[1]) if match[1] and int(match[1]) else None
        rest = rest[match.end() :]
    if (match := _NAME.match(rest)) is not None:
        process = None if match[1] in ("", "<unknown>", "'<unknown>'") else match[1]
        rest = rest[match.end() :]
    return pid, process, rest


def _link(number: int, message: str) -> str | None:
    if number not in LINK_XIDS:
        return None
    found = _first(_NVLINK, message)
    return None if found is None else f"nvlink{int(found)}"


def _action(number: int, message: str) -> int | None:
    """The hex code: the words beside it differ by release."""
    if number != RECOVERY_ACTION_XID or (match := _ACTION.search(message)) is None:
        return None
    return int(match[1], 16)


def _severity(number: int, message: str) -> Severity | None:
    if number not in NVLINK5_XIDS or (match := _FATAL.search(message)) is None:
        return None
    return Severity.RUN_ENDING if match[1].lower() == "fatal" else Severity.DEGRADING


def _first(pattern: re.Pattern[str], message: str) -> str | None:
    match = pattern.search(message)
    return None if match is None else match[1]

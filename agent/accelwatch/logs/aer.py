"""PCIe errors: AER of the kernel, old and new wording, and APEI where the firmware reports them first."""

from __future__ import annotations

import re

from accelwatch.logs.family import PCI, Stateless, address
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.severity import Severity

_DEVICE = rf"(\S{{1,32}}) {PCI}: "
_SEVERITY = r"(Corrected|Correctable|Uncorrected|Uncorrectable)(?: \((Fatal|Non-Fatal)\))?"
_RECEIVED = re.compile(
    rf"{_DEVICE}AER: (?:Multiple )?{_SEVERITY} error (?:message )?received(?: from)?:? "
    rf"(?:{PCI}|id=([0-9a-fA-F]{{4}}))"
)
_BUS_ERROR = re.compile(rf"{_DEVICE}(?:AER: )?PCIe Bus Error: severity={_SEVERITY}, ")
_NO_RECOVERY = re.compile(rf"\bnvidia {PCI}: AER: can't recover")

_SEVERITIES = {
    "aer_corrected": Severity.INFORMATIONAL,
    "aer_nonfatal": Severity.DEGRADING,
    "aer_fatal": Severity.RUN_ENDING,
}
NOBODY = "0000:00:00"  # a port that could not find the sender names this


class Aer(Stateless):
    """An error is announced by its port and then told by the device that found it: the two count once."""

    needles = ("AER: ", "PCIe Bus Error")

    def __init__(self) -> None:
        self._announced: tuple[str, str, str] | None = None  # kind, port, sender
        self._last_kind = "aer_nonfatal"

    def feed(self, text: str) -> list[LogEvent]:
        """One event per error, at its first line; where the error is told by another device, one more for that."""
        if (match := _RECEIVED.search(text)) is not None:
            port = address(match[2], match[3], match[4])
            kind = _kind(match[5], match[6])
            sender = _sender(match, port)
            self._announced, self._last_kind = (kind, port, sender), kind
            return [_event(kind, sender, text, match)]
        if (match := _BUS_ERROR.search(text)) is not None:
            device = address(match[2], match[3], match[4])
            kind = _kind(match[5], match[6])
            announced, self._announced, self._last_kind = self._announced, None, kind
            if announced is not None and announced[0] == kind and device == announced[2]:
                return []
            return [_event(kind, device, text, match)]
        if (match := _NO_RECOVERY.search(text)) is not None:
            # The driver has no error handlers: the GPU is left as the error left it. How bad that was, its port said.
            kind = "aer_nonfatal" if self._last_kind == "aer_corrected" else self._last_kind
            return [
                LogEvent(
                    kind=kind,
                    vendor="nvidia",
                    pci=address(match[1], match[2], match[3]),
                    severity=_SEVERITIES[kind],
                    text=text[match.start() :],
                )
            ]
        return []


def _kind(word: str, fatality: str | None) -> str:
    if word.startswith("Corr"):
        return "aer_corrected"
    return "aer_fatal" if fatality == "Fatal" else "aer_nonfatal"


def _sender(match: re.Match[str], port: str) -> str:
    if match[7] is not None:
        sender = address(match[7], match[8], match[9])
    elif match[10] is not None:  # bus, then device and function in one byte, in the port's domain
        number = int(match[10], 16)
        sender = f"{port.split(':')[0]}:{number >> 8:02x}:{number >> 3 & 0x1F:02x}"
    else:
        sender = NOBODY
    return port if sender == NOBODY else sender


def _event(kind: str, pci: str, text: str, match: re.Match[str]) -> LogEvent:
    vendor = "nvidia" if match[1] == "nvidia" else "host"
    return LogEvent(kind=kind, vendor=vendor, pci=pci, severity=_SEVERITIES[kind], text=text[match.start() :])

"""Errors that the host's hardware reports: EDAC, machine checks, and APEI records of several lines."""

from __future__ import annotations

import re

from accelwatch.logs.family import PCI, Stateless, address
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.severity import Severity

_EDAC = re.compile(r"EDAC (?:\S+ )?MC\d+: (?:(\d+) )?(UE|CE) (?!count)\S.*")
_MCE = re.compile(
    r"\[Hardware Error\]: (?:CPU:? ?\d+: )?[Mm]achine [Cc]heck(?: Exception)?: [0-9a-fA-F]+ Bank \d+: ([0-9a-fA-F]{16})"
)
_MCE_LOGGED = re.compile(r"\[Hardware Error\]: Machine check events logged")
_MCE_AMD = re.compile(r"\[Hardware Error\]: (Corrected|Uncorrected|Deferred|Fatal)(?:,| error\b).*", re.IGNORECASE)
_APEI = re.compile(r"\[Hardware Error\]:\s*(?:event severity|Error \d+, type|section_type|device_id):\s*(.*)")
_DEVICE_ID = re.compile(rf"\[Hardware Error\]:\s*device_id: {PCI}")

_STATUS_UNCORRECTED, _STATUS_CONTEXT_CORRUPT = 1 << 61, 1 << 57
_APEI_SEVERITIES = {
    "fatal": Severity.RUN_ENDING,
    "recoverable": Severity.DEGRADING,
    "corrected": Severity.INFORMATIONAL,
    "info": Severity.INFORMATIONAL,
}


class HardwareErrors(Stateless):
    """See the module. An APEI record names its severity first, then what it is of, then the device."""

    needles = ("EDAC ", "[Hardware Error]")

    def __init__(self) -> None:
        self._severity: Severity | None = None
        self._section = ""

    def feed(self, text: str) -> list[LogEvent]:
        """One event per error."""
        if (match := _EDAC.search(text)) is not None:
            kind = "dimm_uncorrected" if match[2] == "UE" else "dimm_corrected"
            return [LogEvent(kind=kind, vendor="host", text=match[0])]
        if (match := _DEVICE_ID.search(text)) is not None:
            if self._section != "PCIe error":
                return []
            self._section = ""
            pci = address(match[1], match[2], match[3])
            return [LogEvent(kind="apei_pcie", vendor="host", pci=pci, severity=self._severity, text=text)]
        if (match := _MCE.search(text)) is not None:
            return [LogEvent(kind="mce", vendor="host", severity=_of_status(int(match[1], 16)), text=text)]
        if _MCE_LOGGED.search(text) is not None:
            return [LogEvent(kind="mce", vendor="host", severity=Severity.INFORMATIONAL, text=text)]
        if (match := _MCE_AMD.search(text)) is not None:
            severity = Severity.INFORMATIONAL if match[1].lower() == "corrected" else None
            return [LogEvent(kind="mce", vendor="host", severity=severity, text=text)]
        if (match := _APEI.search(text)) is not None:
            return self._apei(match, text)
        return []

    def _apei(self, match: re.Match[str], text: str) -> list[LogEvent]:
        said = match[1].strip()
        if "section_type:" not in match[0]:
            self._severity, self._section = _APEI_SEVERITIES.get(said), ""
            return []
        self._section = said
        if said == "memory error":
            uncorrected = self._severity not in (Severity.INFORMATIONAL, None)
            kind = "dimm_uncorrected" if uncorrected else "dimm_corrected"
            return [LogEvent(kind=kind, vendor="host", severity=self._severity, text=text)]
        if "processor error" in said:
            return [LogEvent(kind="mce", vendor="host", severity=self._severity, text=text)]
        return []


def _of_status(status: int) -> Severity:
    """By MCi_STATUS: bit 61 UC, bit 57 PCC (Intel SDM volume 3B, machine-check architecture)."""
    if not status & _STATUS_UNCORRECTED:
        return Severity.INFORMATIONAL
    return Severity.RUN_ENDING if status & _STATUS_CONTEXT_CORRUPT else Severity.DEGRADING

"""NVSwitch lines: SXid of the kernel driver, and what Fabric Manager says of a switch (reference/nvidia.md 5.2)."""

from __future__ import annotations

import re

from accelwatch.logs.family import PCI, Stateless, address
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.severity import Severity

# Only the summary line says whether it is fatal; the `Severity` and `Data` lines of the same event do not count again.
_SXID = re.compile(
    rf"SXid \((?:PCI:)?{PCI}\):\s*(\d{{4,6}}),\s*(Fatal|Non-fatal)(?:,\s*(?:Link (\d{{1,12}}))?.*)?", re.IGNORECASE
)
_MANAGER = re.compile(
    rf"detected NVSwitch (fatal|non-fatal) error (\d{{4,6}}) on .*?pci bus id {PCI}(?:.*? port (\d{{1,12}}))?",
    re.IGNORECASE,
)
_SERVICE = re.compile(r"nvidia-fabricmanager\.service: (?:Failed with result|Main process exited).*")
_FAILED = re.compile(
    r"\b(?:[Ff]abric[ _-]?[Mm]anager|fabricmanager)\b.*(?:exited abnormally|failed to (?:start|initialize|configure)).*"
)


class Switches(Stateless):
    """See the module."""

    needles = ("SXid (", "NVSwitch", "-fabricmanager", "Fabric Manager", "FabricManager")

    def feed(self, text: str) -> list[LogEvent]:
        """One event per summary line."""
        if (match := _SXID.search(text)) is not None:
            return [_event(match, code=match[4], fatality=match[5], link=match[6], text=text[_start(text, match) :])]
        if (match := _MANAGER.search(text)) is not None:
            address_groups = (match[3], match[4], match[5])
            return [_fault(address_groups, match[2], match[1], match[6], text)]
        if _SERVICE.search(text) or _FAILED.search(text):
            return [LogEvent(kind="fabric_manager", vendor="nvidia", text=text)]
        return []


def _event(match: re.Match[str], *, code: str, fatality: str, link: str | None, text: str) -> LogEvent:
    return _fault((match[1], match[2], match[3]), code, fatality, link, text)


def _fault(groups: tuple[str, str, str], code: str, fatality: str, link: str | None, text: str) -> LogEvent:
    return LogEvent(
        kind="sxid",
        vendor="nvidia",
        code=code,
        pci=address(*groups),
        link=None if link is None else f"nvlink{int(link)}",
        severity=Severity.RUN_ENDING if fatality.lower() == "fatal" else Severity.DEGRADING,
        text=text,
    )


def _start(text: str, match: re.Match[str]) -> int:
    """Where the driver's name before the SXid begins (`nvidia-nvswitch3: `)."""
    found = text.rfind("nvidia-nvswitch", 0, match.start())
    return match.start() if found < 0 else found

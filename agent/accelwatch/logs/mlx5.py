"""Mellanox network adapters: links, commands, power (reference/nvidia.md section 5.3)."""

from __future__ import annotations

import re

from accelwatch.logs.family import PCI, Stateless, address
from accelwatch.readings.log_event import LogEvent

CARDS_LIMIT = 64
LINKS_LIMIT = 64  # of one card

_ETHERNET = re.compile(rf"mlx5_core {PCI} (\S+?):? Link (down|up)\b")
_PORT = re.compile(rf"mlx5_core {PCI}(?: (\S+?))?: Port: (\d+) Link (DOWN|INIT|ARMED|ACTIVE)\b")
_COMMAND = re.compile(
    rf"(?:mlx5_core {PCI}:? )?mlx5_cmd_\w+:\d+:\(pid (\d+)\): .*op_mod\(0x[0-9a-fA-F]+\).*(?:failed|error|timeout).*"
)
_TIMEOUT = re.compile(
    rf"mlx5_core {PCI}: (?:wait_func|cmd_work_handler|mlx5_health|poll_health|print_health)\w*:\d+:\(pid \d+\): "
    r".*(?:timeout|[Ff]atal error|health compromised).*"
)
_POWER = re.compile(rf"mlx5_core {PCI}: mlx5_pcie_event:\d+:\(pid \d+\): Detected insufficient power.*")
_UNLOAD = re.compile(rf"mlx5_core {PCI}: (?:E-Switch: (?:Unload|Disable|cleanup)|Shutdown was called)\b")
_LOAD = re.compile(rf"mlx5_core {PCI}: E-Switch: (?:Enable|Total vports)")
_PROBE = re.compile(rf"mlx5_core {PCI}: firmware version: ")
_RENAMED = re.compile(rf"mlx5_core {PCI} (\S+): renamed from (\S+)")


class Mlx5(Stateless):
    """See the module. Links that go down after their driver began to unload are an administrator's doing.

    A driver that loads says `Link down` of each port that it opens: that has dropped nothing until the port was up.
    """

    # Common words such as `renamed from` would have every line of a container host read.
    needles = ("mlx5_",)

    def __init__(self) -> None:
        self._unloading: dict[str, None] = {}
        self._loaded: dict[str, set[str]] = {}  # cards whose driver was seen to load: links that were up since

    def feed(self, text: str) -> list[LogEvent]:
        """One event per line that tells a change or a failure."""
        if " Link " in text:
            return self._link(text)
        if (card := unloads(text)) is not None:
            if len(self._unloading) >= CARDS_LIMIT:
                self._unloading.pop(next(iter(self._unloading)))
            self._unloading[card] = None
        elif (match := _LOAD.search(text)) is not None:
            self._unloading.pop(address(match[1], match[2], match[3]), None)
        elif (match := _PROBE.search(text)) is not None:
            if len(self._loaded) >= CARDS_LIMIT:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[address(match[1], match[2], match[3])] = set()
        elif (match := _RENAMED.search(text)) is not None:
            up = self._loaded.get(address(match[1], match[2], match[3]), set())
            if match[5] in up:
                up.add(match[4])
        if (match := _POWER.search(text)) is not None:
            return [_event("mlx5_power", match, text)]
        if (match := _TIMEOUT.search(text)) is not None:
            return [_event("mlx5_command", match, text)]
        if (match := _COMMAND.search(text)) is not None:
            # The pid is of whoever asked the adapter, mostly a monitor: not of the process that suffers.
            return [_event("mlx5_command", match, text)]
        return []

    def _link(self, text: str) -> list[LogEvent]:
        if (match := _ETHERNET.search(text)) is not None:
            link, up = match[4], match[5] == "up"
        elif (match := _PORT.search(text)) is not None:
            link = f"{match[4] or 'port'}/{match[5]}"
            if match[6] in ("INIT", "ARMED"):  # on the way up
                return []
            up = match[6] == "ACTIVE"
        else:
            return []
        card = address(match[1], match[2], match[3])
        if up:
            self._unloading.pop(card, None)
            if len(self._loaded.get(card, ())) < LINKS_LIMIT:
                self._loaded.get(card, set()).add(link)
        elif card in self._unloading or link not in self._loaded.get(card, (link,)):
            return []
        return [_event("mlx5_link_up" if up else "mlx5_link_down", match, text, link)]


def unloads(text: str) -> str | None:
    """The address of the card whose driver unloads, by this line; all its functions go together."""
    match = _UNLOAD.search(text)
    return None if match is None else address(match[1], match[2], match[3])


def _event(kind: str, match: re.Match[str], text: str, link: str | None = None) -> LogEvent:
    pci = None if match[1] is None else address(match[1], match[2], match[3])
    return LogEvent(kind=kind, vendor="host", pci=pci, link=link, text=text[match.start() :])

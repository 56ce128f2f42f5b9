"""Since when a port's link stands as it does, by its state and its history: what it agreed on then still holds."""

from __future__ import annotations

from collections.abc import Collection

from accelwatch.readings.link import LinkState
from accelwatch.sources.base import AscendDevice
from accelwatch.sources.hccn_outputs import LinkHistory

PortKey = tuple[AscendDevice, int | None, int | None]  # udie and port on 950

# Speed and error correction are agreed on when a link comes up.
AGREED = frozenset(("speed", "fec"))
AGREED_PERIOD = 60


class Standings:
    """Of all ports of a node, in polls."""

    def __init__(self) -> None:
        self._standing: dict[PortKey, tuple[object, int]] = {}

    def told(self, port: PortKey, state: LinkState, history: LinkHistory, poll: int) -> None:
        """What a poll has read; the first of all is as good as any before it."""
        standing = (state, history.ups, history.drops, history.records)
        if standing[1:] == (None, None, ()):
            self.untold(port)
        elif port not in self._standing or self._standing[port][0] != standing:
            self._standing[port] = (standing, poll if poll > 1 else -AGREED_PERIOD)

    def untold(self, port: PortKey) -> None:
        """Its history is not known any more: it may change unseen."""
        self._standing.pop(port, None)

    def keep(self, devices: Collection[AscendDevice]) -> None:
        """Drops the ports of all others."""
        self._standing = {port: since for port, since in self._standing.items() if port[0] in devices}

    def period(self, port: PortKey, query: str, asked: int | None, usual: int) -> int:
        """Polls between two readings: `usual`, unless the link has stood since what is `AGREED` was asked."""
        if asked is None or query not in AGREED or port not in self._standing:
            return usual
        return AGREED_PERIOD if asked >= self._standing[port][1] else usual

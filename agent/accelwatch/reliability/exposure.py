"""Device-seconds that faults are counted against, as this agent saw them."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class Exposure(enum.StrEnum):
    """The `state` label: powered includes allocated, which includes busy; maintenance stands outside them."""

    POWERED = "powered"
    ALLOCATED = "allocated"
    BUSY = "busy"
    MAINTENANCE = "maintenance"


# A gap longer than so many polls is time that nobody watched: censored, not healthy (reference/reliability.md
# section 3, "equal missing-data rule").
GAP_INTERVALS = 2.5
# Above this share of its time with work on it a device is busy (reference/reliability.md section 3, (3)).
BUSY_UTILIZATION = 0.1


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One device that answered. `owner`: whom its counters belong to."""

    owner: str
    allocated: bool
    busy: bool


class ExposureMeter:
    """Adds up time between answers of the source that lists a vendor's devices."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._owners: dict[str, set[str]] = {}
        self._sums: dict[tuple[str, Exposure], float] = {}

    def answered(
        self, source: str, devices: Iterable[Seen], now: float, interval: float, *, maintenance: bool = False
    ) -> None:
        """A source has answered for `devices`, all of them up. `now` in steady seconds."""
        last = self._last.get(source)
        known = self._owners.get(source, set())
        self._last[source] = now
        seen = list(devices)
        self._owners[source] = {device.owner for device in seen}
        if last is None or not 0 < now - last <= GAP_INTERVALS * interval:
            return
        for device in seen:
            if device.owner not in known:
                continue  # it came back, or was seen for the first time: its time begins now
            for state in _states(device, maintenance):
                key = (device.owner, state)
                self._sums[key] = self._sums.get(key, 0.0) + now - last

    def silent(self, source: str) -> None:
        """The source has stopped answering: its time stops."""
        self._last.pop(source, None)
        self._owners.pop(source, None)

    def take(self) -> dict[tuple[str, Exposure], float]:
        """Seconds added since the last call, by owner and state."""
        sums, self._sums = self._sums, {}
        return sums


def _states(device: Seen, maintenance: bool) -> tuple[Exposure, ...]:
    if maintenance:
        return (Exposure.MAINTENANCE,)
    if not device.allocated:
        return (Exposure.POWERED,)
    return (
        (Exposure.POWERED, Exposure.ALLOCATED, Exposure.BUSY)
        if device.busy
        else (
            Exposure.POWERED,
            Exposure.ALLOCATED,
        )
    )

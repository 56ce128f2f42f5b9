"""Counters that never fall, whatever the device's own counters do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accelwatch.journal.rows import CounterRow

_NONE: Mapping[str, float] = {}


class Counters:
    """Adds up what devices count themselves, across driver reloads, resets and restarts of the agent."""

    def __init__(self, rows: Iterable[CounterRow] = ()) -> None:
        self._totals: dict[tuple[str, str], dict[str, float]] = {}
        self._raw: dict[tuple[str, str, str], float | None] = {}
        for row in rows:
            self._totals.setdefault((row.owner, row.name), {})[row.labels] = row.total
            self._raw[(row.owner, row.name, row.labels)] = row.raw
        self._dirty: set[tuple[str, str, str]] = set()

    def follow(self, owner: str, name: str, labels: str, raw: float) -> None:
        """Takes the device's own count: ours is 0 when first seen, then what was added since.

        A count below the last one means that the device started anew: all of it is new.
        """
        key = (owner, name, labels)
        last = self._raw.get(key)
        if last == raw:
            return
        totals = self._totals.setdefault((owner, name), {})
        total = totals.get(labels, 0.0)
        if last is not None:
            total += raw - last if raw > last else raw
        totals[labels] = total
        self._raw[key] = raw
        self._dirty.add(key)

    def add(self, owner: str, name: str, labels: str, amount: float) -> None:
        """Counts what we saw ourselves; an amount of 0 makes the counter exist."""
        totals = self._totals.setdefault((owner, name), {})
        if amount or labels not in totals:
            totals[labels] = totals.get(labels, 0.0) + amount
            self._raw.setdefault((owner, name, labels), None)
            self._dirty.add((owner, name, labels))

    def of(self, owner: str, name: str) -> Mapping[str, float]:
        """Labels and total of every such counter of the owner."""
        return self._totals.get((owner, name), _NONE)

    def all(self, name: str) -> list[tuple[str, Mapping[str, float]]]:
        """Owner, and labels with totals, of every owner of such counters."""
        return [(owner, totals) for (owner, other), totals in self._totals.items() if other == name]

    def take_changes(self) -> list[CounterRow]:
        """Rows that changed since the last call, for the journal."""
        rows = [CounterRow(*key, self._totals[key[:2]][key[2]], self._raw[key]) for key in self._dirty]
        self._dirty.clear()
        return rows

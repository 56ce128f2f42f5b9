"""Lines joined to episodes: the window slides from the last one (reference/reliability.md, 2.4)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Joined(msgspec.Struct, frozen=True):
    """One episode, in the unit of its times."""

    first: float
    last: float
    count: int


def coalesce(times: Iterable[float], window: float) -> list[Joined]:
    """An episode goes on while the gap to its last event is at most `window`."""
    episodes: list[Joined] = []
    for time in sorted(times):
        if episodes and time - episodes[-1].last <= window:
            last = episodes[-1]
            episodes[-1] = Joined(last.first, time, last.count + 1)
        else:
            episodes.append(Joined(time, time, 1))
    return episodes

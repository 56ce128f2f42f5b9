"""What is remembered of a port: whether it was ever up, its own count of drops, and when it dropped."""

from __future__ import annotations

import msgspec

from accelwatch.detectors.base import Context
from accelwatch.readings.link import Link, LinkState

# A port that drops so often within a day is escalated (design.md, Faults).
DROPS_THAT_ESCALATE = 3
DAY_SECONDS = 86_400.0
# Device clocks tell whole seconds, and the answer takes its time: a record no further from the last known one than
# this is the same. What a record's time moves by more than the rounding is followed, since clocks drift apart.
CLOCK_SLACK_SECONDS, ROUNDING_SECONDS = 3.0, 1.0
# State and history are two calls: a port that is up, with a drop this young as its newest record, fell between them.
# The next reading tells it as a port that is down.
JUST_FALLEN_SECONDS = 15.0
_DROPS_KEPT = 16


class Port(msgspec.Struct, frozen=True):
    """Times are steady seconds."""

    up: bool | None = None  # in the last reading that told
    seen_up: bool = False
    drops: int | None = None  # the port's own count, or the one derived from how often it came up
    owed: int = 0  # drops that were seen as such and are not in the port's own count yet
    newest: float | None = None  # last drop in its history, or when its history was first seen
    dropped_at: tuple[float, ...] = ()  # those of the last day that were told, oldest first


class Change(msgspec.Struct, frozen=True):
    """What one reading adds. `up`: what it says itself; `unseen`: drops between two polls."""

    port: Port
    up: bool | None = None
    unseen: int = 0
    since: float | None = None  # of a port that is down: since when, by its own history

    @property
    def often(self) -> bool:
        """Whether the drops of the last day are so many that they are escalated."""
        return len(self.port.dropped_at) >= DROPS_THAT_ESCALATE


# Most links of a node at most readings: nothing to count, and up as before.
_UP = Port(up=True, seen_up=True)
STAYS_UP = Change(_UP, up=True)


def look(port: Port | None, link: Link, now: float, context: Context) -> Change:
    """The port after one more reading of it. What it had counted when it was first seen is no news."""
    if port == _UP and link.state is LinkState.UP and link.drops is None and link.ups is None and link.history is None:
        return STAYS_UP
    seen_up_before = (link.key, link.link) in context.links_seen_up
    up = None if link.state is LinkState.UNKNOWN else link.state is LinkState.UP
    count = own_count(link)
    history = tuple(now - change.seconds_ago for change in link.history or () if not change.up)
    newest = max(history, default=None)
    if port is None:
        begin = newest if link.history is None or newest is not None else now - CLOCK_SLACK_SECONDS
        fresh_port = Port(up, seen_up_before or bool(up), count, 0, begin)
        return Change(fresh_port, up, since=newest if up is False else None)
    if up and newest is not None and _just_fallen(link):
        return Change(port)
    fell = up is False and port.up is True
    unseen, owed = _unseen(port, up, count, history, fell)
    kept = tuple(at for at in port.dropped_at if now - at < DAY_SECONDS)
    fresh = sorted(at for at in history if port.newest is None or at > port.newest + CLOCK_SLACK_SECONDS)
    added = fell + unseen
    times = tuple(fresh[-added:]) if added else ()
    times += (now,) * (added - len(times))
    after = Port(
        up=port.up if up is None else up,
        seen_up=port.seen_up or seen_up_before or bool(up),
        drops=port.drops if count is None else count,
        owed=owed,
        newest=port.newest if newest is None else _steady(port.newest, newest),
        dropped_at=tuple(sorted((*kept, *times)))[-_DROPS_KEPT:],
    )
    return Change(after if after != port else port, up, unseen, newest if up is False else None)


def own_count(link: Link) -> int | None:
    """How often the port says that it went down.

    Older hccn_tool counts only the times it came up (reference/ascend.md section 3): each but the first follows a
    drop, and a port that is down now has dropped once more.
    """
    if link.drops is not None:
        return link.drops
    if link.ups is None or link.state is LinkState.UNKNOWN:
        return None
    return max(0, link.ups - (link.state is LinkState.UP))


def _unseen(port: Port, up: bool | None, count: int | None, history: tuple[float, ...], fell: bool) -> tuple[int, int]:
    """Drops that no poll has seen, and those that the port's own count owes still."""
    if count is not None and port.drops is not None:
        if count < port.drops:  # the device was reset: it counts from 0 again
            return 0, 0
        grown = count - port.drops
        told = int(fell) + port.owed
        return max(0, grown - told), max(0, told - grown) if up is False or fell else 0
    if count is None and port.drops is None and port.newest is not None:
        fresh = sum(at > port.newest + CLOCK_SLACK_SECONDS for at in history)
        return max(0, fresh - int(fell)), 0
    return 0, port.owed


def _just_fallen(link: Link) -> bool:
    newest = link.history[0] if link.history else None
    return newest is not None and not newest.up and newest.seconds_ago < JUST_FALLEN_SECONDS


def _steady(before: float | None, newest: float) -> float:
    """The same record again gives the same time, whatever a second's rounding makes of it."""
    return before if before is not None and abs(newest - before) <= ROUNDING_SECONDS else newest

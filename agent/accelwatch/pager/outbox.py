"""What one Alertmanager has to be told, and when. Pure: told the time, sends nothing itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec

from accelwatch.pager.notice import Notice, Standing

# A higher-ranked root of the same cascade is written to the kernel log within this (design.md, Paging identity).
SETTLE_SECONDS = 0.3
# What struck a while ago, read after a downtime or a restart: first its driver gets the time to say that it is over.
OLD_NEWS_SECONDS = 60.0
# Alertmanager forgets what is not repeated: each minute, and 30 minutes ahead, so that neither a restart nor a dead
# agent resolves a page (design.md, Paging identity).
REPEAT_SECONDS, AHEAD_SECONDS = 60.0, 1800.0
# An end that follows its beginning faster would overtake the first notification (`group_wait: 0s` is not quite 0).
APART_SECONDS = 3.0
# Half a second after the first failure; half a minute, so that an Alertmanager that comes back is not overrun.
BACKOFF_SECONDS, BACKOFF_LIMIT_SECONDS = 0.5, 30.0
# Roots of incidents on one node: more than this is no list that anybody reads, and the first ones are kept.
LIMIT = 256
BATCH = 64


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """How one episode stands now. `ended`: seconds since the epoch, of what is over."""

    standing: Standing
    notice: Notice
    fresh: bool = True
    ended: float | None = None


class Entry:
    """One alert of this Alertmanager. `told_at`: since when it has it as firing; `done`: it knows that it is over."""

    def __init__(self, notice: Notice, due: float, *, told_at: float | None = None, over: float | None = None) -> None:
        self.notice = notice
        self.due = due
        self.told_at = told_at
        self.over = over
        self.done = False

    @property
    def told(self) -> bool:
        """Whether it has it as firing."""
        return self.told_at is not None


class Outgoing(msgspec.Struct, frozen=True):
    """Entries under way, each with whether it is sent as resolved. An empty one asks whether Alertmanager is there."""

    entries: tuple[tuple[Entry, bool], ...]
    alerts: tuple[dict[str, object], ...]


class Outbox:
    """Not for several threads at once. `now`: monotonic seconds, `wall`: seconds since the epoch."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter  # 0 to 1: a thousand nodes must not come back in step
        self._entries: dict[int, Entry] = {}
        self._first = True
        self._not_before = 0.0
        self._failures = 0
        self._single = False
        self._asked_at = float("-inf")
        self._left_out: set[int] = set()
        self.dropped = 0  # alerts that no room was left for

    @property
    def length(self) -> int:
        """Alerts that wait to be told, or told to be over."""
        return sum(not entry.done and (not entry.told or entry.over is not None) for entry in self._entries.values())

    def take(self, offers: Mapping[int, Offer], now: float, wall: float) -> None:
        """How all episodes stand; what is in no offer any more is forgotten."""
        for number, offer in offers.items():
            entry = self._entries.get(number)
            if entry is None:
                self._begin(number, offer, now, wall)
            elif offer.standing is Standing.END:
                self._end(number, entry, offer, now, wall)
            elif offer.standing is Standing.KEEP and not entry.told:
                del self._entries[number]  # another became the root in time
            else:
                self._go_on(entry, offer, now)
        for number in [n for n in self._entries if n not in offers]:
            del self._entries[number]
        self._left_out &= set(offers)
        self._first = False

    def due(self, now: float, wall: float, shift: float = 0.0) -> Outgoing | None:
        """What is to be sent now; `None`: nothing. `shift`: Alertmanager's clock minus this node's."""
        if now < self._not_before:
            return None
        ready = sorted((e for e in self._entries.values() if not e.done and e.due <= now), key=lambda e: e.due)
        if not ready:
            self._single = False
            if now - self._asked_at < REPEAT_SECONDS:
                return None
        entries = tuple((e, e.told and e.over is not None) for e in ready[: 1 if self._single else BATCH])
        alerts = (e.notice.alert(_ends(e, resolved, wall), shift) for e, resolved in entries)
        return Outgoing(entries, tuple(alerts))

    def wait(self, now: float) -> float:
        """Seconds until `due` may have something."""
        coming = [entry.due for entry in self._entries.values() if not entry.done]
        return max(0.0, max(self._not_before, min([*coming, self._asked_at + REPEAT_SECONDS])) - now)

    def hurry(self, now: float) -> None:
        """The agent ends: what waits for its root goes out as it is."""
        for entry in self._entries.values():
            if not entry.told:
                entry.due = min(entry.due, now)
        self._asked_at = now

    def sent(self, outgoing: Outgoing, now: float) -> None:
        """It was taken."""
        self._failures, self._not_before, self._asked_at = 0, 0.0, now
        for entry, resolved in outgoing.entries:
            if resolved:
                entry.done = entry.over is not None
                entry.due = now  # where it came back meanwhile
                continue
            if entry.told_at is None:
                entry.told_at = now
            entry.due = now + (APART_SECONDS if entry.over is not None else self._spread(REPEAT_SECONDS))

    def failed(self, now: float) -> None:
        """It was not taken, and all is tried again later."""
        pause = min(BACKOFF_LIMIT_SECONDS, BACKOFF_SECONDS * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._asked_at = now
        self._not_before = now + pause * (0.5 + 0.5 * self._jitter())

    def refused(self, outgoing: Outgoing, now: float) -> None:
        """Something in it is not taken at all: one alert at a time, so that it holds up no other."""
        self._asked_at = now
        self._single = True
        if len(outgoing.entries) == 1:
            outgoing.entries[0][0].due = now + self._spread(REPEAT_SECONDS)

    # --- inside

    def _begin(self, number: int, offer: Offer, now: float, wall: float) -> None:
        if offer.standing is Standing.END:
            # Posted perhaps by an agent before this one; an alert that Alertmanager does not know makes no page.
            lately = offer.ended is not None and wall - offer.ended < AHEAD_SECONDS
            if self._first and lately and len(self._entries) < LIMIT:
                self._entries[number] = Entry(offer.notice, now, told_at=now, over=offer.ended)
            return
        if offer.standing is Standing.KEEP or (offer.standing is Standing.RESUME and not self._first):
            return
        if sum(not entry.done for entry in self._entries.values()) >= LIMIT:
            if number not in self._left_out:
                self._left_out.add(number)
                self.dropped += 1
            return
        self._left_out.discard(number)
        self._entries[number] = Entry(offer.notice, now + (SETTLE_SECONDS if offer.fresh else OLD_NEWS_SECONDS))

    def _end(self, number: int, entry: Entry, offer: Offer, now: float, wall: float) -> None:
        if entry.over is not None:
            return
        if entry.told_at is None and (offer.ended is None or now < entry.due):
            del self._entries[number]  # nobody was paged, nobody has to be told that it is over
            return
        entry.over = offer.ended if offer.ended is not None else wall
        if entry.told_at is not None:
            entry.due = max(now, entry.told_at + APART_SECONDS)

    def _go_on(self, entry: Entry, offer: Offer, now: float) -> None:
        # The labels stay: others would be another alert, and another page.
        entry.notice = msgspec.structs.replace(offer.notice, labels=entry.notice.labels, starts=entry.notice.starts)
        if entry.over is not None and offer.standing is Standing.POST:
            entry.over, entry.done, entry.due = None, False, now + SETTLE_SECONDS  # it came back

    def _spread(self, seconds: float) -> float:
        return seconds * (0.9 + 0.1 * self._jitter())


def _ends(entry: Entry, resolved: bool, wall: float) -> float:
    return min(entry.over, wall) if resolved and entry.over is not None else wall + AHEAD_SECONDS

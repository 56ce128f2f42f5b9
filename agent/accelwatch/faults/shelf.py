"""The episodes in memory, with what they are looked up by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from accelwatch.faults.episode import Episode
from accelwatch.faults.labels import labelled
from accelwatch.taxonomy.model import Notify

# How old `last seen` on disk may be while nothing else of an episode changes.
REFRESH_SECONDS = 60.0
# What may belong with a new episode was seen at most so long ago; the windows of `incidents` are shorter.
FRESH_SECONDS = 120.0
# Series of what is over are shown for an hour (design.md, Metrics).
SHOWN_SECONDS = 3600.0
# Of one class on one device; more do not tell more about what to do.
PAST_LIMIT = 64

Key = tuple[str, str, str]


class Shelf:
    """Active episodes and past ones; a storm of signs costs no walk through all of them."""

    def __init__(self, episodes: Iterable[Episode] = ()) -> None:
        self._all: dict[int, Episode] = {}
        self._latest: dict[Key, int] = {}
        self._active: dict[int, None] = {}
        self._settling: dict[int, None] = {}
        self._fresh: dict[int, None] = {}
        self._shown: dict[int, None] = {}
        self._paging: dict[int, None] = {}
        self._past: dict[tuple[str, str], dict[int, None]] = {}  # of one owner and class
        self._places: dict[str, int] = {}
        self._dirty: set[int] = set()
        self._written_at: dict[int, float] = {}
        for episode in sorted(episodes, key=lambda e: (e.first_at, e.id)):
            self._written_at[episode.id] = episode.last_at
            self.put(episode, write=False)

    @property
    def next_id(self) -> int:
        """An id that no episode here has."""
        return max(self._all, default=0) + 1

    def put(self, episode: Episode, write: bool = True) -> None:
        """Keeps an episode, new or changed. Without `write` the journal gets it a minute on, or with other news."""
        episode = labelled(episode)
        number = episode.id
        if number not in self._all:
            latest = self._all.get(self._latest.get(episode.key, -1))
            if latest is None or latest.first_at <= episode.first_at:
                self._latest[episode.key] = number
            past = self._past.setdefault(_past_key(episode), {})
            past[number] = None
            if len(past) > PAST_LIMIT:
                del past[next(iter(past))]
            if episode.place is not None:
                self._places[episode.place] = self._places.get(episode.place, 0) + 1
        self._all[number] = episode
        self._fresh[number] = None
        self._shown[number] = None
        _mark(self._paging, number, _pages(episode))
        _mark(self._active, number, episode.active)
        _mark(self._settling, number, episode.settles_at is not None)
        if write or episode.last_at - self._written_at.get(number, 0.0) >= REFRESH_SECONDS:
            self._dirty.add(number)

    def forget(self, number: int) -> None:
        """Drops an episode that is over and on disk."""
        episode = self._all.get(number)
        if episode is None or episode.active or number in self._dirty:
            return
        del self._all[number]
        for index in (self._active, self._settling, self._fresh, self._shown, self._paging):
            index.pop(number, None)
        self._written_at.pop(number, None)
        past = self._past.get(_past_key(episode), {})
        past.pop(number, None)
        if not past:
            self._past.pop(_past_key(episode), None)
        if self._latest.get(episode.key) == number:
            del self._latest[episode.key]
        if episode.place is not None:
            self._places[episode.place] -= 1
            if not self._places[episode.place]:
                del self._places[episode.place]

    def shrink(self, limit: int) -> None:
        """Drops the oldest that are over and on disk, a tenth at a time, when there are more than `limit`."""
        past = len(self._all) - len(self._active)
        if past <= limit:
            return
        over = sorted((e.last_at, e.id) for e in self._all.values() if not e.active and e.id not in self._fresh)
        for _, number in over[: past - limit + limit // 10]:
            self.forget(number)

    def get(self, number: int) -> Episode | None:
        """The episode with that id."""
        return self._all.get(number)

    def latest(self, key: Key) -> Episode | None:
        """The last episode of one class on one device."""
        return self._all.get(self._latest.get(key, -1))

    def active(self) -> list[Episode]:
        """Those that are not over."""
        return [self._all[number] for number in self._active]

    def settling(self) -> list[Episode]:
        """Those of which it is not yet told whether they are the application's doing."""
        return [self._all[number] for number in self._settling]

    def fresh(self) -> list[Episode]:
        """Those that had a sign lately, the latest first."""
        return sorted((self._all[number] for number in self._fresh), key=lambda e: (-e.last_at, -e.id))

    def age(self, now: float) -> None:
        """Lets go of what is not fresh any more."""
        for number in [n for n in self._fresh if self._all[n].last_at < now - FRESH_SECONDS]:
            del self._fresh[number]
        for number in [n for n in self._shown if _ended(self._all[n]) < now - SHOWN_SECONDS]:
            del self._shown[number]
            self._paging.pop(number, None)

    def shown(self) -> list[Episode]:
        """Those that are active, or were within the hour; active ones first, of those the worst, then the latest."""
        return sorted(
            (self._all[number] for number in self._shown),
            key=lambda e: (not e.active, -e.severity.weight, -e.last_at, -e.id),
        )

    def paging(self) -> list[Episode]:
        """Those that a page was meant for once, as long as they are shown; by id."""
        return [self._all[number] for number in sorted(self._paging)]

    def past(self, class_: str, owner: str) -> list[Episode]:
        """Every episode of a class on one device, by what `owner_of` gives."""
        return [self._all[number] for number in self._past.get((owner, class_), ())]

    def everything(self) -> Iterator[Episode]:
        """All of them."""
        return iter(list(self._all.values()))

    def knows_place(self, place: str, limit: int) -> bool:
        """Whether signs of a device that no inventory knows may have a record of their own."""
        return place in self._places or len(self._places) < limit

    def take_changes(self) -> list[Episode]:
        """Episodes that changed since the last call, for the journal."""
        changed = [self._all[number] for number in sorted(self._dirty)]
        self._dirty.clear()
        for episode in changed:
            self._written_at[episode.id] = episode.last_at
        return changed


def owner_of(owner: str | None, vendor: str, device: str | None, place: str | None) -> str:
    """By UUID or serial where that is known: a card put in its place begins with a clean record."""
    return owner or f"{vendor}/{device if device is not None else '@' + (place or '')}"


def _ended(episode: Episode) -> float:
    return math.inf if episode.active else max(episode.last_at, episode.cleared_at or 0.0)


def _pages(episode: Episode) -> bool:
    return any(labels[-1] == Notify.PAGE.value for labels in (episode.labels, *episode.former_labels) if labels)


def _past_key(episode: Episode) -> tuple[str, str]:
    if episode.drill:
        return "drill", episode.class_  # nothing was tried, nothing came back
    return owner_of(episode.owner, episode.vendor, episode.device, episode.place), episode.class_


def _mark(index: dict[int, None], number: int, belongs: bool) -> None:
    if belongs:
        index[number] = None
    else:
        index.pop(number, None)

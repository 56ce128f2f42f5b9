"""Codes that the program or the device may have caused: what the other devices of its run, and its past runs, say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from accelwatch.faults import history, incidents
from accelwatch.faults.episode import Episode
from accelwatch.faults.shelf import Shelf, owner_of
from accelwatch.taxonomy.loader import Taxonomy


def explained(episode: Episode, fresh: Iterable[Episode], taxonomy: Taxonomy) -> bool:
    """Whether it follows a hardware fault of its own device, which explains it whatever other devices show."""
    return any(
        other.root
        and other.incident == episode.incident
        and other.class_ != episode.class_
        and incidents.same_place(other, episode)
        and not other.application
        and taxonomy.class_(other.class_).hardware
        for other in fresh
    )


def peers(episode: Episode, fresh: list[Episode], taxonomy: Taxonomy) -> list[Episode]:
    """Episodes that make it the program's doing: the same code on other devices of its run within 30 s.

    By design.md, Faults. `fresh`: episodes that were seen lately.
    """
    if episode.run_id is None or explained(episode, fresh, taxonomy):
        return []
    return [
        other
        for other in fresh
        if other.code == episode.code
        and (other.run_id, other.attempt) == (episode.run_id, episode.attempt)
        and (other.vendor, other.device) != (episode.vendor, episode.device)
        and abs(other.first_at - episode.last_at) <= incidents.SHARED_SECONDS
        and not other.historical
        and not explained(other, fresh, taxonomy)
    ]


def repeated(episode: Episode, shelf: Shelf) -> Iterator[tuple[str, int]]:
    """Codes of programs' errors that accuse its device, and in how many more runs than on its node's other devices."""
    owner = owner_of(episode.owner, episode.vendor, episode.device, episode.place)
    for code in history.REPEATING_CODES & set(episode.codes):
        past = shelf.past(episode.class_, owner)
        others = (e for e in shelf.everything() if history.same_kind_elsewhere(e, episode))
        hit = len(history.runs_hit(past, code)) - len(history.runs_hit(others, code))
        if hit >= history.SUSPECTED_RUNS:
            yield code, hit

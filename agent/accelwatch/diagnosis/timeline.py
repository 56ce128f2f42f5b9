"""Who stopped when: devices in the order of their last progress, with what struck and what ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from accelwatch.diagnosis.answer import Culprit, Moment
from accelwatch.diagnosis.facts import Facts, Share, Spot


def of(facts: Facts, state: str, culprit: Culprit | None, dark: tuple[tuple[str, Share], ...]) -> tuple[Moment, ...]:
    """In order of time. A run that goes on has none: its devices stop and work with every reading."""
    moments: list[Moment] = []
    if state not in ("running", "ending") or culprit is not None:
        moments += _stopped(facts, state)
    if culprit is not None and culprit.class_ and culprit.since is not None and culprit.class_ != "hang_no_error":
        moments.append(Moment(at=culprit.since, what="fault", spots=(culprit.spot,), note=culprit.class_))
    moments += _ended(facts)
    moments += _grouped(facts, "dark", [(share.read, Spot(node)) for node, share in dark if share.read is not None], "")
    order = ("fault", "stopped", "dark", "ended")
    return tuple(sorted(moments, key=lambda moment: (moment.at, order.index(moment.what))))


def _stopped(facts: Facts, state: str) -> list[Moment]:
    """A device that was working when its page was last read did not stop before: its end says when it did."""
    stood = []
    for spot, at in facts.progress.items():
        share = facts.shares.get(spot.node, Share())
        waits = state in ("hangs", "stalled") and share.reports
        if waits or share.read is None or share.read - at > facts.tie_seconds:
            stood.append((at, spot))
    return _grouped(facts, "stopped", stood, "")


def _ended(facts: Facts) -> list[Moment]:
    outcomes = sorted({share.outcome for share in facts.shares.values() if share.ended is not None})
    moments = []
    for outcome in outcomes:
        ends = [
            (share.ended, Spot(node))
            for node, share in facts.shares.items()
            if share.ended is not None and share.outcome == outcome
        ]
        moments += _grouped(facts, "ended", ends, outcome)
    return moments


def _grouped(facts: Facts, what: str, timed: Iterable[tuple[float, Spot]], note: str) -> list[Moment]:
    """Nearer than a tie to the first of a group is the same time: clocks of nodes differ by as much."""
    groups: list[tuple[float, list[Spot]]] = []
    for at, spot in sorted(timed):
        if groups and at - groups[-1][0] <= facts.tie_seconds:
            groups[-1][1].append(spot)
        else:
            groups.append((at, [spot]))
    return [Moment(at=at, what=what, spots=tuple(spots), note=note) for at, spots in groups]

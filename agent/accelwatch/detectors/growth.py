"""How much a device's own counters have grown: never their level."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from accelwatch.detectors.draft import Draft


class Counts(msgspec.Struct, frozen=True):
    """A device's counters as last read. `owner`: the board's UUID or serial, where known."""

    owner: str | None
    raw: dict[str, int]


def another_board(before: str | None, owner: str | None) -> bool:
    """Whether the slot holds another board than before; where one of the two is not known, it is the same."""
    return before is not None and owner is not None and before != owner


def grown(draft: Draft[Counts], name: str, owner: str | None, counters: Mapping[str, int]) -> dict[str, int]:
    """What was added to each counter since it was read last; counters that did not grow are left out.

    A counter that is seen for the first time is a baseline, and so is one that fell (a reset or driver reload) and
    every one of another board. A counter that is not in this reading keeps its last value.
    """
    row = draft.get(name)
    if row is None or another_board(row.owner, owner):
        if counters:
            draft.put(name, Counts(owner, dict(counters)))
        return {}
    growth: dict[str, int] = {}
    changed = False
    last = row.raw
    for label, raw in counters.items():
        before = last.get(label)
        if before == raw:
            continue
        changed = True
        if before is not None and raw > before:
            growth[label] = raw - before
    if changed or (row.owner is None and owner is not None):
        draft.put(name, Counts(owner or row.owner, {**last, **counters}))
    return growth

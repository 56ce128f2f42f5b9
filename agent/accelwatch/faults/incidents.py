"""Which episodes belong to one incident, and which of them is its root."""

from __future__ import annotations

from collections.abc import Iterable

from accelwatch.faults.episode import Episode

# Signs of one cascade on one device follow each other within seconds (48, 63, 94, 45, 154: reference/nvidia.md
# section 6); a polled counter that belongs to it comes up to a slow tier later.
CASCADE_SECONDS = 60.0
# The same class on several devices of one run: a switch, a board or a rack (design.md, Faults).
SHARED_SECONDS = 30.0
# A GPU that falls off the bus takes its links down seconds later, and its peers and switches say so (Xid 74,
# SXid; 12 s in a public capture).
FABRIC_SECONDS = 30.0
FABRIC_CLASSES = frozenset(("device_lost", "intra_node_link", "fabric_switch"))


def belongs(new: Episode, member: Episode, *, shared_class: bool, symptom: bool) -> bool:
    """Whether `new` is part of the incident that `member` is in.

    `shared_class`: the class of `new` is that of a component which several devices share; `symptom`: it only shows
    that something else ended or stopped the run.
    """
    apart = abs(new.first_at - member.last_at)
    if new.drill != member.drill or new.historical != member.historical:
        return False
    if same_place(new, member):
        return new.device is not None and apart <= CASCADE_SECONDS
    same_run = new.run_id is not None and (new.run_id, new.attempt) == (member.run_id, member.attempt)
    if (new.echo or symptom) and same_run:
        return apart <= CASCADE_SECONDS
    if new.application and member.application and new.code == member.code and same_run:
        return apart <= SHARED_SECONDS
    if shared_class and same_run and new.class_ == member.class_:
        return apart <= SHARED_SECONDS
    if new.class_ in FABRIC_CLASSES and member.class_ in FABRIC_CLASSES and new.class_ != member.class_:
        return apart <= FABRIC_SECONDS
    return False


def same_place(one: Episode, other: Episode) -> bool:
    """Whether both are of one device, or both of the host or of one place."""
    return (one.vendor, one.device, one.place) == (other.vendor, other.device, other.place)


def root_of(members: Iterable[Episode]) -> Episode:
    """The one that pages: no echo, then the worst, of those the highest rank, then the earliest.

    What only degrades never hides what ended the run, however near to the root its class stands.
    """
    return max(members, key=lambda e: (not e.echo, e.severity.weight, e.rank, -e.first_at, -e.id))

"""One Xid, told twice: by NVML's event set and by the kernel log."""

from __future__ import annotations

import msgspec

from accelwatch.detectors.draft import Draft
from accelwatch.detectors.log_bursts import Burst

# NVML's events come with a poll, one second apart by default, a poll may take its deadline of 5 s, and lines may be
# read late: what is told by the other source within this time is the same Xid (reference/nvidia.md section 3:
# "dedupe on (pci, xid, ~s)"). One event takes away one line, so that a second real one is never swallowed.
SAME_SECONDS = 10.0
# Of one Xid on one GPU in that time: a storm of lines must not fill the state.
KEPT = 64


class Heard(msgspec.Struct, frozen=True):
    """When each source told an Xid that the other has not told yet: steady seconds, oldest first."""

    lines: tuple[float, ...] = ()
    events: tuple[float, ...] = ()


def first_time(burst: Burst, source: str, heard: Draft[Heard]) -> int:
    """How many of a burst the other source has not told before."""
    event = burst.first.event
    if event.kind != "xid" or event.pci is None or source not in ("nvml", "kernel_log"):
        return len(burst.entries)
    name = f"{event.pci.partition('.')[0]}|{event.code}"
    before = heard.get(name) or Heard()
    own, other = (before.events, before.lines) if source == "nvml" else (before.lines, before.events)
    news = 0
    for entry in burst.entries:
        match = next((i for i, at in enumerate(other) if abs(at - entry.at) <= SAME_SECONDS), None)
        if match is None:
            news += 1
            own = (*own, entry.at)[-KEPT:]
        else:
            other = (*other[:match], *other[match + 1 :])
    after = Heard(other, own) if source == "nvml" else Heard(own, other)
    heard.put(name, after)
    return news


def forgotten(heard: Draft[Heard], now: float) -> None:
    """Lets go of what is too old to be told again."""
    for name, row in list(heard.rows.items()):
        lines = tuple(at for at in row.lines if now - at <= SAME_SECONDS)
        events = tuple(at for at in row.events if now - at <= SAME_SECONDS)
        if not lines and not events:
            heard.drop(name)
        elif (lines, events) != (row.lines, row.events):
            heard.put(name, Heard(lines, events))

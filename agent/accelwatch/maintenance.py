"""Planned work on this node: nothing of it pages, and its time is counted apart."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from accelwatch.clock import SteadyClock
from accelwatch.faults.shown import rfc3339

STATE = "maintenance"  # its name among the journal's states


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    """Kept in the journal; ends by itself. `*_at` in steady seconds, which go on over restarts and reboots."""

    since_at: float
    until_at: float
    reason: str
    by: str = ""  # who said so, by their own account


def restored(states: Mapping[str, bytes]) -> Maintenance | None:
    """What the journal holds; one that another version wrote in another shape is over."""
    try:
        return msgspec.json.decode(states.get(STATE, b"null"), type=Maintenance | None)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def encode(maintenance: Maintenance | None) -> bytes:
    """For the journal."""
    return msgspec.json.encode(maintenance)


def described(planned: Maintenance | None, clock: SteadyClock) -> dict[str, str] | None:
    """For people and for `check --json`; `None` when there is none, or it is over."""
    if planned is None or clock.now() >= planned.until_at:
        return None
    return {
        "since": rfc3339(clock.wall_of(planned.since_at)),
        "until": rfc3339(clock.wall_of(planned.until_at)),
        "reason": planned.reason,
        "by": planned.by,
    }

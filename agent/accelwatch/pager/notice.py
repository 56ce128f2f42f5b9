"""What is said of one fault: the alert that Alertmanager gets, and how it stands with it."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping

import msgspec

from accelwatch.detectors.base import Known
from accelwatch.faults.episode import Episode


class Standing(enum.Enum):
    """What the pager has to do for an episode."""

    POST = "post"  # page for it
    RESUME = "resume"  # go on with what an agent before this one may have posted, begin nothing
    KEEP = "keep"  # go on with what was posted, begin nothing: another episode is the incident's root now
    END = "end"  # over, or nothing to page for after all


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An episode that is, or was, worth a page. `known`: its device, where the inventory has it."""

    episode: Episode
    standing: Standing
    known: Known | None = None
    fresh: bool = True  # it struck just now


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One alert. Times are seconds since the epoch."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: float
    url: str = ""

    def alert(self, ends: float, shift: float = 0.0) -> dict[str, object]:
        """In the form of Alertmanager's API v2; `ends` in the past: resolved. `shift`: its clock minus this node's."""
        alert: dict[str, object] = {
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": _rfc3339(self.starts + shift),
            "endsAt": _rfc3339(max(ends, self.starts) + shift),
        }
        return alert | {"generatorURL": self.url} if self.url else alert


def _rfc3339(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")

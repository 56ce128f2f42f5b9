"""Episodes as they are shown: in `check`, `faults` and on the node page."""

from __future__ import annotations

import datetime

from accelwatch.detectors.fault import Fault
from accelwatch.faults.episode import Episode


def shown(episode: Episode) -> Fault:
    """The fault in the form of `check --json`."""
    return Fault(
        class_=episode.class_,
        severity=episode.severity,
        vendor=episode.vendor,
        device=episode.device,
        code=episode.code,
        codes=episode.codes,
        incident=episode.incident,
        echo=episode.echo,
        message=episode.message,
        action=episode.action,
        first_seen=rfc3339(episode.first_wall),
        last_seen=rfc3339(episode.last_wall),
        count=episode.count,
        run_id=episode.run_id,
        drill=episode.drill,
    )


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as `2026-01-31T12:00:00Z`."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

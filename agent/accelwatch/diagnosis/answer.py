"""The answer to `why`, and its document."""

from __future__ import annotations

from typing import Any

import msgspec

from accelwatch.diagnosis.facts import Attempt, Device, FaultSeen, Share, Spot
from accelwatch.faults.shown import rfc3339

SCHEMA = 1


class Culprit(msgspec.Struct, frozen=True, kw_only=True):
    """Who it was. `class_` empty: only the node is known. `by`: on what evidence."""

    spot: Spot
    rack: str = ""
    device: Device = Device()
    class_: str = ""
    severity: str = ""
    code: str = ""
    since: float | None = None
    by: str = ""
    final: bool = True  # False: the agents may still judge otherwise


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline. Those of a line are within 5 s of each other: their order is not known."""

    at: float
    what: str  # stopped, fault, ended, dark
    spots: tuple[Spot, ...]
    note: str = ""

    @property
    def tie(self) -> bool:
        """Whether the order within it is not known."""
        return self.what == "stopped" and len(self.spots) > 1


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `cause`: a class, also where nobody is named by it; empty: not known yet, or there is none."""

    run_id: str
    attempt: Attempt
    others: tuple[Attempt, ...]
    asked: float
    state: str  # running, stalled, hangs, ending, ended, dark
    outcome: str = ""
    launcher: str = ""
    nodes: int
    devices: int | None
    world_size: int | None
    onset: float | None = None
    lost_device_seconds: float | None = None
    cause: str = ""
    culprit: Culprit | None = None
    why_not: str = ""  # where there is no culprit: why none is named
    timeline: tuple[Moment, ...] = ()
    suspects: tuple[FaultSeen, ...] = ()
    action: str = ""
    exclude: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    dark: tuple[tuple[str, Share], ...] = ()


def document(answer: Answer, notation: str) -> dict[str, Any]:
    """In the schema of the contract: what is not known is null."""
    culprit = answer.culprit
    return {
        "schema": SCHEMA,
        "run_id": answer.run_id,
        "cluster": answer.attempt.cluster or None,
        "attempt": answer.attempt.attempt,
        "at": rfc3339(answer.asked),
        "state": answer.state,
        "outcome": answer.outcome or None,
        "ended": _time(None if answer.attempt.going else answer.attempt.first_end),
        "onset": _time(answer.onset),
        "launcher": answer.launcher or None,
        "nodes": answer.nodes,
        "devices": answer.devices,
        "world_size": answer.world_size,
        "lost_device_seconds": answer.lost_device_seconds,
        "cause": answer.cause or None,
        "culprit": None if culprit is None else _culprit(culprit),
        "why_not": answer.why_not or None,
        "timeline": [
            {
                "at": rfc3339(moment.at),
                "what": moment.what,
                "tie": moment.tie,
                "note": moment.note or None,
                "places": [_spot(spot) for spot in moment.spots],
            }
            for moment in answer.timeline
        ],
        "suspects": [
            {
                **_spot(fault.spot),
                "class": fault.class_,
                "severity": fault.severity,
                "code": fault.code or None,
                "since": rfc3339(fault.since),
                "active": fault.active,
            }
            for fault in answer.suspects
        ],
        "action": answer.action or None,
        "exclude": {"nodes": list(answer.exclude), "notation": notation or None},
        "missing": list(answer.missing),
        "dark": [{"node": node, "last_seen": _time(share.read)} for node, share in answer.dark],
        "others": [
            {"cluster": other.cluster or None, "attempt": other.attempt, "ended": _time(other.first_end)}
            for other in answer.others
        ],
    }


def _culprit(culprit: Culprit) -> dict[str, Any]:
    device = culprit.device
    return {
        **_spot(culprit.spot),
        "rack": culprit.rack or None,
        "model": device.model or None,
        "serial": device.serial or None,
        "pci": device.pci or None,
        "uuid": device.uuid or None,
        "class": culprit.class_ or None,
        "severity": culprit.severity or None,
        "code": culprit.code or None,
        "since": _time(culprit.since),
        "by": culprit.by,
        "final": culprit.final,
    }


def _spot(spot: Spot) -> dict[str, Any]:
    return {"node": spot.node, "vendor": spot.vendor or None, "device": spot.device or None}


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)

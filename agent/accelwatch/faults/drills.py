"""Drills: episodes that an operator opens to prove that paging works. They count nowhere, and clear themselves."""

from __future__ import annotations

import datetime

from accelwatch.detectors.base import Known
from accelwatch.faults.episode import Episode
from accelwatch.faults.sign import Sign
from accelwatch.faults.wording import filled
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.model import FaultClass, Kind, Notify


def key(vendor: str, device: str | None, class_: str) -> tuple[str, str, str]:
    """As `Episode.key` of such a drill."""
    return f"drill {vendor}", device if device is not None else "@", class_


def begin(
    number: int,
    class_: FaultClass,
    node: str,
    vendor: str,
    known: Known | None,
    now: float,
    wall: float,
    seconds: float,
) -> Episode:
    """A drill of `class_` on a device, or on the host, for so long. It is the root of an incident of its own.

    A class that pages is drilled as what ends a run, else there would be no page to prove anything with.
    """
    pages = class_.notify is Notify.PAGE and class_.kind is Kind.CAUSE
    severity = Severity.RUN_ENDING if pages else class_.severity
    device = known.label if known is not None else None
    when = datetime.datetime.fromtimestamp(wall, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    actions = class_.actions.get(vendor) or class_.actions.get("host")
    message = f"DRILL: no fault, an operator tests the paging of {class_.name}"
    sign = Sign(class_=class_.name, condition="drill", at=now, vendor=vendor, message=message)
    real = f" Of a real one: {filled(actions.first, known, sign, None)}" if actions is not None else ""
    return Episode(
        id=number,
        class_=class_.name,
        severity=severity,
        notify=class_.notify_at(severity),
        vendor=vendor,
        device=device,
        model=(known.model or "") if known is not None else "",
        owner=(known.uuid or known.serial or known.pci) if known is not None else None,
        incident=f"{node}/drill-{vendor}-{device if device is not None else 'host'}/{when}-{number}",
        rank=class_.rank,
        message=message,
        action=f"Nothing, this is a drill; it clears itself after {seconds:.0f} s.{real}",
        first_at=now,
        last_at=now,
        first_wall=wall,
        last_wall=wall,
        counted=False,
        drill=True,
        ends_at=now + seconds,
    )


def over(episode: Episode, now: float) -> str | None:
    """Why a drill is over, or `None`."""
    return "drill: its time is over" if episode.ends_at is None or now >= episode.ends_at else None

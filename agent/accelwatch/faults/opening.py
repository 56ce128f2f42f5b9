"""A sign, resolved: which device and run it is of, what class and code mean, and whom it reaches."""

from __future__ import annotations

from typing import Any

import msgspec

from accelwatch.detectors.base import Context
from accelwatch.faults.episode import Condition, Episode
from accelwatch.faults.incidents import SHARED_SECONDS
from accelwatch.faults.sign import Sign
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.severity import Severity
from accelwatch.runs.model import RunRef
from accelwatch.taxonomy.loader import Taxonomy
from accelwatch.taxonomy.model import Code, FaultClass, Kind, Notify

CODES_LIMIT = 32
LINKS_LIMIT = 32
_NOTIFY_WEIGHT = {Notify.NONE: 0, Notify.TICKET: 1, Notify.PAGE: 2}


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What an episode is opened or prolonged with."""

    class_: str
    vendor: str
    device: str | None
    place: str | None
    model: str
    owner: str | None
    code: str | None
    family: str | None
    severity: Severity
    notify: Notify  # once it is settled
    rank: int
    echo: bool
    suspect: bool  # may be the application's doing
    run: RunRef | None
    wall: float

    @property
    def key(self) -> tuple[str, str, str]:
        """As `Episode.key`."""
        return episode_key(self.vendor, self.device, self.place, self.class_)


def episode_key(vendor: str, device: str | None, place: str | None, class_: str) -> tuple[str, str, str]:
    """What makes another sign part of the same episode: vendor, device or place, class."""
    return vendor, device if device is not None else f"@{place or ''}", class_


def resolve(sign: Sign, context: Context, taxonomy: Taxonomy, wall: float) -> Opening:
    """`wall`: the sign's time where it has none of its own. Raises `KeyError` for a class that does not exist."""
    class_ = taxonomy.class_(sign.class_)
    family = sign.family
    if family is None and sign.code is not None:
        family = taxonomy.family_of(sign.vendor, sign.code)
    code = _own_code(taxonomy, class_, family, sign.code)
    known = context.devices.get(sign.device) if sign.device is not None else None
    severity = sign.severity or (code.severity if code is not None else None) or class_.severity
    return Opening(
        class_=sign.class_,
        vendor=shown_vendor(sign.vendor, context),
        device=known.label if known is not None else None,
        place=None if known is not None else _place(sign),
        model=(known.model or "") if known is not None else "",
        owner=(known.uuid or known.serial or known.pci) if known is not None else None,
        code=sign.code,
        family=family,
        severity=severity,
        notify=reached(class_, severity, escalated=sign.escalate),
        rank=code.rank if code is not None and code.rank is not None else class_.rank,
        echo=code is not None and code.echo,
        suspect=code is not None and code.application_suspect,
        run=_run(sign, context),
        wall=sign.wall if sign.wall is not None else wall,
    )


def reached(class_: FaultClass, severity: Severity, *, escalated: bool) -> Notify:
    """Whom an episode reaches; what came back too often is paged, whatever its class says."""
    return Notify.PAGE if escalated and class_.notify is not Notify.NONE else class_.notify_at(severity)


def weaker(one: Notify, other: Notify) -> Notify:
    """The one that reaches fewer people."""
    return min(one, other, key=_NOTIFY_WEIGHT.__getitem__)


def stronger(one: Notify, other: Notify) -> Notify:
    """The one that reaches more people."""
    return max(one, other, key=_NOTIFY_WEIGHT.__getitem__)


def shown_vendor(vendor: str, context: Context) -> str:
    """A fault of the host counts for the vendor of its accelerators; of a host with both, or none, it stays `host`."""
    if vendor != "host":
        return vendor
    vendors = {key.vendor.value for key in context.devices}
    return vendors.pop() if len(vendors) == 1 else "host"


def begin(opening: Opening, sign: Sign, number: int, action: str, incident: str, class_: FaultClass) -> Episode:
    """The new episode. What may be the application's doing waits for its peers before it is counted or paged."""
    waits = opening.suspect and not sign.historical and class_.kind is not Kind.APPLICATION
    return Episode(
        id=number,
        class_=opening.class_,
        severity=opening.severity,
        notify=Notify.NONE if sign.historical or waits else opening.notify,
        vendor=opening.vendor,
        device=opening.device,
        model=opening.model,
        owner=opening.owner,
        place=opening.place,
        code=opening.code,
        codes=(opening.code,) if opening.code is not None else (),
        incident=incident,
        rank=opening.rank,
        echo=opening.echo,
        message=sign.message,
        action=action,
        conditions={sign.condition: Condition(lasting=sign.lasting, last_at=sign.at)},
        links=(sign.link,) if sign.link is not None else (),
        pid=sign.pid,
        process=sign.process,
        first_at=sign.at,
        last_at=sign.at,
        first_wall=opening.wall,
        last_wall=opening.wall,
        boot_id=sign.boot_id,
        kernel_seconds=sign.kernel_seconds,
        count=sign.events,
        run_id=opening.run.run_id if opening.run is not None else None,
        attempt=opening.run.attempt if opening.run is not None else None,
        onset_at=sign.onset,
        active=not sign.historical,
        historical=sign.historical,
        counted=False,
        settles_at=sign.at + SHARED_SECONDS if opening.suspect and not sign.historical else None,
    )


def prolong(last: Episode, opening: Opening, sign: Sign, conditions: dict[str, Condition]) -> Episode:
    """The episode with one more sign: the worst severity, and code and words of what is nearest to the root."""
    changes: dict[str, Any] = {
        "conditions": conditions,
        "last_at": max(last.last_at, sign.at),
        "last_wall": max(last.last_wall, opening.wall),
        "echo": last.echo and opening.echo,
    }
    if opening.code is not None and opening.code not in last.codes and len(last.codes) < CODES_LIMIT:
        changes["codes"] = (*last.codes, opening.code)
    nearer = opening.rank > last.rank or (last.echo and not opening.echo)
    if nearer or last.code is None:
        changes |= {"code": opening.code if opening.code is not None else last.code}
    if nearer:
        changes |= {"rank": opening.rank, "message": sign.message}
    if sign.link is not None and sign.link not in last.links and len(last.links) < LINKS_LIMIT:
        changes["links"] = (*last.links, sign.link)
    if last.pid is None and sign.pid is not None:
        changes |= {"pid": sign.pid, "process": sign.process}
    if last.run_id is None and opening.run is not None:
        changes |= {"run_id": opening.run.run_id, "attempt": opening.run.attempt}
    if last.onset_at is None and sign.onset is not None:
        changes["onset_at"] = sign.onset
    if opening.severity.weight > last.severity.weight:
        changes |= {"severity": opening.severity, "message": sign.message}
    if not last.application and last.settles_at is None and not last.historical:
        changes["notify"] = stronger(last.notify, opening.notify)
    return msgspec.structs.replace(last, **changes)


def _own_code(taxonomy: Taxonomy, class_: FaultClass, family: str | None, code: str | None) -> Code | None:
    """What the table says of the code; nothing where the sign accuses another class than the code's own."""
    if family is None:
        return None
    meaning = taxonomy.meaning(family, code)
    return meaning.code if meaning.class_.name == class_.name else None


def _place(sign: Sign) -> str | None:
    if sign.place is not None or sign.device is None:
        return sign.place
    return sign.device.native


def _run(sign: Sign, context: Context) -> RunRef | None:
    """Who holds the device; of the host's faults the run that has the node for itself."""
    if sign.run_id is not None:
        return RunRef(sign.run_id, sign.attempt or "0")
    if sign.device is not None:
        return context.runs.get(sign.device)
    runs = set(context.runs.values())
    return runs.pop() if len(runs) == 1 else None


def known_key(episode: Episode, context: Context) -> DeviceKey | None:
    """The key of an episode's device in the inventory."""
    for key, known in context.devices.items():
        if key.vendor.value == episode.vendor and known.label == episode.device:
            return key
    return None

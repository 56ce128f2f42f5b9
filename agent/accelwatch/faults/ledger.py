"""Turns the findings of detectors into episodes: coalesced, joined to incidents, cleared, and remembered.

Pure: it is told the time, and gives what has changed to whoever writes the journal.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

import msgspec

from accelwatch.detectors.base import Context, Known
from accelwatch.faults import clearing, drills, history, incidents, suspects
from accelwatch.faults.clearing import Evidence
from accelwatch.faults.episode import Condition, Episode
from accelwatch.faults.opening import (
    Opening,
    begin,
    episode_key,
    known_key,
    prolong,
    reached,
    resolve,
    shown_vendor,
    weaker,
)
from accelwatch.faults.shelf import Shelf, owner_of
from accelwatch.faults.sign import Finding, Gone, Sign
from accelwatch.faults.wording import filled
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import Taxonomy
from accelwatch.taxonomy.model import Kind, Notify

# Signs of one class on one device no further apart than this are one episode (reference/reliability.md 2.4).
COALESCE_SECONDS = 60.0
# Devices that no inventory knows: a broken log must not fill the memory.
PLACES_LIMIT = 256
CONDITIONS_LIMIT = 64
# Episodes that nobody asks for any more are let go of this often.
CLEAN_SECONDS = 3600.0
# Of past ones so many are remembered: about 5 kB each, and a node with more of them within a week is a ruin.
REMEMBERED_LIMIT = 2000


class Ledger:
    """All episodes that matter now. `counted` is called once for each episode that enters the counters."""

    def __init__(
        self,
        taxonomy: Taxonomy,
        node: str,
        episodes: Iterable[Episode] = (),
        next_id: int = 1,
        counted: Callable[[Episode], None] = lambda _episode: None,
    ) -> None:
        self._taxonomy = taxonomy
        self._node = node
        self._counted = counted
        self._shelf = Shelf(episodes)
        self._next_id = max(next_id, self._shelf.next_id)
        self._cleaned_at: float | None = None

    # --- what detectors and operators say

    def apply(self, findings: Iterable[Finding], context: Context, now: float, wall: float) -> None:
        """Takes findings in, in their order."""
        for finding in findings:
            if isinstance(finding, Sign):
                self._sign(finding, context, now, wall)
            else:
                self._gone(finding, context)

    def tick(self, context: Context, now: float, wall: float, evidence: Callable[[Episode], Evidence]) -> None:
        """Clears what is over, and settles what might have been the application's doing."""
        for episode in self._shelf.settling():
            if episode.settles_at is not None and now >= episode.settles_at:
                self._settle(episode, context, now, wall)
        for episode in self._shelf.active():
            drill = episode.drill
            if clearing.holds(episode) and not drill:
                continue
            class_ = self._taxonomy.class_(episode.class_)
            because = drills.over(episode, now) if drill else clearing.over(episode, class_, evidence(episode), now)
            if because is not None:
                self._clear(episode, because, now, wall)
        self._shelf.age(now)
        if self._cleaned_at is None or now - self._cleaned_at >= CLEAN_SECONDS:
            self._cleaned_at = now
            for episode in self._shelf.everything():
                if max(episode.cleared_at or 0.0, episode.last_at) < now - history.REMEMBERED_SECONDS:
                    self._shelf.forget(episode.id)
        self._shelf.shrink(REMEMBERED_LIMIT)

    def clear(self, number: int, reason: str, now: float, wall: float) -> Episode | None:
        """An operator clears an episode; `None` when none such is active."""
        episode = self._shelf.get(number)
        if episode is None or not episode.active:
            return None
        return self._clear(episode, f"operator: {reason}", now, wall)

    def drill(
        self, class_: str, vendor: str, known: Known | None, now: float, wall: float, seconds: float
    ) -> Episode | None:
        """Opens a drill; `None` when the same one is active. Raises `KeyError` for a class that does not exist."""
        last = self._shelf.latest(drills.key(vendor, known.label if known is not None else None, class_))
        if last is not None and last.active:
            return None
        number = self._next_id
        self._next_id += 1
        episode = drills.begin(number, self._taxonomy.class_(class_), self._node, vendor, known, now, wall, seconds)
        self._shelf.put(episode)
        return self._current(episode)

    def note_run_devices(self, number: int, devices: int) -> None:
        """How many devices the run has that the episode touches."""
        episode = self._shelf.get(number)
        if episode is not None and episode.run_devices != devices:
            self._shelf.put(msgspec.structs.replace(episode, run_devices=devices))

    # --- what is known

    def paging(self) -> list[Episode]:
        """Episodes that were routed to a page, active ones and those that ended lately; by id."""
        return self._shelf.paging()

    def active(self) -> list[Episode]:
        """Active episodes, the worst first, then the oldest."""
        return sorted(
            self._shelf.active(),
            key=lambda e: (-e.severity.weight, e.echo, not e.root, e.first_at, e.id),
        )

    def recent(self, since_at: float) -> list[Episode]:
        """Episodes that were active at or after a moment (steady), newest first."""
        return sorted(
            (e for e in self._shelf.everything() if e.active or max(e.last_at, e.cleared_at or 0.0) >= since_at),
            key=lambda e: (-e.first_at, -e.id),
        )

    def shown(self) -> list[Episode]:
        """Episodes that have series: active, or over for less than an hour; active ones first."""
        return self._shelf.shown()

    def take_changes(self) -> list[Episode]:
        """Episodes that changed since the last call, for the journal."""
        return self._shelf.take_changes()

    # --- signs

    def _sign(self, sign: Sign, context: Context, now: float, wall: float) -> None:
        opening = self._bounded(resolve(sign, context, self._taxonomy, wall - max(0.0, now - sign.at)))
        last = self._shelf.latest(opening.key)
        if last is not None and _acknowledged(last, sign, opening):
            return
        if last is not None and self._same(last, sign):
            episode = self._prolong(last, opening, sign, context)
        else:
            if last is not None and last.active:
                self._clear(last, "followed: it struck again, which is counted anew", now, wall)
            episode = self._open(opening, sign, context)
        if opening.suspect and not sign.historical:
            self._compare_with_peers(episode)

    def _same(self, last: Episode, sign: Sign) -> bool:
        """Whether a sign goes on with the last episode of its key."""
        if last.drill:
            return False
        if last.historical and not sign.historical:
            return sign.lasting  # a state query confirms what the old log said; a new line is a new fault
        if last.active and any(condition.lasting and not condition.gone for condition in last.conditions.values()):
            return True
        return abs(sign.at - last.last_at) <= COALESCE_SECONDS

    def _open(self, opening: Opening, sign: Sign, context: Context) -> Episode:
        class_ = self._taxonomy.class_(opening.class_)
        action = self._action(opening, sign, context)
        number = self._next_id
        self._next_id += 1
        episode = begin(opening, sign, number, action, self._incident_name(opening, number), class_)
        symptom = class_.kind is Kind.SYMPTOM
        kin = [
            member
            for member in self._shelf.fresh()
            if (member.active or member.historical)
            and incidents.belongs(episode, member, shared_class=class_.shared_component, symptom=symptom)
        ]
        if (
            kin
        ):  # what its own device began last, since a run's other faults are not its root, and what only lasts is old
            own = [member for member in kin if incidents.same_place(episode, member)]
            nearest = max(own, key=lambda member: (member.first_at, member.id)) if own else kin[0]
            episode = msgspec.structs.replace(episode, incident=nearest.incident)
        self._shelf.put(episode)
        self._choose_root(episode.incident)
        if episode.settles_at is None or class_.kind is Kind.APPLICATION:
            self._count(number)
        return self._current(episode)

    def _action(self, opening: Opening, sign: Sign, context: Context) -> str:
        past = self._shelf.past(opening.class_, owner_of(opening.owner, opening.vendor, opening.device, opening.place))
        action = self._taxonomy.action(
            opening.class_,
            sign.vendor,
            code=opening.code,
            family=opening.family,
            history=history.stage(past),
            severity=opening.severity,
        )
        known = context.devices.get(sign.device) if sign.device is not None else None
        return filled(action, known, sign, opening.run.run_id if opening.run is not None else None)

    def _prolong(self, last: Episode, opening: Opening, sign: Sign, context: Context) -> Episode:
        condition = last.conditions.get(sign.condition)
        repeated = last.active and sign.lasting and condition is not None and not condition.gone
        conditions = {**last.conditions, sign.condition: Condition(lasting=sign.lasting, last_at=sign.at)}
        if len(conditions) > CONDITIONS_LIMIT:
            conditions.pop(next(name for name, c in conditions.items() if not c.lasting or c.gone), None)
        changed = prolong(last, opening, sign, conditions)
        if (changed.severity, changed.code) != (last.severity, last.code):
            changed = msgspec.structs.replace(changed, action=self._action(opening, sign, context))
        if not repeated:
            changed = msgspec.structs.replace(changed, count=last.count + sign.events)
        if not last.active and (sign.lasting or not last.historical):
            changed = msgspec.structs.replace(
                changed, active=True, cleared_at=None, cleared_wall=None, cleared_because=None
            )
        if last.historical and changed.active:  # from before this agent came: nobody is woken for it
            changed = msgspec.structs.replace(changed, notify=weaker(opening.notify, Notify.TICKET))
        news = not repeated or (changed.severity, changed.code, changed.notify) != (
            last.severity,
            last.code,
            last.notify,
        )
        self._shelf.put(changed, write=news)
        if (changed.rank, changed.echo, changed.severity) != (last.rank, last.echo, last.severity):
            self._choose_root(changed.incident)
        if changed.settles_at is None:
            self._count(changed.id)
        return self._current(last)

    def _gone(self, gone: Gone, context: Context) -> None:
        known = context.devices.get(gone.device) if gone.device is not None else None
        device = known.label if known is not None else None
        place = None if known is not None else gone.place or (gone.device.native if gone.device is not None else None)
        key = episode_key(shown_vendor(gone.vendor, context), device, place, gone.class_)
        episode = self._shelf.latest(key)
        live = episode is not None and (episode.active or _by_operator(episode))
        condition = episode.conditions.get(gone.condition) if episode is not None and live else None
        if episode is None or condition is None or condition.gone:
            return
        conditions = {**episode.conditions, gone.condition: msgspec.structs.replace(condition, gone=True)}
        self._shelf.put(msgspec.structs.replace(episode, conditions=conditions))

    # --- the application's doing, or the hardware's

    def _compare_with_peers(self, episode: Episode) -> None:
        members = suspects.peers(episode, self._shelf.fresh(), self._taxonomy)
        if not members:
            return
        members.append(episode)
        first = min(members, key=lambda e: (e.first_at, e.id))
        for member in members:
            if not member.application:
                # An echo stays with what it follows: a fault of its own device, else of the run.
                incident = member.incident if member.echo else first.incident
                changes = {"application": True, "settles_at": None, "notify": Notify.NONE, "incident": incident}
                self._shelf.put(msgspec.structs.replace(member, **changes))
                self._count(member.id)
        self._choose_root(first.incident)

    def _settle(self, episode: Episode, context: Context, now: float, wall: float) -> None:
        """No peer showed it: it is what its class says. What came back in another run accuses the device."""
        notify = reached(self._taxonomy.class_(episode.class_), episode.severity, escalated=False)
        self._shelf.put(msgspec.structs.replace(episode, settles_at=None, notify=notify))
        self._count(episode.id)
        for code, runs in list(suspects.repeated(episode, self._shelf)):
            accusation = history.accusation(episode, known_key(episode, context), code, runs, now)
            self._sign(accusation, context, now, wall)

    # --- bookkeeping

    def _choose_root(self, incident: str) -> None:
        members = [e for e in self._shelf.fresh() if e.incident == incident]
        root = incidents.root_of(members)
        for member in members:
            if member.root != (member.id == root.id):
                self._shelf.put(msgspec.structs.replace(member, root=member.id == root.id))

    def _count(self, number: int) -> None:
        episode = self._shelf.get(number)
        if episode is None or episode.counted or episode.historical or episode.drill:
            return
        informs = episode.severity is Severity.INFORMATIONAL
        if informs and self._taxonomy.class_(episode.class_).severity is not Severity.INFORMATIONAL:
            return  # a detail of another fault, not one that its class's counter speaks of
        counted = msgspec.structs.replace(episode, counted=True)
        self._shelf.put(counted)
        self._counted(counted)

    def _clear(self, episode: Episode, because: str, now: float, wall: float) -> Episode:
        cleared = msgspec.structs.replace(
            self._current(episode), active=False, cleared_at=now, cleared_wall=wall, cleared_because=because
        )
        self._shelf.put(cleared)
        return cleared

    def _current(self, episode: Episode) -> Episode:
        return self._shelf.get(episode.id) or episode

    def _bounded(self, opening: Opening) -> Opening:
        if opening.place is None or self._shelf.knows_place(opening.place, PLACES_LIMIT):
            return opening
        return msgspec.structs.replace(opening, place="elsewhere")

    def _incident_name(self, opening: Opening, number: int) -> str:
        """Unique in the fleet, and telling: node, device, second, number."""
        where = opening.device if opening.device is not None else opening.place or "host"
        when = datetime.datetime.fromtimestamp(opening.wall, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"{self._node}/{opening.vendor}-{where}/{when}-{number}"


def _by_operator(episode: Episode) -> bool:
    return not episode.active and (episode.cleared_because or "").startswith("operator:")


def _acknowledged(last: Episode, sign: Sign, opening: Opening) -> bool:
    """What an operator has cleared stays cleared while the same condition lasts and gets no worse."""
    condition = last.conditions.get(sign.condition)
    known = condition is not None and sign.lasting and not condition.gone
    return known and _by_operator(last) and opening.severity.weight <= last.severity.weight

"""The incidents of this node that were decided on: once each, over restarts. No threads, no I/O, told the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from accelwatch.config import RemediationHook
from accelwatch.faults.episode import Episode
from accelwatch.faults.shown import shown
from accelwatch.remediation.decision import decide, incidents_of, past_of, ripe
from accelwatch.remediation.record import Outcome, Remediation
from accelwatch.taxonomy.loader import Taxonomy

# Of one that cannot be told from others any more nobody asks again; incidents that still ask are never forgotten.
REMEMBERED = 2000
MESSAGE_LIMIT = 1000


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run: what is on its standard input, and for how long at most it may run."""

    row: Remediation
    document: bytes
    timeout: float  # seconds


class Keeper:
    """Of one node. `counted`: called with the outcome of each incident, once that is final."""

    def __init__(
        self,
        taxonomy: Taxonomy,
        node: str,
        rows: Iterable[Remediation] = (),
        next_id: int = 1,
        *,
        known: bool = True,
        counted: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        """`rows`: what the journal holds, by id. `known`: False when it could not be read; nothing is run then, since
        it may have been run before.
        """
        self._taxonomy = taxonomy
        self._node = node
        self.known = known
        self._counted = counted
        self.hook = RemediationHook()
        self._rows = {row.id: row for row in rows}
        self._next_id = max(next_id, max(self._rows, default=0) + 1)
        self._decided = {row.incident for row in self._rows.values()}
        self._past = {dry: past_of(self._rows.values(), dry_run=dry) for dry in (False, True)}
        self._known_at: dict[str, float] = {}
        self._changed: dict[int, Remediation] = {}
        self._news: list[Remediation] = []
        self._orders: list[Order] = []
        for row in list(self._rows.values()):
            if row.outcome is Outcome.STARTED:
                self.ended(msgspec.structs.replace(row, outcome=Outcome.UNKNOWN, error="the agent ended meanwhile"))

    @property
    def on(self) -> bool:
        """Whether there is a command."""
        return bool(self.hook.command)

    def breaker_closes_at(self, now: float) -> float | None:
        """When the breaker closes by itself (steady seconds); `None` while it is closed."""
        return self._past[self.hook.dry_run].closes_at(now)

    def step(self, episodes: Iterable[Episode], now: float, wall: float, *, maintenance: bool) -> None:
        """Decides on incidents that ask for a command and were not decided on yet. `now` in steady seconds."""
        if not self.on or not self.known or maintenance:
            self._known_at.clear()
            return
        asking = incidents_of(episodes, self._taxonomy, self.hook)
        self._known_at = {incident: self._known_at.get(incident, now) for incident in asking}
        for incident, episode in sorted(asking.items(), key=lambda item: (item[1].first_at, item[1].id)):
            if incident not in self._decided and ripe(episode, self._known_at[incident], now):
                self._decide(episode, now, wall)
        self._shrink(asking)

    def ended(self, row: Remediation) -> None:
        """A command has ended, or was not run after all."""
        self._put(row)
        self._counted(row.outcome)

    def reset(self, by: str, reason: str, now: float, wall: float) -> Remediation:
        """An operator closes the breaker, and what was counted for it is forgiven."""
        row = Remediation(id=self._number(), outcome=Outcome.RESET, at=now, wall=wall, by=by[:100], reason=reason[:500])
        self._put(row)
        self._past = {dry: past.after(row) for dry, past in self._past.items()}
        return row

    def take_changes(self) -> list[Remediation]:
        """Rows that changed since the last call, for the journal."""
        changed, self._changed = self._changed, {}
        return list(changed.values())

    def take_orders(self) -> list[Order]:
        """Commands to run; their rows were among the changes before, and must be on disk first."""
        orders, self._orders = self._orders, []
        return orders

    def take_news(self) -> list[Remediation]:
        """What was decided or has ended since the last call, for the log."""
        news, self._news = self._news, []
        return news

    def _decide(self, episode: Episode, now: float, wall: float) -> None:
        outcome, opened_at = decide(self.hook, self._past[self.hook.dry_run], now)
        row = Remediation(
            id=self._number(),
            outcome=outcome,
            at=now,
            wall=wall,
            dry_run=self.hook.dry_run,
            incident=episode.incident,
            fault=episode.id,
            class_=episode.class_,
            vendor=episode.vendor,
            device=episode.device,
            code=episode.code,
            run_id=episode.run_id,
            message=episode.message[:MESSAGE_LIMIT],
            command=self.hook.command,
            opened_at=opened_at,
        )
        self._past[row.dry_run] = self._past[row.dry_run].after(row)
        self._put(row)
        if outcome is Outcome.STARTED:
            document = {**msgspec.to_builtins(shown(episode)), "node": self._node, "id": episode.id}
            order = Order(row=row, document=msgspec.json.encode(document) + b"\n", timeout=float(self.hook.timeout))
            self._orders.append(order)
        else:
            self._counted(outcome)

    def _number(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _put(self, row: Remediation) -> None:
        self._rows[row.id] = self._changed[row.id] = row
        self._decided.add(row.incident)
        self._news.append(row)

    def _shrink(self, asking: Iterable[str]) -> None:
        if len(self._rows) <= REMEMBERED:
            return
        kept = set(asking)
        for number in sorted(self._rows)[: len(self._rows) - REMEMBERED // 2]:
            if self._rows[number].incident not in kept:
                del self._rows[number]
        self._decided = {row.incident for row in self._rows.values()}

"""Whether a command is run for an incident. Pure: settings, what was done before, the fault and the time decide."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from accelwatch.config import RemediationHook
from accelwatch.faults import incidents
from accelwatch.faults.episode import Episode
from accelwatch.readings.severity import Severity
from accelwatch.remediation.record import STARTS, Outcome, Remediation
from accelwatch.taxonomy.loader import Taxonomy
from accelwatch.taxonomy.model import FaultClass, Kind

# The breaker's hour: so far back commands count, and so long it stays open.
BREAKER_SECONDS = 3600.0
# As the fast path does: a higher-ranked root is written to the kernel log within the first (design.md, Paging
# identity); what was last seen longer ago than a minute, as after a downtime, gets a minute in which its driver may say
# that it is over.
SETTLE_SECONDS, FRESH_SECONDS, OLD_NEWS_SECONDS = 0.3, 60.0, 60.0


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits look back on, of real commands or of rehearsed ones. Steady seconds."""

    starts: tuple[float, ...] = ()  # of commands within the breaker's hour, and the one before; the latest last
    opened_at: float | None = None  # when the breaker opened last

    def after(self, row: Remediation) -> Past:
        """With one more decision. An operator's reset forgives all that was."""
        if row.outcome is Outcome.RESET:
            return Past()
        if row.opened_at is not None:
            return msgspec.structs.replace(self, opened_at=row.opened_at)
        if row.outcome is Outcome.DRY_RUN or row.outcome in STARTS:
            recent = tuple(at for at in self.starts if row.at - at < BREAKER_SECONDS)
            return msgspec.structs.replace(self, starts=(*recent, row.at))
        return self

    def closes_at(self, now: float) -> float | None:
        """When the breaker closes by itself; `None` while it is closed."""
        if self.opened_at is None or now - self.opened_at >= BREAKER_SECONDS:
            return None
        return self.opened_at + BREAKER_SECONDS


def past_of(rows: Iterable[Remediation], *, dry_run: bool) -> Past:
    """Of all rows, by their id: a rehearsal's limits hold nothing back afterwards, and the other way round."""
    past = Past()
    for row in rows:
        if row.dry_run is dry_run or row.outcome is Outcome.RESET:
            past = past.after(row)
    return past


def decide(hook: RemediationHook, past: Past, now: float) -> tuple[Outcome, float | None]:
    """What is done for an incident that asks for a command, and when the breaker opened that stops it."""
    if past.closes_at(now) is not None:
        return Outcome.BREAKER_OPEN, past.opened_at
    if past.starts and now - past.starts[-1] < hook.min_interval:
        return Outcome.LIMITED, None
    if sum(now - at < BREAKER_SECONDS for at in past.starts) >= hook.max_per_hour:
        return Outcome.BREAKER_OPEN, now
    return (Outcome.DRY_RUN if hook.dry_run else Outcome.STARTED), None


def asks(episode: Episode, class_: FaultClass, hook: RemediationHook) -> bool:
    """Whether an episode is one that a command is meant for: hardware that has ended its run for certain, now."""
    return (
        episode.active
        and class_.hardware
        and class_.kind is Kind.CAUSE
        and episode.severity is Severity.RUN_ENDING
        and not (episode.historical or episode.application or episode.echo)
        and episode.settles_at is None  # else it may still turn out to be the application's doing
        and (not episode.drill or hook.drills)
    )


def incidents_of(episodes: Iterable[Episode], taxonomy: Taxonomy, hook: RemediationHook) -> dict[str, Episode]:
    """Incidents that ask for a command, each with the fault that is nearest to its root."""
    asking: dict[str, list[Episode]] = {}
    for episode in episodes:
        if asks(episode, taxonomy.class_(episode.class_), hook):
            asking.setdefault(episode.incident, []).append(episode)
    return {incident: incidents.root_of(members) for incident, members in asking.items()}


def ripe(episode: Episode, known_at: float, now: float) -> bool:
    """Whether the time has come. `known_at`: since when this agent has known it as asking (steady seconds)."""
    if episode.drill or known_at - episode.last_at <= FRESH_SECONDS:
        return now - episode.first_at >= SETTLE_SECONDS
    return now - known_at >= OLD_NEWS_SECONDS

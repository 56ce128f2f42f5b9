"""Which episodes are worth a page by the fast path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accelwatch.detectors.base import Known
from accelwatch.faults.episode import Episode
from accelwatch.faults.labels import routing
from accelwatch.maintenance import Maintenance
from accelwatch.pager.notice import Candidate, Standing
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import Taxonomy
from accelwatch.taxonomy.model import FaultClass, Kind, Notify

# What had its last sign within a minute is of now; older news may be over, which its driver is asked first.
FRESH_SECONDS = 60.0


def candidates(
    episodes: Iterable[Episode],
    taxonomy: Taxonomy,
    devices: Mapping[DeviceKey, Known],
    maintenance: Maintenance | None,
    now: float,
    min_run_devices: int,
) -> list[Candidate]:
    """Of the episodes that were routed to a page those that the fast path speaks of. `now` in steady seconds;
    a run of fewer than `min_run_devices` wakes nobody (design.md, Faults).
    """
    found = []
    by_label: dict[tuple[str, str | None], Known] | None = None
    for episode in episodes:
        standing = standing_of(episode, taxonomy.class_(episode.class_), maintenance, min_run_devices)
        if standing is None:
            continue
        if by_label is None:
            by_label = {(known.key.vendor.value, known.label): known for known in devices.values()}
        found.append(
            Candidate(
                episode=episode,
                standing=standing,
                known=by_label.get((episode.vendor, episode.device)),
                fresh=now - episode.last_at <= FRESH_SECONDS,
            )
        )
    return found


def standing_of(
    episode: Episode, class_: FaultClass, maintenance: Maintenance | None, min_run_devices: int
) -> Standing | None:
    """`None`: none of the fast path's business."""
    if class_.kind is not Kind.CAUSE or episode.severity is not Severity.RUN_ENDING or episode.historical:
        return None
    if not episode.drill and (episode.run_id is None or (episode.run_devices or 0) < min_run_devices):
        return None
    if not episode.active or episode.application:
        return Standing.END
    if routing(episode) is not Notify.PAGE:
        return Standing.KEEP
    if maintenance is not None:
        return Standing.RESUME if episode.first_at < maintenance.since_at else Standing.KEEP
    return Standing.POST

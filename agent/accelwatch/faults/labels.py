"""The labels of an episode's series: fixed when it opens, so that an alert on it does not begin anew."""

from __future__ import annotations

import msgspec

from accelwatch.faults.episode import Episode
from accelwatch.taxonomy.model import Notify

# In the order of `Episode.labels`.
LABELS = ("class", "fault_severity", "code", "incident", "run_id", "notify")
FORMER_LIMIT = 8


def labelled(episode: Episode) -> Episode:
    """The episode with the labels it is shown under; an escalation, or a new root, makes a new set of them."""
    routed = routing(episode)
    if episode.labels and (episode.labels[1], episode.labels[5]) == (episode.severity, routed):
        return episode
    labels = (
        episode.class_,
        episode.severity.value,
        episode.code or "",
        episode.incident,
        episode.run_id or "",
        routed.value,
    )
    former = tuple(old for old in episode.former_labels if old != labels)
    if episode.labels:
        former = (*former, episode.labels)[-FORMER_LIMIT:]
    return msgspec.structs.replace(episode, labels=labels, former_labels=former)


def routing(episode: Episode) -> Notify:
    """Whom it reaches: of an incident only the root pages, an echo and the application's doing nobody."""
    return episode.notify if episode.root and not episode.echo and not episode.application else Notify.NONE

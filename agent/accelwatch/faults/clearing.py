"""When an episode is over: by positive evidence only."""

from __future__ import annotations

import msgspec

from accelwatch.faults.episode import Episode
from accelwatch.taxonomy.model import Clearing, FaultClass


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known now of an episode's device. `reset_after`: it was reset since (steady)."""

    answers: bool  # its driver answers for it now; of the host: this agent runs on it
    reset_after: float | None = None


def holds(episode: Episode) -> bool:
    """Whether a condition of it lasts: no other evidence ends it then."""
    return any(condition.lasting and not condition.gone for condition in episode.conditions.values())


def over(episode: Episode, class_: FaultClass, evidence: Evidence, now: float) -> str | None:
    """Why the episode is over, or `None`. Never because anything is silent."""
    lasting = [condition for condition in episode.conditions.values() if condition.lasting]
    if holds(episode) or not evidence.answers:
        return None
    if class_.clearing is Clearing.STATE and lasting:
        return "gone: the condition is not there any more"
    if (
        class_.clearing is Clearing.RESET
        and evidence.reset_after is not None
        and evidence.reset_after >= episode.last_at
    ):
        return "reset: the device was reset and answers"
    if now - episode.last_at >= class_.clear_after_seconds:
        return f"quiet: the device answers, no new sign for {class_.clear_after_seconds:.0f} s"
    return None

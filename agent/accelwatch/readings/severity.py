"""How much a fault takes from a run."""

from __future__ import annotations

import enum


class Severity(enum.StrEnum):
    """The effect on a run, not the routing of a page (design.md, Faults)."""

    RUN_ENDING = "run_ending"  # a run on this device cannot go on, or has ended
    DEGRADING = "degrading"  # it goes on slower or at risk
    INFORMATIONAL = "informational"  # kept for the comparison

    @property
    def weight(self) -> int:
        """Higher is worse."""
        return _WEIGHTS[self]


_WEIGHTS = {Severity.INFORMATIONAL: 0, Severity.DEGRADING: 1, Severity.RUN_ENDING: 2}

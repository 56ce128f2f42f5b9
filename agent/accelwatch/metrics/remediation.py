"""Series of the site's command for run-ending faults."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from accelwatch.metrics import catalogue as c
from accelwatch.metrics.exposition import Lines
from accelwatch.remediation.record import FINAL


class RemediationPage(msgspec.Struct, frozen=True, kw_only=True):
    """How many incidents had which outcome, on this node ever, and whether the breaker holds commands back now."""

    counts: Mapping[str, float]
    breaker_open: bool


def add_remediation(lines: Lines, page: RemediationPage) -> None:
    """All outcomes from the first page on: a series born at 1 loses its first to `increase()`."""
    for outcome in FINAL:
        lines.add(c.REMEDIATIONS, (outcome.value,), page.counts.get(outcome.value, 0))
    lines.add(c.REMEDIATION_BREAKER, (), int(page.breaker_open))

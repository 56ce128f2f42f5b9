"""Marks across all time series of a dashboard."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, prometheus

from boards.colours import BAD, PURPLE
from boards.variables import SOURCE


def fault_begins(labels: str) -> dashboard.AnnotationQuery:
    """While a fault that is worth a ticket is active on what `labels` select."""
    active = f'accelwatch_fault_active{{{labels},fault_severity!="informational",drill!="true"}} == 1'
    expr = f"max by (node, vendor, device, class, code) ({active})"
    return _marks(
        "Faults", expr, "{{class}}", "{{node}}, {{vendor}} device {{device}}, code {{code}}", "vendor,class", BAD
    )


def run_ends(labels: str) -> dashboard.AnnotationQuery:
    """When a run was interrupted, by the time in the series, not by that at which it was recorded."""
    expr = f"1000 * max by (run_id, attempt, outcome) (accelwatch:run_interruption:end_timestamp_seconds{{{labels}}})"
    made = _marks("Interruptions", expr, "run {{run_id}} {{outcome}}", "attempt {{attempt}}", "outcome", PURPLE)
    return made.use_value_for_time(True)


def _marks(name: str, expr: str, title: str, text: str, tags: str, colour: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(colour)
        .expr(expr)
        .target(prometheus.Dataquery().datasource(SOURCE).expr(expr).ref_id("A").range())
        .title_format(title)
        .text_format(text)
        .tag_keys(tags)
        .step("60s")
    )

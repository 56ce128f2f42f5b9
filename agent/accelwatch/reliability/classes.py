"""What a fault class is to the comparison: what it counts as, and which vendor's stack can see it."""

from __future__ import annotations

import enum

from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import FaultClass, Kind

INTERCONNECT = frozenset(("intra_node_link", "fabric_switch", "net_link_down", "net_link_flap", "net_errors"))
# Beside what the taxonomy calls the application's own.
SOFTWARE = frozenset(("driver_software", "operator"))


class Cause(enum.StrEnum):
    """What ended a run, as its owner asks."""

    HARDWARE = "hardware"
    INTERCONNECT = "interconnect"
    SOFTWARE = "software"
    UNKNOWN = "unknown"


def cause_of(name: str) -> Cause:
    """The same groups as on the dashboards. Hardware is all that is no link and no software, storage too.

    Symptoms (a hang, a collective that timed out) say only that something stopped the run: the cause is unknown.
    """
    class_ = load().classes.get(name)
    if name in INTERCONNECT:
        return Cause.INTERCONNECT
    if name in SOFTWARE or (class_ is not None and class_.kind is Kind.APPLICATION):
        return Cause.SOFTWARE
    return Cause.UNKNOWN if class_ is None or name == "unknown" or class_.kind is Kind.SYMPTOM else Cause.HARDWARE


def known(name: str) -> FaultClass | None:
    """The taxonomy's class; `None` for others, which a file of counts may name (sums above all)."""
    return load().classes.get(name)


def observable(name: str, vendor: str) -> bool | None:
    """Whether a source of ours can see the class on that vendor's devices; `None`: the taxonomy does not say."""
    class_ = load().classes.get(name)
    sources = None if class_ is None else class_.observable.get(vendor)
    return None if sources is None else bool(sources)


def primary() -> tuple[str, ...]:
    """The classes of the one comparison that is chosen beforehand: hardware faults that end runs by themselves."""
    return tuple(
        name
        for name, class_ in load().classes.items()
        if class_.hardware and class_.kind is Kind.CAUSE and class_.severity is Severity.RUN_ENDING
    )

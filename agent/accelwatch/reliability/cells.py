"""What the report is made from: counts and their exposure, whoever counted them.

`accelwatch report --counts` fills it from a file; `document.document` turns it into the report.
Hours are device-hours; what is not known is `None`, never 0.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

# The customary level; a file may ask for another one per row.
CONFIDENCE = 0.95


class Unit(msgspec.Struct, frozen=True):
    """A share of a cell's count and exposure: one node, one device or one period. Those without an event
    belong in it."""

    name: str
    count: int
    hours: float


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Episodes of one class in one group of devices of one model.

    `hours` is powered exposure, on which rates stand; `busy_hours` is shown beside it. `by_device` and `by_node` divide
    the same count and exposure and may be empty: without them, neither over-dispersion nor a bootstrap is told. A count
    of 0 of a class that is not `observable` has no rate.
    """

    group: str
    cluster: str = ""
    vendor: str
    model: str
    driver: str | None = None
    class_: str
    count: int
    hours: float
    busy_hours: float | None = None
    devices: int | None = None
    observable: bool = True
    confidence: float = CONFIDENCE
    by_node: Sequence[Unit] = ()
    by_device: Sequence[Unit] = ()
    by_period: Sequence[Unit] = ()  # quarters or months, in their order
    source: str = ""


class Interruptions(msgspec.Struct, frozen=True, kw_only=True):
    """Run attempts that one cause ended in one group; each counted once, however many nodes it had."""

    group: str
    cluster: str = ""
    vendor: str
    model: str
    cause: str  # a fault class, `unknown` or `operator`
    count: int
    hours: float  # device-hours of the group: the same exposure for each of its causes
    lost_device_hours: float | None = None
    confidence: float = CONFIDENCE


class NodeTime(msgspec.Struct, frozen=True, kw_only=True):
    """Device-hours of one node. `down` and `planned` are within `installed`; `unwatched` is outside it."""

    node: str
    installed: float
    down: float
    planned: float = 0.0
    unwatched: float = 0.0  # nobody looked: censored, neither up nor down


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of a group, for its availability."""

    group: str
    vendor: str
    model: str
    nodes: Sequence[NodeTime]
    confidence: float = CONFIDENCE


class Measure(enum.StrEnum):
    """Which time was measured: from a fault's onset to its detection, or from there to its end."""

    DETECT = "time_to_detect"
    REPAIR = "time_to_repair"


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """Measured times of a group, in seconds, one per episode or run."""

    group: str
    vendor: str
    measure: Measure
    seconds: Sequence[float]
    class_: str | None = None  # `None`: all classes together
    confidence: float = CONFIDENCE


class Lifetime(msgspec.Struct, frozen=True, kw_only=True):
    """One device by its serial number. Ages in hours since it was first seen or installed.

    `entered`: its age when the watch began (0 for a new one): what had failed before was not seen. `failed`: it was
    taken out for a fault at age `left`; else it was in service then, or went out healthy.
    """

    group: str
    vendor: str
    serial: str
    entered: float
    left: float
    failed: bool


class Standing(enum.StrEnum):
    """What a published figure is."""

    COUNTED = "counted"  # a count with its exposure
    COUNT = "count"  # a count whose exposure is not published
    FIGURE = "figure"  # a share or a rate without its count
    CLAIM = "claim"  # said by a vendor, or by others, without count and exposure


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of somebody else's, shown as context and never tested against."""

    group: str
    vendor: str
    model: str
    class_: str
    standing: Standing
    count: int | None = None
    hours: float | None = None
    source: str = ""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report says. `notes`: sentences for its reader, about what is missing above all."""

    title: str
    produced: str  # RFC 3339
    origin: str  # the file, or the Prometheus, that it was made from
    window: tuple[str, str] | None = None  # RFC 3339; `None`: whatever the counts cover
    cells: Sequence[Cell] = ()
    incidents: Sequence[Cell] = ()  # cascades joined to one, under the class of their root
    interruptions: Sequence[Interruptions] = ()
    runs_counted: bool = False  # a group without interruptions had none; else nothing is known of them
    fleets: Sequence[Fleet] = ()
    durations: Sequence[Durations] = ()
    lifetimes: Sequence[Lifetime] = ()
    published: Sequence[Published] = ()
    notes: Sequence[str] = ()

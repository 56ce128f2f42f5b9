"""An episode as it is kept: one class on one device, from its first sign until it is cleared."""

from __future__ import annotations

import msgspec

from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.model import Notify


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was seen of an episode. A lasting one holds until it is seen to be gone."""

    lasting: bool
    last_at: float
    gone: bool = False


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """`*_at` are steady seconds, `*_wall` seconds since the epoch. `id` is what `accelwatch clear` takes."""

    id: int
    class_: str
    severity: Severity
    notify: Notify
    vendor: str
    device: str | None = None  # label; `None`: the host, or a device that the inventory does not know
    model: str = ""
    owner: str | None = None  # the device's UUID or serial
    place: str | None = None  # PCI address or number of an unknown device
    code: str | None = None  # the root's
    codes: tuple[str, ...] = ()
    incident: str
    root: bool = True  # of its incident: only a root pages
    rank: int = 0
    echo: bool = False
    message: str
    action: str
    conditions: dict[str, Condition] = {}
    links: tuple[str, ...] = ()
    pid: int | None = None
    process: str | None = None
    first_at: float
    last_at: float
    first_wall: float
    last_wall: float
    boot_id: str | None = None
    kernel_seconds: float | None = None
    count: int = 1
    run_id: str | None = None
    attempt: str | None = None
    run_devices: int | None = None  # of the whole run, as far as this node knows
    onset_at: float | None = None
    active: bool = True
    cleared_at: float | None = None
    cleared_wall: float | None = None
    cleared_because: str | None = None
    historical: bool = False
    counted: bool = True  # False: historical, a drill, or not yet told from the application's doing
    application: bool = False  # shown on several devices of its run at once: the job's doing
    settles_at: float | None = None  # until then it may turn out to be the application's doing
    drill: bool = False
    ends_at: float | None = None  # of a drill: when it clears itself
    journalled: bool = True  # False: shown before a sick disk took it
    labels: tuple[str, ...] = ()  # of its series, as `faults.labels` fixes them
    former_labels: tuple[tuple[str, ...], ...] = ()  # those that an escalation replaced

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes another sign part of the same episode: vendor, device or place, class. A drill takes no signs."""
        vendor = f"drill {self.vendor}" if self.drill else self.vendor
        return vendor, self.device if self.device is not None else f"@{self.place or ''}", self.class_

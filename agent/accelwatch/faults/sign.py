"""What a detector says: a sign of a fault, or that one is gone."""

from __future__ import annotations

import msgspec

from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.severity import Severity


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that a fault of `class_` struck at `at` (steady seconds), on a device, or on the host (`device` `None`).

    `condition` names what was seen, so that it can be taken back: `xid 79`, `link roce0 down`, `ecc hbm uncorrected`.
    `lasting`: a state that holds until a `Gone` of the same class, device and condition; else something that
    happened, which ends by the clearing rule of its class. A lasting sign may be repeated at each reading.
    """

    class_: str
    condition: str
    at: float
    vendor: str  # nvidia, ascend; host: of no accelerator, then the node's vendor is put in its place
    device: DeviceKey | None = None
    place: str | None = None  # PCI address or number of a device that the inventory does not know
    code: str | None = None  # the vendor's own
    family: str | None = None  # of the code, or the kind of a line without one, as the taxonomy has it
    severity: Severity | None = None  # what the evidence itself says; `None`: code table, then class
    message: str
    lasting: bool = False
    events: int = 1  # how many times it happened since the last sign of it
    link: str | None = None
    pid: int | None = None
    process: str | None = None
    rank: int | None = None
    run_id: str | None = None  # where the evidence names the run itself; else who holds the device
    attempt: str | None = None
    onset: float | None = None  # of a symptom: when the wait began (steady seconds)
    escalate: bool = False  # seen before so often that it is paged, whatever its class says
    wall: float | None = None  # seconds since the epoch, where the evidence has a time of its own
    boot_id: str | None = None
    kernel_seconds: float | None = None
    historical: bool = False  # from before this agent ever ran here: kept, not counted, not paged


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """Positive evidence that a lasting condition is over: the reading was there and good. Never silence."""

    class_: str
    condition: str
    vendor: str
    at: float
    device: DeviceKey | None = None
    place: str | None = None
    because: str = "the reading is good again"


Finding = Sign | Gone

"""What Prometheus knows of one attempt of a run."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Spot(msgspec.Struct, frozen=True, order=True):
    """A device, or the host where `device` is empty."""

    node: str
    vendor: str = ""
    device: str = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, and when it was where; times in seconds since the epoch, of Prometheus."""

    cluster: str
    attempt: str
    going: bool = False  # some node has it now
    seen: float | None = None  # when it was last seen to go on
    first_end: float | None = None  # of its nodes' shares
    last_end: float | None = None

    @property
    def latest(self) -> float:
        """When something of it was last known."""
        return max((at for at in (self.seen, self.last_end) if at is not None), default=0.0)


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one node had of the run."""

    devices: int | None = None
    read: float | None = None  # when its page was last read with the run on it
    reports: bool = False  # it has the run at the moment that was asked about
    ended: float | None = None
    outcome: str = ""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rule puts the cause; `spot.node` is empty where it names none."""

    spot: Spot
    class_: str = ""
    model: str = ""
    rule: str = ""  # of a hang: cause, dark, ended, minority, earliest, unlocated
    at: float | None = None


class FaultSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that was active on a node of the run. `since`: first seen so in `Facts.window`."""

    spot: Spot
    class_: str
    severity: str
    code: str = ""
    model: str = ""
    run_id: str = ""
    since: float
    active: bool = False  # at the moment that was asked about


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """Who a device is."""

    model: str = ""
    serial: str = ""
    pci: str = ""
    uuid: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `moment`: what was asked about, never later than ten minutes after the end."""

    run_id: str
    attempt: Attempt
    others: tuple[Attempt, ...] = ()
    moment: float
    asked: float  # `--at`, else now
    shares: Mapping[str, Share] = {}
    world_size: int | None = None
    launcher: str = ""
    level: int | None = None  # 0 goes on, 1 stands still, 2 hangs; `None`: not known, or it has ended
    hang: Named | None = None
    interruption: Named | None = None
    interruption_outcome: str = ""
    causes: tuple[Named, ...] = ()  # by the nodes' own judgement
    lost_device_seconds: float | None = None
    progress: Mapping[Spot, float] = {}  # last progress of each device
    tie_seconds: float = 5.0  # stops that are nearer to each other have no order that is known
    window: tuple[float, float]  # of `faults`
    faults: tuple[FaultSeen, ...] = ()
    devices: Mapping[Spot, Device] = {}
    racks: Mapping[str, str] = {}
    rules: bool = True  # the recording rules are loaded

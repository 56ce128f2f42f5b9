"""What a run is, as it is kept and shown."""

from __future__ import annotations

import enum

import msgspec


class RunRef(msgspec.Struct, frozen=True, order=True):
    """One attempt of a run: the join key over nodes is (cluster, run_id, attempt)."""

    run_id: str
    attempt: str = "0"


class Outcome(enum.StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    KILLED = "killed"
    HUNG = "hung"
    UNKNOWN = "unknown"


class RunDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that a run holds or held."""

    vendor: str
    device: str  # its label
    model: str = ""
    rank: int | None = None
    pid: int | None = None


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A degrading fault in the window of a run's cause: not said to be the cause."""

    class_: str
    vendor: str
    device: str | None
    code: str | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """This node's share of one attempt. Times are seconds since the epoch; `*_at` are steady seconds."""

    run_id: str
    attempt: str
    launcher: str = ""
    partition: str = ""
    world_size: int | None = None
    rank0: bool = False  # rank 0 is on this node
    devices: tuple[RunDevice, ...] = ()
    started: float
    started_at: float
    ended: float | None = None
    ended_at: float | None = None
    ended_by_at: float | None = None  # when the end was seen: later than `ended_at` where the agent was not there
    outcome: Outcome | None = None
    detail: str = ""  # exit status, signal, OOM
    onset_at: float | None = None  # last progress before the end, or before the hang
    onset: float | None = None
    cause: str | None = None  # class of the fault that ended it; `None` until it is final
    cause_vendor: str | None = None
    cause_device: str | None = None
    cause_code: str | None = None
    cause_wall: float | None = None
    cause_final: bool = False
    suspects: tuple[Suspect, ...] = ()
    lost_device_seconds: float | None = None

    @property
    def ref(self) -> RunRef:
        """Its key."""
        return RunRef(self.run_id, self.attempt)

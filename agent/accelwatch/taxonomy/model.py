"""What the taxonomy says of a class and of a code."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from accelwatch.readings.severity import Severity


class Notify(enum.StrEnum):
    """Whom an active fault of the class reaches, when a run of some size is touched (design.md, Faults)."""

    PAGE = "page"
    TICKET = "ticket"
    NONE = "none"


class Kind(enum.StrEnum):
    """Whether the class ends runs by itself, only shows that something did, or is the job's own doing."""

    CAUSE = "cause"
    SYMPTOM = "symptom"
    APPLICATION = "application"


class Clearing(enum.StrEnum):
    """What ends an episode (besides an operator)."""

    STATE = "state"  # the detector saw the condition gone
    QUIET = "quiet"  # the device answered well for `clear_after_seconds` without a new sign
    RESET = "reset"  # the device was reset, or its driver says that nothing is pending, then quiet


class Actions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action, by what was tried before: the first time, again after a reset, again after a repair or swap."""

    first: str
    after_reset: str
    after_repair: str


class FaultClass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the 25. `rank`: root rank in a cascade, higher is nearer to the root (reference/nvidia.md section 6)."""

    name: str
    severity: Severity
    notify: Notify
    kind: Kind
    hardware: bool  # enters the comparison of vendors
    meaning: str
    rank: int
    shared_component: bool = False  # on several devices of a run at once: a switch, board or rack, not the job
    clearing: Clearing = Clearing.QUIET
    clear_after_seconds: float = 600.0
    actions: Mapping[str, Actions]  # by vendor: nvidia, ascend, host
    observable: Mapping[str, tuple[str, ...]]  # by vendor: sources of which any one can see it; (): cannot be seen

    def notify_at(self, severity: Severity) -> Notify:
        """Whom an episode of that severity reaches: `notify` is meant for the class's own severity.

        What only degrades is never more than a ticket, what informs reaches nobody, and a cause that is ticketed for
        slowing runs is paged once it ends one (a transfer that failed, a fatal PCIe error).
        """
        if self.notify is Notify.NONE or severity is Severity.INFORMATIONAL:
            return Notify.NONE
        if severity is Severity.DEGRADING:
            return Notify.TICKET
        if self.kind is Kind.CAUSE and self.severity is not Severity.RUN_ENDING:
            return Notify.PAGE
        return self.notify


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """One native code, or one kind of line without a code."""

    family: str  # xid, sxid, ascend, hccl, or the kind of the line itself
    code: str | None
    class_: str
    name: str  # as the vendor calls it, or what it is where it has no name
    meaning: str = ""  # in plain words, where the name is not
    severity: Severity | None = None  # `None`: the class's
    action: str | None = None  # in place of the class's, where this code asks for something else
    rank: int | None = None  # in place of the class's
    echo: bool = False  # only says that something else happened: kept, never pages
    application_suspect: bool = False  # on several devices of a run at once it is the job's doing
    ignore: bool = False  # no fault at all: recorded by nobody

    @property
    def text(self) -> str:
        """The meaning in plain words, else the name."""
        return self.meaning or self.name


class Meaning(msgspec.Struct, frozen=True, kw_only=True):
    """A code or line, resolved: what class, how severe, what to do."""

    class_: FaultClass
    code: Code | None
    severity: Severity
    rank: int

    @property
    def notify(self) -> Notify:
        """Whom it reaches at this severity."""
        return self.class_.notify_at(self.severity)

"""What a line of a log says of a fault."""

from __future__ import annotations

import msgspec

from accelwatch.readings.severity import Severity


class LogEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line, or one record of several lines, that a driver, kernel or library wrote of a fault.

    `kind` is a key of the taxonomy: `xid`, `sxid`, `ascend`, `hccl` for lines that carry a code, else the kind of the
    line (`aer_fatal`, `hung_task`, `nccl_timeout`, ...). What it means is for `taxonomy` to say.
    """

    kind: str
    vendor: str  # nvidia, ascend, host
    code: str | None = None  # as in the taxonomy: 79, 20034, 80E01801, EI0006
    pci: str | None = None  # 0000:3b:00, as the kernel writes it, lower case, without the function
    number: int | None = None  # on Ascend: the device number of the driver's lines
    link: str | None = None
    pid: int | None = None
    process: str | None = None
    rank: int | None = None
    caused_by: str | None = None  # the code that the line itself names as its cause
    action: int | None = None  # the recovery action that the line itself gives (Xid 154)
    severity: Severity | None = None  # what the line itself says; `None`: the taxonomy decides
    waited_seconds: float | None = None  # the time-out that a symptom prints: the wait began so long before
    uuid: str | None = None  # of the GPU, where the driver named it before
    serial: str | None = None
    culprit: str | None = None  # whom the line itself names: the server and rank of a lost peer (HCCL)
    enqueued: int | None = None  # numbers of the last collective enqueued and completed (NCCL): the lowest is suspect
    completed: int | None = None
    refines: str | None = None  # the kind of an event just given, of the same process, of which this knows more
    cleared: bool = False  # the line says that the condition has ended
    wall: float | None = None  # the line's own time, in seconds since the epoch, where it has a date
    file: str | None = None
    text: str  # the message without prefixes


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A `LogEvent` with its time. `at`: steady seconds (`clock.SteadyClock`); `wall`: seconds since the epoch.

    `backlog`: it was in the log before it was opened. `historical`: from before this agent ever ran on this host.
    """

    event: LogEvent
    at: float
    wall: float
    boot_id: str | None = None
    kernel_seconds: float | None = None
    backlog: bool = False
    historical: bool = False
    file: str | None = None

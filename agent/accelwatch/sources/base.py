"""What a source is, and how it fails."""

from __future__ import annotations

import enum
from typing import Protocol, runtime_checkable

import msgspec

from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.snapshot import Snapshot


class SourceError(Exception):
    """A source could not answer: the message says what failed, where, what was expected, and what to do.

    `sample`, where there is one, is the beginning of the output that could not be used.
    """

    def __init__(self, message: str, sample: str | None = None) -> None:
        super().__init__(message)
        self.sample = None if sample is None else sample[:SAMPLE_CHARACTERS]


class SourceTimeout(SourceError):
    """A call did not return within its deadline; what ran it was killed, or given up if it could not be.

    `waited`: seconds for an answer until this was raised, in all calls in a row that did not return; `None`: for one
    deadline. `repeated`: there was more than one such call.
    """

    repeated = False

    def __init__(self, message: str, sample: str | None = None, waited: float | None = None) -> None:
        super().__init__(message, sample)
        self.waited = waited


class SourceReleased(SourceError):
    """An operator had the driver let go of, for a reset or an upgrade: not a failure."""


# Enough of a bad output to recognise the tool, its version and its language (issue of record: bad input).
SAMPLE_CHARACTERS = 200


class Presence(enum.Enum):
    """What `enabled: auto` goes by."""

    ABSENT = "absent"  # this host has no such interface: off without noise
    PRESENT = "present"


class Source(Protocol):
    """One interface of the machine. It may block up to its deadline, fail and time out.

    It knows nothing of faults, metric names or other sources. Called from one thread at a time.
    """

    name: str

    def presence(self) -> Presence:
        """Whether the interface exists on this host; cheap, and never calls a driver."""
        ...

    def poll(self, everything: bool = False) -> Snapshot:
        """The source's whole present view. `everything` reads every tier at once (`check`, `metrics`).

        Raises `SourceError` when nothing of it is known any more; parts that failed go to `Snapshot.problems`.
        """
        ...

    def close(self) -> None:
        """Ends children and closes files. Never blocks longer than a second, never calls a driver."""
        ...


@runtime_checkable
class Follower(Protocol):
    """A source that also follows something in a thread of its own."""

    def start(self) -> None:
        """Starts following; `Source.close` ends it."""
        ...


@runtime_checkable
class Releasable(Protocol):
    """A source that holds its driver open and can let go of it."""

    def release(self, seconds: float) -> None:
        """Lets go of the driver for that long, for a reset or an upgrade."""
        ...


class AscendDevice(msgspec.Struct, frozen=True):
    """An NPU that the inventory knows, for a source that cannot list devices itself (hccn_tool).

    `hccn_id` is what `hccn_tool -i` takes: the physical id (reference/ascend.md section 1), on 950 the logic id, which
    is there the NPU ID of `npu-smi info` (hicann/driver, Ascend_950_HCCN_Tool, parameter -i).
    """

    key: DeviceKey
    hccn_id: int
    generation_950: bool

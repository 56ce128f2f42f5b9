"""Rows of the journal, and how it fails."""

from __future__ import annotations

import msgspec

from accelwatch.readings.identity import Identity


class JournalError(Exception):
    """The journal cannot be used: the message says which file, why, and what to do."""


class NewerSchema(JournalError):
    """A newer accelwatch wrote the file: this one leaves it alone."""


class Damaged(JournalError):
    """The file is no database any more."""


class DeviceRow(msgspec.Struct, frozen=True):
    """A device of the inventory. `up` is the last verdict that a source gave."""

    identity: Identity
    label: str
    up: bool
    first_seen: float  # seconds since the epoch


class CounterRow(msgspec.Struct, frozen=True):
    """A counter that never falls: `total` is what is served, `raw` the device's own count that it stands for."""

    owner: str
    name: str
    labels: str
    total: float
    raw: float | None

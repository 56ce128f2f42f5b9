"""Which driver call a worker is in, in memory shared with the agent: a blocked call can still be named."""

from __future__ import annotations

import mmap
import os
import struct
import time

import msgspec

_FORM = struct.Struct("<qi60s")  # start of the call (CLOCK_MONOTONIC ns, 0: none), device ordinal (-1: none), symbol
SIZE_BYTES = mmap.PAGESIZE


class Call(msgspec.Struct, frozen=True):
    """A call under way."""

    name: str
    device: int  # -1: of no device
    seconds: float  # how long so far


class Progress:
    """Both ends of the marker; the worker writes, the agent reads."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = os.memfd_create("accelwatch-nvml") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, SIZE_BYTES)
        self._memory = mmap.mmap(self.descriptor, SIZE_BYTES)

    def enter(self, device: int, name: str) -> None:
        """A call begins."""
        _FORM.pack_into(self._memory, 0, time.monotonic_ns(), device, name.encode()[:60])

    def leave(self) -> None:
        """It has returned."""
        _FORM.pack_into(self._memory, 0, 0, -1, b"")

    def current(self) -> Call | None:
        """The call under way, if any."""
        started, device, name = _FORM.unpack_from(self._memory, 0)
        if not started:
            return None
        return Call(name.rstrip(b"\0").decode(errors="replace"), device, (time.monotonic_ns() - started) / 1e9)

    def close(self) -> None:
        """Frees it."""
        self._memory.close()
        os.close(self.descriptor)

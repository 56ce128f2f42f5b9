"""Which driver call a worker is in, in memory shared with the agent: a blocked call can still be named."""

from __future__ import annotations

import mmap
import os
import struct
import time

_FORM = struct.Struct("=qi60s")  # start of the call (CLOCK_MONOTONIC ns, 0: none), device ordinal (-1: none), symbol
SIZE_BYTES = mmap.PAGESIZE


class Call:
    """A call under way."""

    __slots__ = ("device", "name", "seconds")

    def __init__(self, name: str, device: int, seconds: float) -> None:
        """`device`: -1, of no device; `seconds`: how long so far."""
        self.name, self.device, self.seconds = name, device, seconds


class Progress:
    """Both ends of the marker; the worker writes, the agent reads."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = os.memfd_create("accelwatch-nvml") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, SIZE_BYTES)
        self._memory = mmap.mmap(self.descriptor, SIZE_BYTES)
        self._started = memoryview(self._memory)[:8].cast("q")
        self._symbols: dict[str, bytes] = {}

    def enter(self, device: int, name: str) -> None:
        """A call begins."""
        symbol = self._symbols.get(name) or self._symbol(name)
        _FORM.pack_into(self._memory, 0, time.monotonic_ns(), device, symbol)

    def announce(self, device: int, name: str) -> memoryview[int]:
        """Names the call that follows, or many of it: returns where to put the start of each, and 0 when it is over."""
        _FORM.pack_into(self._memory, 0, 0, device, self._symbols.get(name) or self._symbol(name))
        return self._started

    def _symbol(self, name: str) -> bytes:
        self._symbols[name] = symbol = name.encode()[:60]
        return symbol

    def leave(self) -> None:
        """It has returned."""
        self._started[0] = 0

    def current(self) -> Call | None:
        """The call under way, if any."""
        started, device, name = _FORM.unpack_from(self._memory, 0)
        if not started:
            return None
        return Call(name.rstrip(b"\0").decode(errors="replace"), device, (time.monotonic_ns() - started) / 1e9)

    def close(self) -> None:
        """Frees it."""
        self._started.release()
        self._memory.close()
        os.close(self.descriptor)

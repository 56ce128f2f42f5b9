"""Reads saved logs of any size in constant memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from accelwatch.logs import mlx5, prefixes
from accelwatch.logs.kernel import KernelReader
from accelwatch.logs.training import TrainingReader
from accelwatch.readings.log_event import LogEvent

CHUNK_BYTES = 1 << 20
# A line that does not end is cut here, and the rest of it is passed over.
LINE_LIMIT_BYTES = 1 << 16
# Of a bar that redraws itself with carriage returns this many states are looked at.
SEGMENTS_LIMIT = 4096


class Readable(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; b"" at the end."""
        ...


class Found(NamedTuple):
    """An event with where and when it stands. `unloaded`: no fault, but a network card's driver that unloads there."""

    event: LogEvent | None
    line: int
    wall: float | None
    seconds: float | None
    unloaded: str | None = None


class Scanner:
    """The events of one log. A line without a time of its own has that of the record it continues."""

    def __init__(self, file: str, clock: Callable[[], float]) -> None:
        """`file` is its name for the events; `clock` gives seconds since the epoch, for dates without a year."""
        self._file = file
        self._now = clock()
        self._kernel = KernelReader()
        self._training = TrainingReader()
        wanted = {needle.encode(): (True, False) for needle in self._kernel.filter.needles}
        for needle in self._training.filter.needles:
            wanted[needle.encode()] = (needle.encode() in wanted, True)
        self._wanted = wanted
        self._needles = re.compile(b"|".join(re.escape(needle) for needle in sorted(wanted, reverse=True)))
        self._number = 0
        self._wall: float | None = None
        self._seconds: float | None = None

    def scan(self, stream: Readable) -> Iterator[Found]:
        """Reads to the end. Raises what `stream.read` raises; what was found until then has been given."""
        partial = b""
        skipping = False
        while chunk := stream.read(CHUNK_BYTES):
            if skipping:
                end = chunk.find(b"\n")
                if end < 0:
                    continue
                chunk, skipping = chunk[end:], False  # the line's own end stays, so that it counts
            data = partial + chunk
            end = data.rfind(b"\n") + 1
            partial = data[end:]
            yield from self._block(data[:end])
            if len(partial) > LINE_LIMIT_BYTES:
                yield from self._line(partial[:LINE_LIMIT_BYTES], self._number + 1)
                partial, skipping = b"", True
        if partial:
            yield from self._block(partial + b"\n")
        for event in (*self._kernel.flush(), *self._training.flush()):
            yield self._found(event, self._number, True)

    def _block(self, data: bytes) -> Iterator[Found]:
        """Whole lines. Only those with a needle are looked at, and those that a record waits for."""
        position, end = 0, len(data)
        while position < end:
            if self._kernel.waiting or self._training.waiting:
                start = position
            else:
                match = self._needles.search(data, position)
                if match is None:
                    break
                start = data.rfind(b"\n", position, match.start()) + 1 or position
                self._number += data.count(b"\n", position, start)
            stop = data.find(b"\n", start)
            self._number += 1
            yield from self._line(data[start : min(stop, start + LINE_LIMIT_BYTES)], self._number)
            position = stop + 1
        self._number += data.count(b"\n", position)

    def _line(self, raw: bytes, number: int) -> Iterator[Found]:
        raw = raw.rstrip(b"\r\n")
        if b"\r" not in raw:
            yield from self._text(raw, number)
            return
        segments = raw.split(b"\r")
        for segment in segments[-SEGMENTS_LIMIT:]:
            if self._kernel.waiting or self._training.waiting or self._needles.search(segment):
                yield from self._text(segment, number)

    def _text(self, raw: bytes, number: int) -> Iterator[Found]:
        kernel = in_kernel = self._kernel.waiting
        training = in_training = self._training.waiting
        needles = self._needles.findall(raw)
        for needle in needles:
            of_kernel, of_training = self._wanted[needle]
            kernel, training = kernel or of_kernel, training or of_training
        text = raw.decode("utf-8", errors="replace")
        # What only continues a record is read as it is: its prefixes say nothing new, and are most of the work.
        continues = (in_kernel or in_training) and not needles
        line = prefixes.Line(text) if continues else prefixes.read(text, self._now)
        timed = line.wall is not None or line.seconds is not None
        if timed or not (in_kernel or in_training):
            self._wall, self._seconds = line.wall, line.seconds
        if kernel:
            for event in self._kernel.feed(line.text):
                if not _forged(event, line):
                    yield self._found(event, number, timed or in_kernel)
            if "mlx5_core " in text and (card := mlx5.unloads(text)) is not None:
                yield Found(None, number, line.wall, line.seconds, card)
        if training:
            for event in self._training.feed(line.text):
                yield self._found(event, number, timed or in_training)

    def _found(self, event: LogEvent, number: int, timed: bool) -> Found:
        wall, seconds = (self._wall, self._seconds) if timed else (None, None)
        return Found(msgspec.structs.replace(event, wall=wall, file=self._file), number, wall, seconds)


def _forged(event: LogEvent, line: prefixes.Line) -> bool:
    """A program's own line in the kernel's words: a record of another facility, or what `logger "NVRM: Xid ..."` wrote.

    A program that quotes such a line after words of its own is a monitor, and taken; so is Fabric Manager.
    """
    if line.from_kernel is not False or event.kind in _PROGRAMS_OWN:
        return False
    return line.tag is None or _KERNEL_WORDS.match(line.text) is not None


_PROGRAMS_OWN = frozenset(("fabric_manager", "ascend"))
_KERNEL_WORDS = re.compile(
    r"NVRM: |nvidia-nvswitch\d|\[ascend\]|INFO: task |(?:NMI )?watchdog: |BUG: |Kernel panic|EDAC |mce: |mlx5_"
    r"|(?:\{\d+\})?\[Hardware|pcieport |nvidia \d|nvme |XFS |EXT4|blk_|Buffer |Out of memory|Memory cgroup"
    r"|Killed |traps: |segfault "
)

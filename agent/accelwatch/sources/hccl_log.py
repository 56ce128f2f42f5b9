"""Follows plog files and training logs by glob patterns: what HCCL, NCCL and CUDA write there of a failure.

A file that is there when the agent first starts is followed from its end, one that appears later from its start. Files
are known by device and inode, so that a rotated one is read on under its new name, and by their first bytes, so that
neither a reused inode nor a copy is taken for what it is not.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence

import msgspec

from accelwatch.clock import Clock
from accelwatch.logs import prefixes
from accelwatch.logs.training import TrainingReader
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources.base import Presence
from accelwatch.sources.log_position import HEAD_BYTES, Position, copied, learn, positions_of, same_head, tail_of

# Of so many paths the newest files are taken in; more are no node's running jobs.
PATHS_LIMIT, FILES_LIMIT = 20_000, 4_096
# Held open, so that the end of a rotated or deleted file is read: the files written to last.
OPEN_LIMIT = 128
# A second of work at most, by the reader's speed on ordinary lines; what is left is read by the next poll.
POLL_BYTES, FILE_BYTES = 16 << 20, 4 << 20
POLL_EVENTS = 2_000
LINE_LIMIT_BYTES = 1 << 16
# A writer goes on for a while in a file whose name it has lost.
GONE_POLLS = 30
COMPRESSED = (".gz", ".xz", ".bz2", ".zst", ".zip")

# plog-<pid>_<time>.log, device-<pid>_<time>.log (reference/ascend.md section 6)
_PLOG_NAME = re.compile(r"(?:plog|device)-(\d{1,10})_\d+\.log")


class _Followed:
    """One file."""

    def __init__(self, path: str, position: Position) -> None:
        self.path = path
        self.position = position
        self.size = 0  # when it was listed last
        self.reader: TrainingReader | None = None  # while it is written to
        self.descriptor: int | None = None
        self.gone = 0  # polls since its name was lost
        self.skipping = False  # the rest of an endless line

    def close(self) -> None:
        """Lets go of it."""
        self.reader = None
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class HcclLog:
    """`cursor`: the `Snapshot.cursor` that this source gave last, also before a restart of the agent."""

    name = "hccl_log"

    def __init__(self, *, paths: Sequence[str], clock: Clock, cursor: str | None = None) -> None:
        self._paths = tuple(paths)
        self._clock = clock
        self._files: dict[tuple[int, int], _Followed] = {}
        self._known = positions_of(cursor)
        self._first = self._known is None
        self._given: bytes | None = None
        self._needles = re.compile(TrainingReader().filter.pattern.pattern.encode())
        self._turn = 0

    def presence(self) -> Presence:
        """There is something to follow once patterns are configured; files may come later."""
        return Presence.PRESENT if self._paths else Presence.ABSENT

    def poll(self, everything: bool = False) -> Snapshot:  # noqa: ARG002 - the protocol's
        """The events since the last poll. Files that cannot be read are problems, the others go on."""
        problems: list[str] = []
        self._match(problems)
        events: list[LogEvent] = []
        budget = POLL_BYTES
        unread: list[str] = []
        order = list(self._files.items())
        self._turn = (self._turn + 1) % max(1, len(order))
        for key, followed in order[self._turn :] + order[: self._turn]:
            if budget <= 0 or len(events) >= POLL_EVENTS:
                break
            try:
                budget -= self._read(followed, min(budget, FILE_BYTES), events)
            except FileNotFoundError:
                followed.close()  # gone since the listing
            except OSError as error:
                unread.append(f"{followed.path}: {error.strerror}")
                followed.close()
            if followed.gone > GONE_POLLS:
                followed.close()
                del self._files[key]
        if unread:
            problems.append(f"{len(unread)} log files cannot be read, first {unread[0]}")
        self._limit_open()
        return Snapshot(events=tuple(events), cursor=self._cursor(), problems=tuple(problems))

    def close(self) -> None:
        """Closes the files."""
        for followed in self._files.values():
            followed.close()

    # --- which files

    def _match(self, problems: list[str]) -> None:
        """Takes in what the patterns match now; what they do not match any more is read to its end."""
        present = self._present(problems)
        known_positions = self._known or {}
        for key, followed in list(self._files.items()):
            if key not in present:
                followed.gone += 1
                if followed.descriptor is None:
                    del self._files[key]
        read = [*known_positions.values(), *(followed.position for followed in self._files.values())]
        for key, (path, size) in present.items():
            known = self._files.get(key)
            if known is not None:
                known.path, known.size, known.gone = path, size, 0
                continue
            position = known_positions.get(key)
            if position is None:
                position = Position(*key, offset=size if self._first else 0, head_bytes=0, head=0)
                if not self._first and size >= HEAD_BYTES:
                    position.offset = copied(path, size, read)
            self._files[key] = followed = _Followed(path, position)
            followed.size = size
        self._known = {}
        self._first = False

    def _present(self, problems: list[str]) -> dict[tuple[int, int], tuple[str, int]]:
        found: dict[tuple[int, int], tuple[float, str, int]] = {}
        paths = itertools.chain.from_iterable(glob.iglob(pattern, recursive=True) for pattern in self._paths)
        counted = 0
        for path in itertools.islice(paths, PATHS_LIMIT + 1):
            counted += 1
            if path.endswith(COMPRESSED):
                continue
            try:
                status = os.stat(path)
            except OSError:
                continue  # gone since the listing, or a link to nowhere
            if stat.S_ISREG(status.st_mode):
                found[status.st_dev, status.st_ino] = (status.st_mtime, path, status.st_size)
        if counted > PATHS_LIMIT:
            problems.append(
                f"sources.hccl_log.paths matches more than {PATHS_LIMIT} paths, of which the rest is not seen: "
                "narrow the patterns, or remove old logs"
            )
        by_age = sorted(found.items(), key=lambda item: item[1][0])
        newest = {key for key, _file in by_age[-FILES_LIMIT:]}
        # One that was taken in stays so: its position must not be forgotten.
        return {key: (path, size) for key, (_, path, size) in by_age if key in newest or key in self._files}

    def _limit_open(self) -> None:
        held = [followed for followed in self._files.values() if followed.descriptor is not None]
        for followed in held[:-OPEN_LIMIT]:
            followed.close()

    # --- what they say

    def _read(self, followed: _Followed, limit: int, events: list[LogEvent]) -> int:
        """Reads on in one file; gives the number of bytes. Raises `OSError`."""
        position = followed.position
        if followed.gone == 0 and followed.size == position.offset and (position.head_bytes or not followed.size):
            return 0
        if followed.descriptor is None:
            followed.descriptor = os.open(followed.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(followed.descriptor)
        if (status.st_dev, status.st_ino) != (position.device, position.inode):
            followed.close()  # renamed since the listing: the next poll knows both
            return 0
        begun_anew = status.st_size < position.offset or not same_head(followed.descriptor, position)
        if begun_anew:
            position.offset = position.head_bytes = position.head = 0
            followed.reader, followed.skipping = None, False
        if position.head_bytes < HEAD_BYTES:
            learn(followed.descriptor, position)
        if status.st_size == position.offset:
            return 0
        data = os.pread(followed.descriptor, limit, position.offset)
        position.offset += self._lines(followed, data, events)
        position.tail = tail_of(followed.descriptor, position.offset)
        return len(data)

    def _lines(self, followed: _Followed, data: bytes, events: list[LogEvent]) -> int:
        """Takes whole lines; gives how many bytes are dealt with. A line waits for its end, unless it is endless."""
        end = data.rfind(b"\n") + 1
        taken = end
        if followed.skipping:
            start = data.find(b"\n") + 1
            if start == 0:
                return len(data)
            followed.skipping = False
        else:
            start = 0
        if len(data) - end > LINE_LIMIT_BYTES:
            followed.skipping = True
            data, end, taken = data[: end + LINE_LIMIT_BYTES] + b"\n", end + LINE_LIMIT_BYTES + 1, len(data)
        now = self._clock.time()
        reader = followed.reader = followed.reader or TrainingReader()
        while start < end:
            if not reader.waiting:
                match = self._needles.search(data, start, end)
                if match is None:
                    break
                start = data.rfind(b"\n", start, match.start()) + 1 or start
            stop = data.find(b"\n", start, end)
            events += self._line(followed, reader, data[start : min(stop, start + LINE_LIMIT_BYTES)], now)
            start = stop + 1
            if len(events) >= POLL_EVENTS and start < end:
                followed.skipping = False
                taken = start
                break
        # What is held back for more lines would be lost by a restart: it is told now, with what is known of it.
        events += (self._event(followed, event, None) for event in reader.flush())
        return taken

    def _line(self, followed: _Followed, reader: TrainingReader, raw: bytes, now: float) -> Iterator[LogEvent]:
        for segment in raw.rstrip(b"\r").split(b"\r"):  # progress bars redraw themselves with carriage returns
            if not reader.waiting and not self._needles.search(segment):
                continue
            line = prefixes.read(segment.decode("utf-8", errors="replace"), now)
            for event in reader.feed(line.text):
                yield self._event(followed, event, line.wall)

    def _event(self, followed: _Followed, event: LogEvent, wall: float | None) -> LogEvent:
        named = _PLOG_NAME.fullmatch(os.path.basename(followed.path))
        pid = event.pid if event.pid is not None or named is None else int(named[1])
        return msgspec.structs.replace(event, pid=pid, wall=wall, file=followed.path)

    # --- where it stands

    def _cursor(self) -> str | None:
        """`None` while nothing has changed."""
        encoded = msgspec.json.encode([followed.position for followed in self._files.values()])
        if encoded == self._given:
            return None
        self._given = encoded
        return encoded.decode()

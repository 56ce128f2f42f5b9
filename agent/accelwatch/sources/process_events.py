"""How processes end: followed in a thread, of those that hold devices and of their launchers only.

The kernel tells of every exit on the machine (`sources.proc_connector`). A simulated node has no kernel: beside a
`/proc` of its own, the file or FIFO `exits` takes a line `pid code signal wall` for each end, `-` for a code or signal
that there is none of, `wall` in seconds since the epoch.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from accelwatch.clock import Clock
from accelwatch.readings.process import ProcessExit
from accelwatch.sources.privileged import PrivilegedReads
from accelwatch.sources.proc_connector import LONGEST, parse_exit

EXITS_FILE = "exits"
FILE_PAUSE_SECONDS = 0.5
# Between two looks the kernel queues: at 10,000 exits a second one wake-up takes 500 of them.
PAUSE_SECONDS = 0.05
# A process may end between the look into /proc that finds it and the moment it is watched: so many exits of others
# are kept back. A look takes well below a second.
KEPT_BACK = 4096
# A process that let go of its device is still told of for so long: its exit status is how its run ended.
LATELY_SECONDS = 60.0
# The start of a process is known to a tick, and the boot time that it is counted from to a second.
_START_SLACK_SECONDS = 2.0
_CHUNK_BYTES = 64 << 10
# What keeps exits away is a privilege or the helper that has it: it may come later.
TRY_AGAIN_SECONDS = 60.0

Deliver = Callable[[tuple[ProcessExit, ...]], None]


class Ended(msgspec.Struct, frozen=True, gc=False):
    """One exit as it was read: `status` as wait(2) gives it, `at` in monotonic seconds."""

    pid: int
    status: int
    at: float


class Reader(Protocol):
    """Where exits come from."""

    lost: int  # times that the kernel had no room for more, and dropped exits

    def wait(self, wake: int) -> None:
        """Returns when there may be something to read, or when the descriptor `wake` is readable."""
        ...

    def read(self) -> list[Ended]:
        """What there is now. Raises `OSError` when nothing more will come."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class ConnectorReader:
    """From the kernel."""

    def __init__(self, connector: socket.socket) -> None:
        self._connector = connector
        self.lost = 0

    def wait(self, wake: int) -> None:
        """See the protocol."""
        _poll(self._connector.fileno(), wake)

    def read(self) -> list[Ended]:
        """See the protocol. A message that another process sent is not taken."""
        found: list[Ended] = []
        receive = self._connector.recvfrom
        while True:
            try:
                message, (sender, _) = receive(LONGEST)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            ended = parse_exit(message) if sender == 0 else None
            if ended is not None:
                found.append(Ended(ended[0], ended[1], ended[2] / 1e9))

    def close(self) -> None:
        """See the protocol."""
        self._connector.close()


class FileReader:
    """From the file of a simulated node, from its end on; a FIFO wakes its reader, as the kernel does."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._rest = b""
        self._offset = path.stat().st_size if path.exists() else 0
        # Also for writing: a FIFO whose writers are gone would be readable for ever.
        self._fifo = (
            os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            if path.exists() and stat.S_ISFIFO(path.stat().st_mode)
            else None
        )
        self.lost = 0

    def wait(self, wake: int) -> None:
        """See the protocol."""
        if self._fifo is not None:
            _poll(self._fifo, wake)
        else:
            _poll(wake, seconds=FILE_PAUSE_SECONDS)

    def read(self) -> list[Ended]:
        """See the protocol. A line that is not finished waits for the next time; one that is no exit is passed over."""
        whole, _, self._rest = (self._rest + self._more()).rpartition(b"\n")
        found = []
        for line in whole.decode(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                pid, code, number, wall = line.split()
                status = (0 if code == "-" else int(code) << 8) | (0 if number == "-" else int(number))
                found.append(Ended(int(pid), status, self._clock.monotonic() - (self._clock.time() - float(wall))))
        return found

    def _more(self) -> bytes:
        try:
            if self._fifo is not None:
                return os.read(self._fifo, _CHUNK_BYTES)
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except (FileNotFoundError, BlockingIOError):
            return b""
        self._offset += len(data)
        return data

    def close(self) -> None:
        """See the protocol."""
        if self._fifo is not None:
            os.close(self._fifo)


class ProcessEvents:
    """Gives `deliver` the exits of watched processes, from a thread of its own."""

    def __init__(self, *, proc: Path, reads: PrivilegedReads, clock: Clock, deliver: Deliver) -> None:
        self._proc = proc
        self._reads = reads
        self._clock = clock
        self._deliver = deliver
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[float, float]] = {}  # pid: started, watched until; both monotonic
        self._others: deque[Ended] = deque(maxlen=KEPT_BACK)
        self._stop = threading.Event()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._reader: Reader | None = None
        self._thread: threading.Thread | None = None
        self._problems: list[str] = []
        self._refused: str | None = None  # told once, however often it is tried
        self._try_again: float | None = None
        self._told_lost = 0

    @property
    def lost(self) -> int:
        """How many times the kernel dropped exits."""
        return 0 if self._reader is None else self._reader.lost

    @property
    def followed(self) -> bool:
        """Whether exits come at all: else nobody knows how a process ended."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begins. Without the privilege it says so once, as a problem, and tries again while processes are watched."""
        self._try_again = self._clock.monotonic() + TRY_AGAIN_SECONDS
        if self._reader is not None:
            self._reader.close()
            self._reader, self._told_lost = None, 0
        try:
            if str(self._proc) == "/proc":
                self._reader = ConnectorReader(self._reads.open_process_events())
            else:
                self._reader = FileReader(self._proc / EXITS_FILE, self._clock)
        except OSError as error:
            refused, self._refused = self._refused, error.strerror or str(error)
            if refused == self._refused:
                return
            self._say(
                f"process events: cannot be followed: {error.strerror or error}; how runs end stays `unknown`. "
                "Is accelwatch-helper up? Without it: grant CAP_NET_ADMIN, and run in the host's own namespaces"
            )
            return
        self._refused = None
        self._thread = threading.Thread(target=self._run, name="process-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread within a second."""
        if self._stop.is_set():
            return
        self._stop.set()
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join(1.0)
            if self._thread.is_alive():
                return  # it ends with the process, and uses what would be closed
        if self._reader is not None:
            self._reader.close()
        os.close(self._wake)

    def watch(self, processes: Mapping[int, float]) -> None:
        """From now on tells of these: pid and start (seconds since the epoch); of those before, a while longer."""
        now, wall = self._clock.monotonic(), self._clock.time()
        if self._try_again is not None and now >= self._try_again and not self.followed:
            self.start()
        with self._lock:
            kept = {pid: told for pid, told in self._watched.items() if told[1] > now}
            new = {pid for pid in processes if pid not in kept}
            # Kept as monotonic seconds: the wall clock may be set before the process ends.
            self._watched = kept | {
                pid: (now - (wall - started), now + LATELY_SECONDS) for pid, started in processes.items()
            }
            late = tuple(exit_ for ended in self._others if ended.pid in new and (exit_ := self._taken(ended)))
        if late:
            self._deliver(late)

    def take_problems(self) -> tuple[str, ...]:
        """What went wrong since the last call."""
        with self._lock:
            if self.lost > self._told_lost:
                self._problems.append(
                    f"process events: the kernel dropped exits {self.lost - self._told_lost} times: too many at once"
                )
                self._told_lost = self.lost
            problems, self._problems = tuple(self._problems), []
        return problems

    def _say(self, problem: str) -> None:
        with self._lock:
            if len(self._problems) < 8:  # taken at each poll; a source that is not polled fills no memory
                self._problems.append(problem)

    def _run(self) -> None:
        reader = self._reader
        while reader is not None and not self._stop.is_set():
            reader.wait(self._wake)
            try:
                self._pass_on(reader.read())
            except OSError as error:
                self._say(
                    f"process events: ended: {error.strerror or error}; how runs end is `unknown` until they return"
                )
                return
            except Exception as error:  # noqa: BLE001
                self._say(f"process events: an exit could not be dealt with: {error!r}")
            self._stop.wait(PAUSE_SECONDS)

    def _pass_on(self, exits: list[Ended]) -> None:
        if not exits:
            return
        with self._lock:
            watched = self._watched
            self._others.extend(ended for ended in exits if ended.pid not in watched)
            told = tuple(exit_ for ended in exits if ended.pid in watched and (exit_ := self._taken(ended)) is not None)
        if told:
            self._deliver(told)

    def _taken(self, ended: Ended) -> ProcessExit | None:
        """The exit of a watched process; `None` when it is of an earlier one of the same pid. Tells each once."""
        wall = self._clock.time() - (self._clock.monotonic() - ended.at)
        started, _ = self._watched[ended.pid]
        if ended.at < started - _START_SLACK_SECONDS:
            return None
        del self._watched[ended.pid]
        by_signal = os.WIFSIGNALED(ended.status)
        return ProcessExit(
            pid=ended.pid,
            code=None if by_signal else os.WEXITSTATUS(ended.status),
            signal=os.WTERMSIG(ended.status) if by_signal else None,
            core=by_signal and os.WCOREDUMP(ended.status),
            at=ended.at,
            wall=wall,
        )


def _poll(*descriptors: int, seconds: float | None = None) -> None:
    """Returns when one of them is readable, or after so long."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    poller.poll(None if seconds is None else seconds * 1000)

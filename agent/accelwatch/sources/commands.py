"""Runs vendor tools: one at a time host-wide, with a deadline, in a process group of their own."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import select
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from accelwatch.sources.base import SourceError, SourceTimeout
from accelwatch.sources.tool_child import ToolChild, inheritable

# A full 16-card `npu-smi info` with processes is 10 kB; more than this is a tool gone wrong.
OUTPUT_LIMIT_BYTES = 1 << 20
# How long a killed child may take to be reaped before it counts as stuck in the driver (state D).
REAP_SECONDS = 1.0
# After the tool itself has ended, a child of its own may still hold the pipe: not waited for longer than this.
PIPE_GRACE_SECONDS = 0.2
# A tool is left alone for so long: most have ended by then, and to be woken at each of its writes costs more than to
# read. One that prints more than a pipe holds (64 KiB, pipe(7)) waits for us meanwhile.
QUIET_SECONDS = 0.25
READ_BYTES = 1 << 16
# To look along PATH costs a third of what it costs to call the tool.
FOUND_SECONDS = 1.0
# Abandoned children cannot be ended by anybody; more of them would only pile up in the driver.
ABANDONED_LIMIT = 3

# Where the driver keeps its libraries (reference/ascend.md section 2); the tools do not find them by themselves.
DRIVER_LIBRARIES = (
    "/usr/local/dcmi",
    "/usr/local/Ascend/driver/lib64",
    "/usr/local/Ascend/driver/lib64/common",
    "/usr/local/Ascend/driver/lib64/driver",
)

_LOCK_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_found: dict[tuple[str | None, ...], tuple[float, str | None]] = {}  # when, and where


class Output(msgspec.Struct, frozen=True):
    """What a finished command left: its exit status (negative: ended by that signal) and both streams."""

    status: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Runs a command to its end."""

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        """Raises `SourceTimeout` past `timeout` seconds, `SourceError` when it cannot be started or floods us."""
        ...


class ToolRunner:
    """Runs one vendor tool under its host-wide lock.

    The lock is one file per resolved tool path, so agents, `check` and other users of accelwatch on a host take
    turns, while simulated nodes with tools of their own do not wait for each other.
    """

    def __init__(self, lock_directory: Path | None = None) -> None:
        self._lock_directory = lock_directory
        self._abandoned: list[ToolChild] = []
        self._locks: dict[str, tuple[int, int, str]] = {}  # by tool: device and inode of its file, and the lock's path
        self._withheld = inheritable()
        # Made once, and as bytes: to copy and encode it is a fifth of what a call costs.
        self._environment = {os.fsencode(name): os.fsencode(value) for name, value in tool_environment().items()}

    @property
    def abandoned(self) -> int:
        """Children that SIGKILL did not end: they sit in the driver."""
        self._abandoned = [child for child in self._abandoned if not child.ended()]
        return len(self._abandoned)

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        """Runs `argv` within `timeout` seconds, waiting for the lock included."""
        if self._abandoned and self.abandoned >= ABANDONED_LIMIT:
            raise SourceTimeout(
                f"{argv[0]}: {self.abandoned} earlier calls are stuck in the driver (state D) and cannot be killed; "
                "not calling it again until one of them ends: reset the device or reboot the host"
            )
        deadline = time.monotonic() + timeout
        lock = self._open_lock(argv[0])
        try:
            _take_turn(lock, argv[0], deadline)
            return self._run(argv, deadline, timeout)
        finally:
            os.close(lock)

    def _run(self, argv: Sequence[str], deadline: float, timeout: float) -> Output:
        try:
            child = ToolChild(argv, self._environment, self._withheld)
        except OSError as error:
            raise SourceError(f"{argv[0]}: cannot be started: {error.strerror}; expected an executable") from error
        try:
            stdout, stderr, flooded, ended = _read(child, deadline)
            timed_out = not ended and not flooded and not child.over(max(0.0, deadline - time.monotonic()))
        finally:
            if not child.finish(REAP_SECONDS):
                self._abandoned.append(child)
        if flooded:
            raise SourceError(
                f"{' '.join(argv)}: printed more than {OUTPUT_LIMIT_BYTES} bytes and was killed", _text(stdout)
            )
        if timed_out:
            raise SourceTimeout(f"{' '.join(argv)}: no end within {timeout:g} s, killed", _text(stdout))
        assert child.status is not None  # noqa: S101 - it has ended, else it has timed out
        return Output(child.status, _text(stdout), _text(stderr))

    def _open_lock(self, tool: str) -> int:
        """To resolve the path and to look for the lock is a quarter of what a call costs: done when the tool is new."""
        try:
            file = os.stat(tool)
        except OSError:
            return self._find_lock(tool)[0]
        known = self._locks.get(tool)
        if known is not None and known[0] == file.st_dev and known[1] == file.st_ino:
            try:
                return os.open(known[2], _LOCK_FLAGS)
            except OSError:
                pass  # it was swept away
        descriptor, path = self._find_lock(tool)
        if path.parent == self._lock_directories()[0]:  # another one is good only until that one can be written
            self._locks[tool] = (file.st_dev, file.st_ino, str(path))
        return descriptor

    def _find_lock(self, tool: str) -> tuple[int, Path]:
        digest = hashlib.sha256(os.path.realpath(tool).encode()).hexdigest()[:16]
        errors = []
        for directory in self._lock_directories():
            path = directory / f"accelwatch-{digest}.lock"
            # Made only where there is none, so that root opens up no file that another user puts there meanwhile; and
            # the kernel refuses O_CREAT on another user's file in a sticky directory (fs.protected_regular).
            for flags in (_LOCK_FLAGS, _LOCK_FLAGS | os.O_CREAT | os.O_EXCL, _LOCK_FLAGS):
                try:
                    descriptor = os.open(path, flags, 0o666)
                except OSError as error:
                    errors.append(f"{path}: {error.strerror}")
                    continue
                if flags & os.O_CREAT:
                    with contextlib.suppress(OSError):
                        os.fchmod(descriptor, 0o666)
                return descriptor, path
        raise SourceError(f"{tool}: no lock file can be opened ({'; '.join(errors)}): make /run/lock writable")

    def _lock_directories(self) -> tuple[Path, ...]:
        if self._lock_directory is not None:
            return (self._lock_directory,)
        return (Path("/run/lock"), Path(tempfile.gettempdir()))


def find_tool(name: str, command: str | None, installed: Sequence[str]) -> str | None:
    """The tool's path: as configured, else from PATH, else where the driver installs it; `None` if nowhere.

    What was found holds for `FOUND_SECONDS`: a poll makes up to dozens of calls, and each looks for its tool.
    """
    if command is not None:
        return command
    key, now = (name, os.environ.get("PATH"), *installed), time.monotonic()
    looked, found = _found.get(key, (-math.inf, None))
    if now - looked > FOUND_SECONDS:
        found = shutil.which(name) or next((path for path in installed if os.access(path, os.X_OK)), None)
        _found[key] = (now, found)
    return found


def tool_environment() -> dict[str, str]:
    """Our environment with the driver's libraries on the path and messages in English."""
    environment = dict(os.environ)
    libraries = [path for path in DRIVER_LIBRARIES if os.path.isdir(path)]
    if environment.get("LD_LIBRARY_PATH"):
        libraries.append(environment["LD_LIBRARY_PATH"])
    if libraries:
        environment["LD_LIBRARY_PATH"] = ":".join(libraries)
    environment["LC_ALL"] = "C"
    environment.pop("LANGUAGE", None)
    return environment


def _take_turn(lock: int, tool: str, deadline: float) -> None:
    """The lock is given back with its descriptor."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise SourceTimeout(
                    f"{tool}: another process on this host kept using it (vendor tools run one at a time)"
                ) from None
            time.sleep(0.02)
        else:
            return


def _read(child: ToolChild, deadline: float) -> tuple[bytearray, bytearray, bool, bool]:
    """Reads both pipes until they close, the deadline passes, or the output exceeds its limit.

    Both outputs, whether they exceed it, and whether the tool has ended.
    """
    out, err = bytearray(), bytearray()
    buffers = {child.streams[0]: out, child.streams[1]: err}
    poller = select.poll()
    for descriptor in buffers:
        poller.register(descriptor, select.POLLIN)
    ended = child.rest(max(0.0, min(QUIET_SECONDS, deadline - time.monotonic())))
    now = time.monotonic()
    until = min(deadline, now + PIPE_GRACE_SECONDS) if ended else deadline
    while True:
        for descriptor, events in poller.poll(max(0.0, min(until - now, PIPE_GRACE_SECONDS)) * 1000):
            data = os.read(descriptor, READ_BYTES) if events & select.POLLIN else b""
            buffers[descriptor] += data
            if len(out) + len(err) > OUTPUT_LIMIT_BYTES:
                return out, err, True, ended
            if not data or (events & select.POLLHUP and len(data) < READ_BYTES):  # nobody is left to write more
                poller.unregister(descriptor)
                del buffers[descriptor]
        if not buffers or now >= until:  # what it had printed by then is still had
            return out, err, False, ended
        now = time.monotonic()
        if not ended and child.ended():
            ended = True
            until = min(deadline, now + PIPE_GRACE_SECONDS)


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", errors="replace") if data else ""

"""Runs one command: no shell, a bare environment, a process group of its own, a deadline, bounded output."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from accelwatch.remediation.trust import problem

# What programs of a site need to find each other, and nothing of the agent's own (its journal's place, its sockets).
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "HOME": "/",
}
STDERR_KEPT_BYTES = 2000
# A command says a line or two; one that writes without end is killed before it costs the node anything.
OUTPUT_LIMIT_BYTES = 1 << 20
POLL_SECONDS = 0.1
# How long a killed child may take to be reaped before it counts as stuck in the kernel (state D).
REAP_SECONDS = 1.0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended. `status`: its exit status, negative for a signal; `None`: it never began, or cannot end."""

    status: int | None = None
    timed_out: bool = False
    error: str | None = None  # in our words, when it did not end by itself with status 0
    stderr: str = ""


class Runner(Protocol):
    """Runs a command to its end."""

    def run(self, argv: Sequence[str], document: bytes, timeout: float, stopped: Callable[[], bool]) -> Ended:
        """`document` is its standard input; it is killed after `timeout` seconds, or once `stopped` says so."""
        ...


class ChildRunner:
    """Runs commands as children of this process, one at a time."""

    def __init__(self) -> None:
        self._stuck: subprocess.Popen[bytes] | None = None

    def run(self, argv: Sequence[str], document: bytes, timeout: float, stopped: Callable[[], bool]) -> Ended:
        """See `Runner.run`. Raises nothing."""
        if self._stuck is not None and self._stuck.poll() is None:
            return Ended(error=f"not started: an earlier one (process {self._stuck.pid}) cannot be killed (state D)")
        self._stuck = None
        wrong = problem(argv[0])
        if wrong is not None:
            return Ended(error=f"not started: {wrong}")
        try:
            with _file_of(document) as stdin:
                child = subprocess.Popen(
                    list(argv),
                    stdin=stdin,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=dict(ENVIRONMENT),
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            return Ended(error=f"{argv[0]}: cannot be started: {error.strerror}")
        return self._follow(child, timeout, stopped)

    def _follow(self, child: subprocess.Popen[bytes], timeout: float, stopped: Callable[[], bool]) -> Ended:
        said = _Tail(child)
        deadline = time.monotonic() + timeout
        killed, timed_out = None, False
        try:
            while killed is None and not _has_ended(child):
                said.read(POLL_SECONDS)
                if said.flooded:
                    killed = f"printed more than {OUTPUT_LIMIT_BYTES} bytes, killed"
                elif stopped():
                    killed = "the agent was stopped, killed"
                elif time.monotonic() >= deadline:
                    killed, timed_out = f"no end within {timeout:g} s, killed", True
            said.read(0.0)
        finally:
            self._end(child)
        if self._stuck is not None:
            killed = f"{killed or 'ended'}, and cannot be killed (state D)"
        error = killed or (_reason(child.returncode) if child.returncode else None)
        return Ended(status=child.returncode, timed_out=timed_out, error=error, stderr=said.text)

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        """Kills what is left of its group, also what it has left behind, and closes our end of the pipe."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        if child.stderr is not None:
            child.stderr.close()
        try:
            child.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._stuck = child


class _Tail:
    """The end of what a child writes to its standard error."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None  # noqa: S101 - it was asked for as a pipe
        self._descriptor = child.stderr.fileno()
        self._poller = select.poll()
        self._poller.register(self._descriptor, select.POLLIN)
        self._kept = b""
        self._read = 0
        self._closed = False

    @property
    def flooded(self) -> bool:
        return self._read > OUTPUT_LIMIT_BYTES

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", errors="replace").strip()

    def read(self, seconds: float) -> None:
        """Takes what is there, and waits at most so long for it."""
        if self._closed:
            time.sleep(seconds)
            return
        while not self.flooded and self._poller.poll(seconds * 1000):
            data = os.read(self._descriptor, 1 << 16)
            if not data:
                self._closed = True
                return
            self._read += len(data)
            self._kept = (self._kept + data)[-STDERR_KEPT_BYTES:]
            seconds = 0.0


@contextlib.contextmanager
def _file_of(document: bytes) -> Iterator[int]:
    """In memory, so that neither a sick disk nor a command that reads nothing holds us up."""
    descriptor = os.memfd_create("fault", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, document)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Without reaping it: until then no other process can have its number, which its group is killed by."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _reason(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"ended by signal {-status}"

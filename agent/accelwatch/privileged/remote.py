"""The agent's side of the root helper (`privileged.helper`): the same reads as in its own process."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from accelwatch.privileged.wire import ANSWER_BYTES, Answer, Question, answer
from accelwatch.sources.base import SourceError, SourceTimeout
from accelwatch.sources.commands import Output, find_tool
from accelwatch.sources.privileged import HCCN_INSTALLED, PrivilegedReads

ANSWER_SECONDS = 5.0
# Set by the unit; absent where the agent has the privileges itself.
SOCKET_VARIABLE = "ACCELWATCH_HELPER"

_INT = struct.Struct("i")

Say = Callable[[str], None]


class HelperAway(OSError):
    """Nobody answers at the helper's socket."""


class RemoteReads:
    """Asks the helper at `path`; what is not this host's own (a simulated node's files and tools) is read by `local`.

    While the helper is away `local` is tried, with the little that the agent's user may; `say` is told once when it
    goes and once when it is back. Each question makes a connection of its own, so a restarted helper is found at the
    next one: the sources that ask have their own pauses.
    """

    def __init__(
        self,
        path: Path,
        local: PrivilegedReads,
        say: Say,
        *,
        proc: Path = Path("/proc"),
        kernel_log: Path = Path("/dev/kmsg"),
    ) -> None:
        self._path = path
        self._local = local
        self._say = say
        self._proc = proc
        self._kernel_log = kernel_log
        self._lock = threading.Lock()
        self._away = False

    def open_kernel_log(self, path: Path) -> int:
        """See the protocol."""
        if path != self._kernel_log:
            return self._local.open_kernel_log(path)
        try:
            return self._opened(Question("kernel_log"))
        except HelperAway:
            return self._local.open_kernel_log(path)

    def open_files(self, proc: Path, pid: int) -> list[str]:
        """See the protocol; device nodes only."""
        if proc != self._proc:
            return self._local.open_files(proc, pid)
        try:
            return self._ask(Question("open_files", pid=pid))[0].files or []
        except HelperAway:
            return self._local.open_files(proc, pid)

    def environment(self, proc: Path, pid: int) -> dict[str, str]:
        """See the protocol; of processes that hold a device only."""
        if proc != self._proc:
            return self._local.environment(proc, pid)
        try:
            return self._ask(Question("environment", pid=pid))[0].variables or {}
        except HelperAway:
            return self._local.environment(proc, pid)

    def traffic(self, proc: Path, pid: int) -> tuple[int, int]:
        """See the protocol; of processes that hold a device only."""
        if proc != self._proc:
            return self._local.traffic(proc, pid)
        try:
            traffic = self._ask(Question("traffic", pid=pid))[0].traffic
        except HelperAway:
            return self._local.traffic(proc, pid)
        if traffic is None:
            raise ValueError(f"{self._path}: the helper's answer has no traffic; are both of one version?")
        return traffic

    def open_process_events(self) -> socket.socket:
        """See the protocol."""
        try:
            return socket.socket(fileno=self._opened(Question("process_events")))
        except HelperAway:
            return self._local.open_process_events()

    def hccn_tool(self, argv: Sequence[str], timeout: float) -> Output:
        """See the protocol. A tool that was configured by its path is run here: root runs none that it is told of."""
        if argv[0] != find_tool("hccn_tool", None, HCCN_INSTALLED):
            return self._local.hccn_tool(argv, timeout)
        question = Question("hccn_tool", arguments=tuple(argv[1:]), timeout=timeout)
        try:
            output = self._ask(question, timeout + ANSWER_SECONDS)[0].output
        except HelperAway:
            return self._local.hccn_tool(argv, timeout)
        except OSError as error:
            raise SourceError(f"hccn_tool {' '.join(argv[1:])}: {error.strerror or error}") from error
        if output is None:
            raise SourceError(f"{self._path}: the helper's answer has no output; are both of one version?")
        return Output(*output)

    def _opened(self, question: Question) -> int:
        _, descriptor = self._ask(question)
        if descriptor is None:
            raise OSError(errno.EPROTO, "the helper's answer has no descriptor; are both of one version?")
        return descriptor

    def _ask(self, question: Question, seconds: float = ANSWER_SECONDS) -> tuple[Answer, int | None]:
        """Raises `HelperAway`, `OSError` as the helper had it, `SourceError`."""
        try:
            data, descriptors = self._exchange(question, seconds)
            told = answer(data)
        except (OSError, ValueError, TypeError) as error:
            self._note(away=True, why=str(error))
            raise HelperAway(errno.ECONNREFUSED, f"{self._path}: the privileged helper does not answer") from error
        self._note(away=False, why="")
        if told.error is None:
            return told, descriptors[0] if descriptors else None
        for descriptor in descriptors:
            os.close(descriptor)
        if told.number:
            raise OSError(told.number, told.error)
        raise (SourceTimeout if told.timed_out else SourceError)(told.error)

    def _exchange(self, question: Question, seconds: float) -> tuple[bytes, list[int]]:
        descriptors: list[int] = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client:
            client.settimeout(seconds)
            client.connect(str(self._path))
            client.sendall(question.line())
            try:
                # Not `recv_fds`, which drops its flags: a vendor tool must not inherit the log.
                room = socket.CMSG_SPACE(_INT.size)
                data, beside, _, _ = client.recvmsg(1 << 16, room, socket.MSG_CMSG_CLOEXEC)
                descriptors = [
                    _INT.unpack(raw)[0]
                    for level, kind, raw in beside
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(raw) == _INT.size
                ]
                parts, size = [data], len(data)
                while data and size <= ANSWER_BYTES:
                    data = client.recv(1 << 16)
                    parts.append(data)
                    size += len(data)
                if size == 0 or size > ANSWER_BYTES:
                    raise OSError(errno.EPROTO, "no answer within bounds")
            except BaseException:
                for descriptor in descriptors:
                    os.close(descriptor)
                raise
        return b"".join(parts), descriptors

    def _note(self, *, away: bool, why: str) -> None:
        with self._lock:
            changed, self._away = away != self._away, away
        if changed and away:
            self._say(
                f"{self._path}: the privileged helper does not answer ({why}); reading with the agent's own rights "
                "until it does: systemctl status accelwatch-helper"
            )
        elif changed:
            self._say(f"{self._path}: the privileged helper answers again")


def reads_for(local: PrivilegedReads, say: Say) -> PrivilegedReads:
    """Through the helper where the unit names its socket, else `local`."""
    path = os.environ.get(SOCKET_VARIABLE)
    return local if not path else RemoteReads(Path(path), local, say)

"""The root helper beside an agent, as its units run it: on a socket that it is given, as root."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import processes

from accelwatch.privileged.helper import HELPER_NAME
from accelwatch.privileged.remote import SOCKET_VARIABLE, RemoteReads
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads

MAY_RUN = os.geteuid() == 0
QUESTIONS, OPEN_FILES = 1000, 300
# As systemd gives a socket (sd_listen_fds(3)): from descriptor 3 on, with the service's own pid.
_GIVEN = f'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={HELPER_NAME}; exec "$@" 3<&{{descriptor}}'


class RootHelper:
    """One helper for one agent."""

    def __init__(self, python: Path, home: Path, environment: Mapping[str, str]) -> None:
        self._python = python
        self._path = home / "helper.sock"
        self._own = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """For the agent: where it asks."""
        return {SOCKET_VARIABLE: str(self._path)}

    @property
    def pids(self) -> Sequence[int]:
        """Of what runs."""
        return [] if self._process is None else [self._process.pid]

    def start(self) -> None:
        """Waits for nothing: the socket takes questions meanwhile, as systemd's does."""
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._path))
            listener.listen()
            words = [str(self._python), "-I", "-m", "accelwatch.privileged.helper", "--user", str(os.getuid())]
            # bash: a plain shell knows no descriptors of two digits.
            self._process = subprocess.Popen(
                ["bash", "-c", _GIVEN.format(descriptor=listener.fileno()), "bash", *words],
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._own},
            )

    def stop(self) -> None:
        """SIGTERM, which it heeds at once."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


def questions(python: Path, environment: Mapping[str, str]) -> list[str]:
    """What a question costs: here this process asks, in the agent's place, of itself."""
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(OPEN_FILES)]
    with tempfile.TemporaryDirectory() as scratch:
        helper = RootHelper(python, Path(scratch), environment)
        helper.start()
        try:
            reads = RemoteReads(Path(helper.environment[SOCKET_VARIABLE]), LocalReads(ToolRunner()), _away)
            reads.open_files(Path("/proc"), os.getpid())
            before, own = processes.spent(helper.pids), time.process_time()
            for _ in range(QUESTIONS):
                reads.open_files(Path("/proc"), os.getpid())
            asking = time.process_time() - own
            answering = processes.spent(helper.pids).cpu - before.cpu
        finally:
            helper.stop()
            for descriptor in opened:
                os.close(descriptor)
    return [
        "On a host of real devices the agent asks for the traffic of each process that holds a device at each poll of"
        " `processes`, for its open files every 30 s, and for those of each other process once a minute."
        f" One for the devices among {OPEN_FILES} open files takes the helper {1000 * answering / QUESTIONS:.2f} ms of a"
        f" core, and who asks {1000 * asking / QUESTIONS:.2f} ms ({QUESTIONS:,} were asked)."
    ]


def _away(problem: str) -> None:
    raise AssertionError(problem)

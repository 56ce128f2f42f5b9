"""The root helper beside an agent, as its units run it: on a socket that it is given, as root."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from accelwatch.privileged.helper import HELPER_NAME
from accelwatch.privileged.remote import SOCKET_VARIABLE

MAY_RUN = os.geteuid() == 0
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

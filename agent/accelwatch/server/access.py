"""Who may come in, and how: what a web configuration file says, read anew when it or a file that it names changes."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from accelwatch.checked_yaml import ConfigError
from accelwatch.server import tls, web_config
from accelwatch.server.basic_auth import Users

# Four calls of stat each time. A change is taken when it has stood still for one look: certificate and key are two
# files, and between their writing they do not fit each other.
LOOK_SECONDS = 2.0

Mark = tuple[tuple[int, int, int, int] | None, ...]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One state of the file in force. `context` is `None` without TLS, `users` without basic auth.

    `headers` are the lines that go with every answer, each with its end.
    """

    context: ssl.SSLContext | None = None
    allowed_sans: tuple[str, ...] | None = None
    users: Users | None = None
    headers: bytes = b""


OPEN = Access()


class AccessFile:
    """Follows a web configuration file in a thread of its own, so that a disk that hangs holds up no scrape."""

    def __init__(
        self,
        path: Path,
        use: Callable[[Access], None],
        report: Callable[[ConfigError | None], None],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Reads the file. Raises `ConfigError`.

        `use` is given each state that comes into force later, `report` is told of one that cannot be used, which
        leaves the old one in force, and of the next good one (`None`).
        """
        self._path = path
        self._use = use
        self._report = report
        self._look_seconds = look_seconds
        self._files: tuple[Path, ...] = (path,)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web-config", daemon=True)
        self._mark: Mark = ()
        self.access = self._read()

    def start(self) -> None:
        """Starts looking for changes."""
        self._thread.start()

    def close(self) -> None:
        """Ends; waits for nothing."""
        self._stopping.set()

    def look(self, seen: Mark) -> Mark:
        """Takes a change that stood as it is when it was `seen` before; gives what is seen now."""
        now = self._look()
        if now == self._mark or now != seen:
            return now
        self._mark = now
        try:
            self.access = self._read()
        except ConfigError as error:
            self._report(error)
            return now
        self._use(self.access)
        self._report(None)
        return now

    def _run(self) -> None:
        seen = self._mark
        while not self._stopping.wait(self._look_seconds):
            seen = self.look(seen)

    def _read(self) -> Access:
        # Marks are of before the reading: what is written during it is a change. The files are known as soon as their
        # names are, so that one that is missing is taken when it comes.
        own = _mark(self._path)
        config = web_config.load(self._path)
        named = web_config.files_of(config)
        self._files = (self._path, *named)
        self._mark = (own, *(_mark(file) for file in named))
        return access_of(config, str(self._path))

    def _look(self) -> Mark:
        return tuple(_mark(file) for file in self._files)


def read(path: Path) -> Access:
    """What a file says, without following it. Raises `ConfigError`."""
    return access_of(web_config.load(path), str(path))


def access_of(config: web_config.WebConfig, name: str) -> Access:
    """What a configuration from the file called `name` says. Raises `ConfigError`."""
    section = config.tls_server_config
    headers = config.http_server_config.headers.items()
    return Access(
        context=None if section is None else tls.context(section, name),
        allowed_sans=None if section is None else section.client_allowed_sans,
        users=Users(config.basic_auth_users) if config.basic_auth_users else None,
        # nosniff goes with every answer anyway.
        headers=b"".join(
            f"{header}: {value}\r\n".encode("ascii")
            for header, value in headers
            if value and header != "X-Content-Type-Options"
        ),
    )


def _mark(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev

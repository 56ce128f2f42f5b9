"""One request to one Alertmanager, bounded in time and size."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from accelwatch import __version__
from accelwatch.config import BasicAuth
from accelwatch.pager.address import Address

# On a network that works an answer takes milliseconds; each step, and all of it, is given up after so long.
STEP_SECONDS, WHOLE_SECONDS = 5.0, 10.0
# Alertmanager says in one line what it did not like.
ANSWER_LIMIT_BYTES = 4096


class PostError(Exception):
    """The request did not get an answer that means `taken`; the message says why."""


class Refused(PostError):
    """It answered that it does not take these alerts (a status of 400 to 499): another try changes nothing."""


class Poster:
    """Posts to one address. No proxy: `http_proxy` and its like belong to the shell, not to a daemon's page."""

    def __init__(self, address: Address, basic_auth: BasicAuth | None = None) -> None:
        self._address = address
        self._basic_auth = basic_auth

    def post(self, body: bytes) -> float | None:
        """Posts a JSON list of alerts; gives the peer's own time (seconds since the epoch), if it says one.

        Raises `Refused`, `PostError`.
        """
        headers = {"Content-Type": "application/json", "User-Agent": f"accelwatch/{__version__}", "Connection": "close"}
        if self._basic_auth is not None:
            headers["Authorization"] = _authorization(self._basic_auth)
        connection = self._connection()
        try:
            with contextlib.closing(connection):
                connection.connect()
                with _ended_after(WHOLE_SECONDS, connection.sock):
                    connection.request("POST", self._address.path, body, headers)
                    answer = connection.getresponse()
                    status, text = answer.status, answer.read(ANSWER_LIMIT_BYTES)
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise PostError(f"{self._address.name}: {_words(error)}") from error
        if not 200 <= status < 300:
            said = " ".join(text.decode("utf-8", "replace").split())[:300]
            where = f" to {answer.getheader('Location', '?')}: give that URL" if 300 <= status < 400 else ""
            problem = f"{self._address.name}: answered {status} {answer.reason}{where}: {said}"
            # 408 and 429 ask for another try; 401, 403 and 404 are mended in the configuration, meanwhile all wait.
            raise (Refused if status in (400, 413, 422) else PostError)(problem)
        return _time(answer.getheader("Date"))

    def _connection(self) -> http.client.HTTPConnection:
        address = self._address
        if address.secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(address.host, address.port, timeout=STEP_SECONDS, context=context)
        return http.client.HTTPConnection(address.host, address.port, timeout=STEP_SECONDS)


def encode(alerts: list[dict[str, object]]) -> bytes:
    """The body of a request."""
    return msgspec.json.encode(alerts)


def _authorization(auth: BasicAuth) -> str:
    """Read anew each time: a password that was changed needs no restart."""
    try:
        password = Path(auth.password_file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PostError(
            f"alertmanager.basic_auth.password_file: {auth.password_file}: cannot be read: {error}"
        ) from error
    return "Basic " + base64.b64encode(f"{auth.username}:{password}".encode()).decode()


@contextlib.contextmanager
def _ended_after(seconds: float, connected: socket.socket) -> Iterator[None]:
    """Cuts the connection after so long: a peer that sends a byte now and then never runs into a time-out."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _time(date: str | None) -> float | None:
    try:
        return None if date is None else email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {STEP_SECONDS:g} s"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

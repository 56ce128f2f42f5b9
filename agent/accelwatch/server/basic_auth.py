"""Basic authentication: users with bcrypt hashes, checked beside the server's thread and remembered."""

from __future__ import annotations

import base64
import binascii
import collections
import contextlib
import hashlib
import os
import queue
import secrets
import string
import threading
from collections.abc import Callable, Mapping

from accelwatch.checked_yaml import ConfigError

# bcrypt reads no more of a password; htpasswd and Go cut there silently, the library refuses longer ones.
PASSWORD_LIMIT_BYTES = 72
# Refused credentials that are remembered, so that a scraper with a wrong password costs one round, not one a scrape.
REFUSED_REMEMBERED = 128
_BCRYPT_DIGITS = "./" + string.ascii_letters + string.digits


class Users:
    """Who may come in. Credentials are remembered by a keyed digest, never as such."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        """`hashes`: the bcrypt hash by user. Raises `ConfigError` without the package bcrypt."""
        try:
            import bcrypt
        except ImportError as error:
            raise ConfigError(
                "basic_auth_users needs the Python package bcrypt; install it beside accelwatch"
            ) from error
        self._check = bcrypt.checkpw
        self._hashes = {name.encode(): hashed.encode() for name, hashed in hashes.items()}
        self._decoy = _decoy(max(int(hashed[4:6]) for hashed in hashes.values()))
        self._key = secrets.token_bytes(32)
        self._good: set[bytes] = set()
        self._refused: collections.OrderedDict[bytes, None] = collections.OrderedDict()
        self._lock = threading.Lock()

    def known(self, authorization: str) -> bool | None:
        """Whether this header's credentials are good, at once; `None` where only `verify` can tell."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        digest = self._digest(credentials)
        with self._lock:
            if digest in self._good:
                return True
            if digest in self._refused:
                self._refused.move_to_end(digest)
                return False
        return None

    def verify(self, authorization: str) -> bool:
        """The same by a round of bcrypt: tens of milliseconds and more, for unknown users as for known ones."""
        known = self.known(authorization)
        credentials = _credentials(authorization)
        if known is not None or credentials is None:
            return known is True
        name, password = credentials
        hashed = self._hashes.get(name)
        try:
            matches = self._check(password, hashed or self._decoy)
        except ValueError:
            matches = False
        good = matches and hashed is not None
        digest = self._digest(credentials)
        with self._lock:
            if good:
                self._good.add(digest)
            else:
                self._refused[digest] = None
                while len(self._refused) > REFUSED_REMEMBERED:
                    self._refused.popitem(last=False)
        return good

    def _digest(self, credentials: tuple[bytes, bytes]) -> bytes:
        return hashlib.blake2b(b":".join(credentials), key=self._key, digest_size=32).digest()


class Checker:
    """One thread for all rounds of bcrypt, of the lowest priority: a guesser costs less than one idle core."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Users, str, Callable[[bool], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="passwords", daemon=True)
        self._thread.start()

    def submit(self, users: Users, authorization: str, then: Callable[[bool], None]) -> None:
        """Calls `then` with the verdict, in the checker's thread."""
        self._waiting.put((users, authorization, then))

    def close(self) -> None:
        """Ends when what is under way is done; waits for nothing."""
        self._waiting.put(None)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while (job := self._waiting.get()) is not None:
            users, authorization, then = job
            then(users.verify(authorization))


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    """User and password of a header `Basic …`, as far as bcrypt reads it; `None` when it is none (RFC 7617)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password[:PASSWORD_LIMIT_BYTES]) if colon else None


def _decoy(cost: int) -> bytes:
    """A hash of this cost that no password has been found for: 31 random digits after 22 of salt."""
    digits = "".join(secrets.choice(_BCRYPT_DIGITS) for _ in range(21))
    return f"$2b${cost:02d}${digits}.{''.join(secrets.choice(_BCRYPT_DIGITS) for _ in range(31))}".encode()

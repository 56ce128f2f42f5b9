"""TLS for the server: the context that a web configuration asks for, and a handshake that never blocks."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import selectors
import socket
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from accelwatch.checked_yaml import ConfigError
from accelwatch.server.cipher_suites import GROUPS, OPENSSL_NAMES
from accelwatch.server.web_config import PEM_LIMIT_BYTES, TlsServer

# Three packets each way; Prometheus gives up a scrape after 10 s by default.
HANDSHAKE_SECONDS = 5.0
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_PLAIN_REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: 29\r\n\r\nthis port speaks HTTPS alone\n"
)


class HandshakeFailed(Exception):
    """A client did not come in; the message is the reason."""


class Handshake:
    """A client whose handshake is under way. Steps are taken when its socket is ready, none of them waits."""

    idle = True  # when room is needed it goes, having the shortest time left, before a connection that is kept
    watched = 0

    def __init__(
        self, client: socket.socket, context: ssl.SSLContext, allowed_sans: Iterable[str] | None, now: float
    ) -> None:
        """Takes the socket over. Raises `OSError` when the client has gone already."""
        self.socket = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        self._allowed = None if allowed_sans is None else frozenset(allowed_sans)
        self.deadline = now + HANDSHAKE_SECONDS

    def step(self) -> int | None:
        """What to wait for (`selectors.EVENT_…`), or `None` when the client is in. Raises `HandshakeFailed`."""
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return selectors.EVENT_WRITE
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                with contextlib.suppress(OSError):
                    socket.socket.send(self.socket, _PLAIN_REFUSED)
            raise HandshakeFailed(_reason(error)) from error
        except (OSError, ValueError) as error:
            raise HandshakeFailed("the client went away") from error
        if self._allowed is not None and self._allowed.isdisjoint(subject_names(self.socket.getpeercert() or {})):
            raise HandshakeFailed("none of client_allowed_sans stands in the client's certificate")
        return None


class TlsStream:
    """An encrypted socket that says `BlockingIOError` where it would wait, as a plain one does."""

    def __init__(self, encrypted: ssl.SSLSocket) -> None:
        self._socket = encrypted

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, nothing at the end. Raises `OSError`."""
        try:
            return self._socket.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error

    def send(self, data: memoryview) -> int:
        """How many bytes were taken. Raises `OSError`."""
        try:
            return self._socket.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error

    def close(self) -> None:
        """Says goodbye as TLS does, if that goes at once, and closes."""
        with contextlib.suppress(OSError, ValueError):
            self._socket.unwrap()
        self._socket.close()


def context(config: TlsServer, name: str) -> ssl.SSLContext:
    """What the section asks for. Raises `ConfigError`, which begins with `name`, the file of the section."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[config.min_version]
    made.maximum_version = _VERSIONS[config.max_version]
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    # Scrapers keep their connections: a ticket would only let a client in that a reload has shut out.
    made.num_tickets = 0
    if config.prefer_server_cipher_suites:
        made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    suites = [OPENSSL_NAMES[suite] for suite in config.cipher_suites if suite in OPENSSL_NAMES]
    if suites:
        made.set_ciphers(":".join(suites))
    if config.curve_preferences:
        made.set_ecdh_curve(GROUPS[config.curve_preferences[0]])
    made.set_alpn_protocols(["http/1.1"])
    _load_identity(made, config, name)
    if config.client_auth_type != "NoClientCert":
        _load_authorities(made, config, name)
        # As in the toolkit, whatever stands in the file is trusted: also an intermediate authority alone.
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        made.verify_mode = _VERIFY[config.client_auth_type]
    return made


def subject_names(certificate: Any) -> set[str]:
    """The alternative names of `SSLSocket.getpeercert`, written as Go writes them: addresses in their short form."""
    return {_address(value) if kind == "IP Address" else value for kind, value in certificate.get("subjectAltName", ())}


def _address(value: str) -> str:
    try:
        address = ipaddress.ip_address(value.strip())
    except ValueError:
        return value
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _load_identity(made: ssl.SSLContext, config: TlsServer, name: str) -> None:
    certificate = _pem(config.cert, config.cert_file, name, "cert")
    key = _pem(config.key, config.key_file, name, "key")
    if b"ENCRYPTED" in key:
        raise ConfigError(f"{name}: tls_server_config: the key is encrypted; expected one without a passphrase")
    with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
        try:
            made.load_cert_chain(certificate_path, key_path, password="")  # never asks on a terminal
        except (ssl.SSLError, OSError, ValueError) as error:
            where = f"certificate ({config.cert_file or 'cert'}) and key ({config.key_file or 'key'})"
            raise ConfigError(
                f"{name}: tls_server_config: {where} cannot be used: {_reason(error)}; expected PEM, of each other"
            ) from error


def _load_authorities(made: ssl.SSLContext, config: TlsServer, name: str) -> None:
    with _in_memory(_pem(config.client_ca, config.client_ca_file, name, "client_ca")) as path:
        try:
            made.load_verify_locations(cafile=path)
        except (ssl.SSLError, OSError) as error:
            where = config.client_ca_file or "client_ca"
            raise ConfigError(
                f"{name}: tls_server_config: {where} cannot be used: {_reason(error)}; expected certificates in PEM"
            ) from error


def _pem(text: str, path: str, name: str, key: str) -> bytes:
    if text:
        return text.encode()
    try:
        with Path(path).open("rb") as file:
            data = file.read(PEM_LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{name}: tls_server_config.{key}_file: {path} cannot be read: {error.strerror}") from error
    if len(data) > PEM_LIMIT_BYTES:
        raise ConfigError(f"{name}: tls_server_config.{key}_file: {path} is longer than {PEM_LIMIT_BYTES} bytes")
    return data


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path of these bytes: ssl reads a key from a file only, and one from the configuration goes to no disk."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    """What OpenSSL says of it, in words and without places in its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).lower().replace("_", " ")

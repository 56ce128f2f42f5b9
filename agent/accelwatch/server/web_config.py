"""The web configuration file in the format of Prometheus's exporter-toolkit: TLS, client certificates, basic auth.

Source of the format: exporter-toolkit, docs/web-configuration.md. What is in the format and cannot be done here is
refused with the reason; nothing is ignored.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from accelwatch import checked_yaml
from accelwatch.checked_yaml import ConfigError, Lines
from accelwatch.server.cipher_suites import GROUPS, OPENSSL_NAMES, TLS13_SUITES

ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",  # the toolkit's older name for RequireAnyClientCert
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]

# An RSA key with a chain of certificates has 10 kB, a list of all public authorities 250 kB.
PEM_LIMIT_BYTES = 1 << 20
# Each step of bcrypt's cost doubles its time; 16 takes about 5 s, and a scrape's time-out is 10 s by default.
BCRYPT_COST_LIMIT = 16
_BCRYPT = re.compile(r"^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$")
# A header's value as it goes over the wire: RFC 9110 section 5.5, ASCII alone.
_HEADER_VALUE = re.compile(r"^[\x20-\x7e]*$")
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}


class TlsServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`cert`, `key` and `client_ca` are PEM texts, the keys in `_file` name files of them."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: ClientAuth = "NoClientCert"
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()


class HttpServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`headers` go with every answer."""

    http2: bool = False
    headers: dict[str, str] = {}


class WebConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file; `basic_auth_users` gives the bcrypt hash of each user's password."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, str] = {}
    rate_limit: object = None


def load(path: Path) -> WebConfig:
    """Reads and checks a file; paths in it are absolute afterwards. Raises `ConfigError`."""
    return parse(checked_yaml.read(path), str(path), path.parent)


def parse(text: str, name: str, folder: Path) -> WebConfig:
    """Checks the text of a file called `name`; relative paths in it begin at `folder`. Raises `ConfigError`."""
    config, lines = checked_yaml.convert(text, name, WebConfig)
    if config.rate_limit is not None:
        raise lines.error("rate_limit", "not implemented in this version; remove the key")
    _check_http(config.http_server_config, lines)
    for user, hashed in config.basic_auth_users.items():
        _check_user(user, hashed, lines)
    tls = config.tls_server_config
    if tls is None:
        return config
    _check_identity(tls, lines)
    _check_clients(tls, lines)
    _check_protocol(tls, lines)
    files = {key: getattr(tls, key) for key in ("cert_file", "key_file", "client_ca_file")}
    found = {key: str(folder / value) if value else "" for key, value in files.items()}
    return msgspec.structs.replace(config, tls_server_config=msgspec.structs.replace(tls, **found))


def files_of(config: WebConfig) -> tuple[Path, ...]:
    """The files that the configuration names."""
    tls = config.tls_server_config
    return () if tls is None else tuple(Path(f) for f in (tls.cert_file, tls.key_file, tls.client_ca_file) if f)


def _check_http(section: HttpServer, lines: Lines) -> None:
    if section.http2:
        raise lines.error("http_server_config.http2", "HTTP/2 is not spoken here, clients get HTTP/1.1; write `false`")
    for header, value in section.headers.items():
        path = f"http_server_config.headers.{header}"
        if header not in _HEADERS:
            raise lines.error(path, f"this header cannot be set; expected one of: {', '.join(_HEADERS)}")
        allowed = _HEADERS[header]
        if value and allowed and value not in allowed:
            raise lines.error(path, f"Expected one of: {', '.join(allowed)}; got `{value}`")
        if not _HEADER_VALUE.match(value) or value != value.strip():
            raise lines.error(path, "Expected one line of printable ASCII characters")


def _check_user(user: str, hashed: str, lines: Lines) -> None:
    """The hash is a secret: complaints do not repeat it."""
    path = f"basic_auth_users.{user}"
    if not user or ":" in user or not user.isprintable():
        raise lines.error(path, "Expected a user's name: printable characters, no colon")
    match = _BCRYPT.match(hashed)
    if match is None:
        raise lines.error(path, "Expected the bcrypt hash of a password, as `htpasswd -nBC 10 USER` prints it")
    if not 4 <= int(match[1]) <= BCRYPT_COST_LIMIT:
        limit = f"Expected a bcrypt cost from 4 to {BCRYPT_COST_LIMIT}, got {int(match[1])}"
        raise lines.error(path, f"{limit}: a higher one takes longer than a scrape may; hash the password with 10")


def _check_identity(tls: TlsServer, lines: Lines) -> None:
    for key in ("cert", "key", "client_ca"):
        if getattr(tls, key) and getattr(tls, f"{key}_file"):
            raise lines.error(f"tls_server_config.{key}", f"Expected one of `{key}` and `{key}_file`, got both")
    for key in ("cert", "key"):
        if not getattr(tls, key) and not getattr(tls, f"{key}_file"):
            raise lines.error("tls_server_config", f"Expected `{key}_file` (or `{key}`) in it")


def _check_clients(tls: TlsServer, lines: Lines) -> None:
    kind = tls.client_auth_type
    path = "tls_server_config.client_auth_type"
    if kind == "RequestClientCert":
        raise lines.error(
            path,
            "Python's ssl module cannot ask for a certificate without verifying it. RequestClientCert lets everybody "
            "in, with or without one: write NoClientCert for the same, or VerifyClientCertIfGiven",
        )
    if kind in ("RequireAnyClientCert", "RequireClientCert"):
        raise lines.error(
            path,
            f"Python's ssl module cannot take a certificate without verifying it. {kind} lets in everybody, with a "
            "certificate of their own making: write RequireAndVerifyClientCert with `client_ca_file`",
        )
    authority = "client_ca_file" if tls.client_ca_file else "client_ca"
    has_authority = bool(tls.client_ca_file or tls.client_ca)
    if has_authority and kind == "NoClientCert":
        raise lines.error(
            f"tls_server_config.{authority}",
            "Expected `client_auth_type` beside it: without, no client is asked for a certificate",
        )
    if kind != "NoClientCert" and not has_authority:
        raise lines.error(path, f"Expected `client_ca_file` (or `client_ca`) beside {kind}: whose certificates count")
    if tls.client_allowed_sans is not None and kind != "RequireAndVerifyClientCert":
        raise lines.error(
            "tls_server_config.client_allowed_sans",
            "Expected `client_auth_type: RequireAndVerifyClientCert` beside it: else a client may come without a name",
        )


def _check_protocol(tls: TlsServer, lines: Lines) -> None:
    for key in ("min_version", "max_version"):
        if getattr(tls, key) in ("TLS10", "TLS11"):
            raise lines.error(
                f"tls_server_config.{key}",
                "OpenSSL 3 speaks TLS 1.0 and 1.1 only with its security level at 0 (deprecated by RFC 8996); "
                "write TLS12 or TLS13",
            )
    if tls.min_version > tls.max_version:
        raise lines.error("tls_server_config.max_version", f"Expected at least min_version, {tls.min_version}")
    for number, suite in enumerate(tls.cipher_suites):
        if suite not in OPENSSL_NAMES and suite not in TLS13_SUITES:
            known = ", ".join((*OPENSSL_NAMES, *TLS13_SUITES))
            raise lines.error(f"tls_server_config.cipher_suites[{number}]", f"unknown suite; expected one of: {known}")
    if tls.cipher_suites and tls.min_version == "TLS12" and OPENSSL_NAMES.keys().isdisjoint(tls.cipher_suites):
        raise lines.error(
            "tls_server_config.cipher_suites",
            "Expected a suite of TLS 1.2 among them, or `min_version: TLS13`; those of TLS 1.3 are always on",
        )
    for number, curve in enumerate(tls.curve_preferences):
        if curve not in GROUPS:
            raise lines.error(
                f"tls_server_config.curve_preferences[{number}]", f"unknown curve; expected one of: {', '.join(GROUPS)}"
            )
    if len(tls.curve_preferences) > 1:
        raise lines.error(
            "tls_server_config.curve_preferences",
            "Python's ssl module takes one curve, not a list in order; name one, or remove the key for OpenSSL's own",
        )


__all__ = ["ConfigError", "HttpServer", "TlsServer", "WebConfig", "files_of", "load", "parse"]

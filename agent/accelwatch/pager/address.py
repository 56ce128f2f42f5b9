"""Where an Alertmanager is, as the configuration names it."""

from __future__ import annotations

import urllib.parse

import msgspec

# Of API v2, which every Alertmanager since 0.16 has; 0.27 took version 1 away.
ALERTS_PATH = "/api/v2/alerts"
_PORTS = {"http": 80, "https": 443}


class Address(msgspec.Struct, frozen=True):
    """`path` is that of the alerts, below whatever prefix the URL has."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def name(self) -> str:
        """How it is called in the log and in metrics."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.path.removesuffix(ALERTS_PATH)}"


def parse(url: str) -> Address:
    """The address that a URL such as `http://alertmanager:9093` names. Raises `ValueError`, saying what is wrong."""
    expected = "expected the base URL of an Alertmanager such as `http://alertmanager.example:9093`"
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{expected}, got `{url}`: {error}") from None
    if "@" in parts.netloc:
        raise ValueError(
            "no user or password in a URL: it would stand in files and logs for all to read; put the name into "
            "`alertmanager.basic_auth.username` and the password into a file, named by `password_file`"
        )
    if parts.scheme not in _PORTS or not host or not _plain(url):
        raise ValueError(f"{expected}, got `{url}`")
    if parts.query or parts.fragment:
        raise ValueError(f"{expected}, without `?` and `#`, got `{url}`")
    prefix = parts.path.rstrip("/")
    if prefix.endswith(ALERTS_PATH):
        raise ValueError(f"{expected}: `{ALERTS_PATH}` is added by the agent, got `{url}`")
    return Address(parts.scheme == "https", host, port or _PORTS[parts.scheme], prefix + ALERTS_PATH)


def _plain(url: str) -> bool:
    """Nothing that would end a line of the request."""
    return url.isascii() and url.isprintable() and " " not in url

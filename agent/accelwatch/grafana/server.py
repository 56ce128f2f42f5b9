"""A Grafana through its HTTP API, by grafana-client, with errors that say what to do.

https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/: folders, data sources by uid,
dashboards by uid. Imported by `dashboards push` alone.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

import niquests
from grafana_client.api import GrafanaApi
from grafana_client.client import (
    GrafanaClientError,
    GrafanaException,
    GrafanaServerError,
    GrafanaTimeoutError,
    GrafanaUnauthorizedError,
)

# The kit that the dashboards are written with knows Grafana from 10.1 on.
OLDEST = (10, 1)
SECONDS = 15.0
_FORBIDDEN, _NOT_FOUND = 403, 404
_WORDS_LIMIT = 300


class GrafanaError(Exception):
    """Grafana was not asked, or did not do it: the message says what failed, and what to do."""


class Grafana:
    """`url`: its base, also below a path. `token`: of a service account, or None. Raises `ValueError` for no URL."""

    def __init__(self, url: str, token: str | None, seconds: float = SECONDS) -> None:
        parts = _checked(url)
        self.url = url.rstrip("/")
        host = parts.hostname or ""
        path = parts.path.strip("/")
        self._api: Any = GrafanaApi(
            token,
            # The library joins host and path by itself: an IPv6 address wants its brackets, a path its slash.
            host=f"[{host}]" if _is_v6(host) else host,
            port=parts.port,
            url_path_prefix=f"{path}/" if path else "",
            protocol=parts.scheme,
            timeout=seconds,
        )
        logging.getLogger("grafana_client").setLevel(logging.ERROR)

    def close(self) -> None:
        """Ends its connections."""
        self._api.client.s.close()

    def version(self) -> str:
        """Its version. Raises `GrafanaError`, also for one that is too old."""
        settings = self._ask("its settings", lambda: self._api.client.GET("/frontend/settings"))
        build = settings.get("buildInfo") if isinstance(settings, dict) else None
        version = str(build.get("version", "")) if isinstance(build, dict) else ""
        found = re.match(r"(\d+)\.(\d+)", version)
        if found is None:
            raise GrafanaError(f"{self.url}: answers, but not as a Grafana does; expected the base URL of one")
        if (int(found[1]), int(found[2])) < OLDEST:
            raise GrafanaError(
                f"{self.url}: is Grafana {version}; the dashboards need {OLDEST[0]}.{OLDEST[1]} or later: upgrade it. "
                "Nothing was written"
            )
        return version

    def folder(self, uid: str) -> dict[str, Any] | None:
        """The folder, or None. Raises `GrafanaError`."""
        return self._get(f"folder {uid}", lambda: self._api.folder.get_folder(uid))

    def create_folder(self, uid: str, title: str) -> None:
        """Raises `GrafanaError`."""
        self._ask(f"folder {uid}", lambda: self._api.folder.create_folder(title, uid=uid), writes=True)

    def datasource(self, uid: str) -> dict[str, Any] | None:
        """The data source, or None. Raises `GrafanaError`."""
        return self._get(f"data source {uid}", lambda: self._api.datasource.get_datasource_by_uid(uid))

    def create_datasource(self, source: dict[str, Any]) -> None:
        """Raises `GrafanaError`."""
        self._ask(
            f"data source {source['uid']}",
            lambda: self._api.datasource.create_datasource(source),
            writes=True,
        )

    def update_datasource(self, source: dict[str, Any]) -> None:
        """Raises `GrafanaError`."""
        self._ask(
            f"data source {source['uid']}",
            lambda: self._api.datasource.update_datasource_by_uid(source["uid"], source),
            writes=True,
        )

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """`{"dashboard", "meta"}`, or None. Raises `GrafanaError`."""
        return self._get(f"dashboard {uid}", lambda: self._api.dashboard.get_dashboard(uid))

    def write_dashboard(self, dashboard: dict[str, Any], folder: str, message: str) -> None:
        """Writes a new version of it; earlier ones stay in its history. Raises `GrafanaError`."""
        payload = {"dashboard": dashboard, "folderUid": folder, "overwrite": True, "message": message}
        self._ask(
            f"dashboard {dashboard['uid']}",
            lambda: self._api.dashboard.update_dashboard(payload),
            writes=True,
        )

    def _get(self, what: str, call: Callable[[], Any]) -> dict[str, Any] | None:
        try:
            found = self._ask(what, call)
        except _AbsentError:
            return None
        if not isinstance(found, dict):
            raise GrafanaError(f"{self.url}: {what}: an answer that is not Grafana's; expected a document")
        return found

    def _ask(self, what: str, call: Callable[[], Any], *, writes: bool = False) -> Any:
        try:
            return call()
        except GrafanaTimeoutError as error:
            raise GrafanaError(
                f"{self.url}: {what}: no answer in time; is it overloaded, or a firewall in between?"
            ) from error
        except GrafanaUnauthorizedError as error:
            raise GrafanaError(
                f"{self.url}: {what}: it does not accept the token (401); make one for a service account with role "
                "Admin, and give its file with --token-file"
            ) from error
        except GrafanaClientError as error:
            raise self._client_error(what, error, writes=writes) from error
        except GrafanaServerError as error:
            raise GrafanaError(f"{self.url}: {what}: {_words(error)}; look at Grafana's own log") from error
        except GrafanaException as error:
            raise GrafanaError(f"{self.url}: {what}: {_words(error)}") from error
        except niquests.exceptions.JSONDecodeError as error:
            raise GrafanaError(
                f"{self.url}: {what}: an answer that is no JSON; expected the base URL of a Grafana"
            ) from error
        except (niquests.exceptions.RequestException, OSError) as error:
            raise GrafanaError(
                f"{self.url}: cannot be reached ({_words(error)}); is this its address, and can this host reach it?"
            ) from error

    def _client_error(self, what: str, error: GrafanaClientError, *, writes: bool) -> Exception:
        if error.status_code == _NOT_FOUND and not writes:
            return _AbsentError(f"{self.url}: {what}: {_words(error)}; expected the base URL of a Grafana")
        if error.status_code == _FORBIDDEN:
            return GrafanaError(
                f"{self.url}: {what}: forbidden ({_words(error)}); the token's service account needs role Admin, or "
                "Editor where the data source is there already and --prometheus is left out"
            )
        return GrafanaError(f"{self.url}: {what}: {_words(error)}")


class _AbsentError(GrafanaError):
    """There is no such thing there."""


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:_WORDS_LIMIT] or type(error).__name__


def _is_v6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _checked(url: str) -> urllib.parse.SplitResult:
    expected = "expected the base URL of a Grafana such as http://grafana.example:3000"
    try:
        parts = urllib.parse.urlsplit(url)
        _port = parts.port
    except ValueError as error:
        raise ValueError(f"{expected}, got {url!r}: {error}") from None
    if "@" in parts.netloc:
        raise ValueError(f"{expected}; no user or password in it: other users of this host would see them")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{expected}, got {url!r}")
    return parts

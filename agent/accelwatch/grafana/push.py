"""Brings folder, data source and dashboards into a Grafana; writes only what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

from accelwatch.grafana.documents import (
    DATASOURCE_NAME,
    DATASOURCE_UID,
    FOLDER_TITLE,
    FOLDER_UID,
    Document,
)


class Target(Protocol):
    """What is asked of a Grafana (`server.Grafana`)."""

    def folder(self, uid: str) -> Document | None:
        """The folder, or None."""

    def create_folder(self, uid: str, title: str) -> None:
        """A new one."""

    def datasource(self, uid: str) -> Document | None:
        """The data source, or None."""

    def create_datasource(self, source: Document) -> None:
        """A new one."""

    def update_datasource(self, source: Document) -> None:
        """In place of the one with its uid."""

    def dashboard(self, uid: str) -> Document | None:
        """`{"dashboard", "meta"}`, or None."""

    def write_dashboard(self, dashboard: Document, folder: str, message: str) -> None:
        """A new version of it."""


class Done(msgspec.Struct, frozen=True):
    """One thing. `did`: created, updated, unchanged, kept (somebody else manages it); `why`: of what was kept."""

    did: str
    what: str
    why: str = ""


def push(
    grafana: Target,
    documents: Mapping[str, Document],
    *,
    prometheus: str | None,
    scrape_interval: str,
    message: str,
    write: bool,
) -> Iterator[Done]:
    """Each thing as it is done, or, without `write`, as it would be.

    `prometheus`: its URL as Grafana reaches it; None: the data source is left as it is. Raises `GrafanaError`.
    """
    yield _folder(grafana, write=write)
    yield _datasource(grafana, prometheus, scrape_interval, write=write)
    for uid, document in documents.items():
        yield _dashboard(grafana, uid, document, message, write=write)


def _folder(grafana: Target, *, write: bool) -> Done:
    what = f"folder {FOLDER_TITLE}"
    # One that a person has renamed stays so.
    if grafana.folder(FOLDER_UID) is not None:
        return Done("unchanged", what)
    if write:
        grafana.create_folder(FOLDER_UID, FOLDER_TITLE)
    return Done("created", what)


def _datasource(grafana: Target, prometheus: str | None, scrape_interval: str, *, write: bool) -> Done:
    what = f"data source {DATASOURCE_NAME}"
    there = grafana.datasource(DATASOURCE_UID)
    if prometheus is None:
        if there is not None:
            return Done("unchanged", what)
        return Done("kept", what, "not there, and no --prometheus: choose your Prometheus on the dashboards")
    source = {
        "uid": DATASOURCE_UID,
        "name": DATASOURCE_NAME,
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus,
        "jsonData": {"httpMethod": "POST", "timeInterval": scrape_interval},
    }
    if there is None:
        if write:
            grafana.create_datasource(source)
        return Done("created", what)
    # What a person named, or set beside these, stays.
    wanted = {**there, **source, "name": there.get("name", DATASOURCE_NAME)}
    wanted["jsonData"] = {**(there.get("jsonData") or {}), **msgspec.to_builtins(source["jsonData"])}
    if wanted == there:
        return Done("unchanged", what)
    if there.get("readOnly"):
        return Done("kept", what, "provisioned from a file: change it there")
    if write:
        grafana.update_datasource(wanted)
    return Done("updated", what)


def _dashboard(grafana: Target, uid: str, document: Document, message: str, *, write: bool) -> Done:
    what = f"dashboard {document['title']}"
    there = grafana.dashboard(uid)
    meta = (there or {}).get("meta") or {}
    if there is not None and meta.get("folderUid") == FOLDER_UID and holds(there.get("dashboard"), document):
        return Done("unchanged", what)
    if meta.get("provisioned"):
        return Done("kept", what, "provisioned from a file: replace the file, or take it out of provisioning")
    if write:
        grafana.write_dashboard({**document, "id": None}, FOLDER_UID, message)
    return Done("created" if there is None else "updated", what)


def holds(there: Any, ours: Any) -> bool:
    """Whether all of ours is there; what Grafana added of its own (ids, versions, defaults) does not count."""
    if isinstance(ours, dict):
        return isinstance(there, dict) and all(holds(there.get(name), value) for name, value in ours.items())
    if isinstance(ours, list):
        return (
            isinstance(there, list)
            and len(there) == len(ours)
            and all(holds(one, other) for one, other in zip(there, ours, strict=True))
        )
    return bool(there == ours)

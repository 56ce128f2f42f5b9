"""The shipped dashboards with a site's names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

FOLDER_UID, FOLDER_TITLE = "accelwatch", "accelwatch"
DATASOURCE_UID, DATASOURCE_NAME = "accelwatch-prometheus", "accelwatch"
# Links to runbooks begin so in the shipped files.
RUNBOOKS = "runbooks/"
CLUSTER = "cluster"

Document = dict[str, Any]

_URL = re.compile(r"""https?://[^\s"'{}#\\]+""")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# The cluster's label in PromQL: in a list of labels, as a matcher, or as what a variable takes.
_LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right) \([^)]*\)")
_MATCHER = re.compile(r"\bcluster(?=(?:=~|!~|!=|=)\")")
_TAKEN = re.compile(r"(?<=, )cluster(?=\)$)")

# What a table does with its columns.
_BY_FIELD = ("excludeByName", "indexByName", "renameByName")


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """The names that a site has chosen; `runbooks` empty: they are served nowhere. Raises `ValueError`."""

    runbooks: str = ""
    cluster_label: str = CLUSTER

    def __post_init__(self) -> None:
        if self.runbooks and not _URL.fullmatch(self.runbooks):
            raise ValueError(f"--runbooks: {self.runbooks!r} is no address; expected one such as https://wiki/runbooks")
        label = self.cluster_label
        if not _LABEL.fullmatch(label) or label.startswith("__"):
            raise ValueError(f"--cluster-label: {label!r} is no label name; expected one such as k8s_cluster")

    def named(self, document: Document) -> Document:
        """A shipped dashboard with these names."""
        named: Document = _walk(document, self._text)
        for links in _link_lists(named):
            links[:] = [link for link in links if not link.get("url", "").startswith(RUNBOOKS)]
        return named

    def _text(self, key: str, text: str) -> str:
        if key == "url" and self.runbooks and text.startswith(RUNBOOKS):
            return f"{self.runbooks.rstrip('/')}/{text.removeprefix(RUNBOOKS)}"
        if key == "field":
            return self.cluster_label if text == CLUSTER else text
        if self.cluster_label != CLUSTER and key in ("expr", "query", "definition"):
            text = _LISTS.sub(lambda match: re.sub(r"\bcluster\b", self.cluster_label, match[0]), text)
            text = _TAKEN.sub(self.cluster_label, _MATCHER.sub(self.cluster_label, text))
        return text


def load(folder: Path, site: Site) -> dict[str, Document]:
    """By uid, from `json/` of the shipped folder. Raises `OSError`."""
    documents = {}
    for path in sorted((folder / "json").glob("*.json")):
        document = site.named(json.loads(path.read_text(encoding="utf-8")))
        documents[str(document["uid"])] = document
    return documents


def _walk(value: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    if isinstance(value, dict):
        renamed = {}
        for name, inner in value.items():
            renamed[change("field", name) if key in _BY_FIELD else name] = _walk(inner, change, name)
        return renamed
    if isinstance(value, list):
        return [_walk(inner, change, key) for inner in value]
    return change(key, value) if isinstance(value, str) else value


def _link_lists(value: Any) -> Iterator[list[Document]]:
    """Every list of links of cells and series."""
    if isinstance(value, dict):
        if value.get("id") == "links" and isinstance(value.get("value"), list):
            yield value["value"]
        for name, inner in value.items():
            if name == "links" and isinstance(inner, list):
                yield inner
            yield from _link_lists(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _link_lists(inner)

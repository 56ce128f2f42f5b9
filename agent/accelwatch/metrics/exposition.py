"""Sample lines with cached label prefixes, and the page that is made of them."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Protocol

from prometheus_client.exposition import choose_encoder

from accelwatch.metrics.catalogue import FAMILIES, Family

# Level 5: a page of 16 devices on which every class of faults has struck is 18.4 kB, at 1.5 ms of processor time;
# level 1: 21.2 kB at 0.8 ms; level 9: 16.3 kB.
GZIP_LEVEL = 5

# A label value from outside (model, process name) is cut here: nobody's name is longer, and a page stays small.
LABEL_LIMIT_CHARACTERS = 128


Labels = tuple[str, ...]


class Own(Protocol):
    """Further families in both formats, the OpenMetrics one without its closing mark."""

    @property
    def text(self) -> bytes:
        """The text format."""
        ...

    @property
    def openmetrics(self) -> bytes:
        """OpenMetrics."""
        ...


# The state of which lines were rendered, and the lines by family.
Kept = tuple[object, dict[str, list[str]]]


class Lines:
    """Collects samples by family. `cache` keeps the text before the value from one page to the next, `kept` the lines
    of what moves rarely.
    """

    def __init__(self, cache: dict[tuple[str, Labels], str], kept: dict[Labels, Kept] | None = None) -> None:
        self._cache = cache
        self._kept = {} if kept is None else kept
        self._lines: dict[str, list[str]] = {family.name: [] for family in FAMILIES}

    def add(self, family: Family, labels: tuple[str, ...], value: float | None) -> None:
        """One sample; labels in the order of the family's. `None` adds nothing: missing is not zero."""
        if value is None:
            return
        key = (family.name, labels)
        prefix = self._cache.get(key)
        if prefix is None:
            pairs = zip(family.labels, labels, strict=True)
            prefix = self._cache[key] = f"{family.full_name}{label_block(pairs)} "
        self._lines[family.name].append(prefix + number(value))

    def keep(self, key: Labels, state: object, add: Callable[[Lines], None]) -> None:
        """Samples that change with `state` only: `add` renders them anew when it is another than on the page before."""
        kept = self._kept.get(key)
        if kept is None or kept[0] != state:
            fresh = Lines(self._cache)
            add(fresh)
            kept = self._kept[key] = (state, {name: lines for name, lines in fresh._lines.items() if lines})
        for name, lines in kept[1].items():
            self._lines[name] += lines

    def add_with(self, family: Family, labels: Mapping[str, str], value: float) -> None:
        """One sample with labels of its own (the configured ones of `agent_info`)."""
        self._lines[family.name].append(f"{family.full_name}{label_block(labels.items())} {number(value)}")

    def page(self, own: Own) -> Page:
        """The finished page, with families that are written elsewhere."""
        families = [(family, lines) for family in FAMILIES if (lines := self._lines[family.name])]
        return Page(families, own)


class Page:
    """One rendered page in both formats. Put together, and compressed, when first asked for: most pages are replaced
    before anybody asks, and who asks wants one format.
    """

    def __init__(self, families: list[tuple[Family, list[str]]], own: Own) -> None:
        self._families = families
        self._own = own
        self._gzip: dict[bool, bytes] = {}

    @cached_property
    def text(self) -> bytes:
        """The text format."""
        return self._body(lambda family: family.full_name) + self._own.text

    @cached_property
    def openmetrics(self) -> bytes:
        """OpenMetrics, in which a counter's family has no `_total`."""
        body = self._body(lambda f: f.full_name.removesuffix("_total") if f.type == "counter" else f.full_name)
        return body + self._own.openmetrics + b"# EOF\n"

    def _body(self, name_of: Callable[[Family], str]) -> bytes:
        parts = []
        for family, lines in self._families:
            name = name_of(family)
            parts += [f"# HELP {name} {family.help}\n# TYPE {name} {family.type}", *lines]
        return ("\n".join(parts) + "\n").encode() if parts else b""

    def encode(self, accept: str, accept_encoding: str) -> tuple[bytes, str, str | None]:
        """Body, content type and content encoding for what the client accepts."""
        _, content_type = choose_encoder(accept)
        wants_openmetrics = content_type.startswith("application/openmetrics-text")
        if not wants_openmetrics:
            content_type = "text/plain; version=0.0.4; charset=utf-8"
        body = self.openmetrics if wants_openmetrics else self.text
        if not _accepts_gzip(accept_encoding):
            return body, content_type, None
        packed = self._gzip.get(wants_openmetrics)
        if packed is None:
            packed = self._gzip[wants_openmetrics] = gzip.compress(body, GZIP_LEVEL, mtime=0)
        return packed, content_type, "gzip"


def label_block(pairs: object) -> str:
    """`{name="value",...}` with values escaped as both formats ask, or nothing without labels."""
    inner = ",".join(f'{name}="{escape(value)}"' for name, value in pairs)  # type: ignore[attr-defined]
    return f"{{{inner}}}" if inner else ""


def clean(value: str) -> str:
    """A label value from outside: cut, control characters replaced. Alerts of the agent carry the same values."""
    cut = value[:LABEL_LIMIT_CHARACTERS]
    return cut if cut.isprintable() else "".join(c if c.isprintable() else " " for c in cut)


def escape(value: str) -> str:
    """The same, with quotes and backslashes escaped."""
    return clean(value).replace("\\", "\\\\").replace('"', '\\"')


def number(value: float) -> str:
    """A value as both formats read it."""
    if isinstance(value, int):
        return str(int(value))
    if math.isinf(value) or math.isnan(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _accepts_gzip(header: str) -> bool:
    for part in header.split(","):
        name, _, parameters = part.strip().partition(";")
        if name.strip() in ("gzip", "*"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0")
    return False

"""What the page and the commands show of devices and links: what is read now, joined with what was counted."""

from __future__ import annotations

from collections.abc import Set

import msgspec

from accelwatch.journal.counters import Counters
from accelwatch.journal.link_names import LinkNames
from accelwatch.journal.rows import DeviceRow
from accelwatch.readings.link import Link, LinkKind
from accelwatch.readings.memory import ErrorKind
from accelwatch.readings.process import HostProcess
from accelwatch.readings.snapshot import Device


class LinkView(msgspec.Struct, frozen=True):
    """A link as it is shown: `reading` is `None` where only its counters are left; `own_…` when that count is shown
    by its name and not with those of others.
    """

    name: str
    kind: LinkKind
    reading: Link | None
    seen_up: bool
    drops: float | None
    errors: float | None
    own_drops: bool = True
    own_errors: bool = True


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """A device as it is shown; `device` is `None` when its source does not report it now."""

    row: DeviceRow
    device: Device | None
    links: tuple[LinkView, ...] = ()
    ecc: tuple[tuple[str, ErrorKind, float], ...] = ()  # memory, kind, errors since first seen
    rows_remapped: tuple[tuple[ErrorKind, float], ...] = ()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One consistent picture of the node."""

    devices: tuple[DeviceView, ...]
    host_links: tuple[LinkView, ...]
    processes: tuple[HostProcess, ...]


# ECC errors since first seen by memory and kind, rows remapped by kind.
Counted = tuple[tuple[tuple[str, ErrorKind, float], ...], tuple[tuple[ErrorKind, float], ...]]


class Views:
    """Makes views, and gives the one before again where nothing has changed: they are asked for more often than links
    and memory are read. Not for several threads at once.
    """

    def __init__(self, counters: Counters, seen_up: Set[tuple[str, str]], names: LinkNames) -> None:
        """`seen_up`: owner and name of links that were up once; all are those of the node, and grow with it."""
        self._counters = counters
        self._names = names
        self._seen_up = seen_up
        # By owner, with what they were made of.
        self._links: dict[str, tuple[object, tuple[LinkView, ...]]] = {}
        self._counted: dict[str, tuple[object, Counted]] = {}

    def device(self, row: DeviceRow, owner: str, device: Device | None, loose: list[Link]) -> DeviceView:
        """`loose`: links of the device that a source of their own reads."""
        ecc, rows_remapped = self._counted_of(owner)
        return DeviceView(
            row=row,
            device=device,
            links=self.links(owner, [*((device.links if device else None) or ()), *loose]),
            ecc=ecc,
            rows_remapped=rows_remapped,
        )

    def links(self, owner: str, read: list[Link]) -> tuple[LinkView, ...]:
        """Links that are read now, and those of which only the counters are left."""
        drops, errors = self._counters.of(owner, "link_drops"), self._counters.of(owner, "link_errors")
        state = (read, dict(drops), dict(errors), len(self._seen_up))
        last = self._links.get(owner)
        if last is None or last[0] != state:
            readings = {link.link: link for link in read}
            kinds = {name: link.kind for name, link in readings.items()}
            for label in (*drops, *errors):
                kind, _, name = label.partition(":")
                kinds.setdefault(name, LinkKind(kind))
            made = tuple(
                LinkView(
                    name,
                    kind,
                    readings.get(name),
                    (owner, name) in self._seen_up,
                    drops.get(f"{kind.value}:{name}"),
                    errors.get(f"{kind.value}:{name}"),
                    self._names.own(owner, "link_drops", f"{kind.value}:{name}"),
                    self._names.own(owner, "link_errors", f"{kind.value}:{name}"),
                )
                for name, kind in sorted(kinds.items(), key=lambda item: (item[1], len(item[0]), item[0]))
            )
            last = self._links[owner] = (state, made)
        return last[1]

    def _counted_of(self, owner: str) -> Counted:
        ecc, remapped = self._counters.of(owner, "ecc_errors"), self._counters.of(owner, "rows_remapped")
        state = (dict(ecc), dict(remapped))
        last = self._counted.get(owner)
        if last is None or last[0] != state:
            made = (
                tuple(
                    (label.partition(":")[0], ErrorKind(label.partition(":")[2]), total)
                    for label, total in sorted(ecc.items())
                ),
                tuple((ErrorKind(label), total) for label, total in sorted(remapped.items())),
            )
            last = self._counted[owner] = (state, made)
        return last[1]

"""Series of links, of devices and of the host."""

from __future__ import annotations

from collections.abc import Iterable

from accelwatch.journal.link_names import REST
from accelwatch.metrics import catalogue as c
from accelwatch.metrics.exposition import Lines
from accelwatch.readings.link import LinkKind, LinkState, Optics
from accelwatch.views import LinkView

HOST = ("host", "", "")  # an RDMA port belongs to no device: vendor `host`


def add_links(lines: Lines, labels: tuple[str, str, str], links: Iterable[LinkView]) -> None:
    """All series of the links of one device, or of the host with `HOST`."""
    shared: dict[tuple[c.Family, LinkKind], float] = {}
    for view in links:
        link = (*labels, view.name, view.kind.value)
        reading = view.reading
        if view.seen_up and reading is not None and reading.state is not LinkState.UNKNOWN:
            lines.add(c.LINK_UP, link, int(reading.state is LinkState.UP))
        for family, count, own in (
            (c.LINK_DROPS, view.drops, view.own_drops),
            (c.LINK_ERRORS, view.errors, view.own_errors),
        ):
            # A GPU has up to 18 NVLinks: of drops and errors only those that had some have a series.
            if not count and (count is None or view.kind is LinkKind.NVLINK):
                continue
            if own:
                lines.add(family, link, count)
            else:
                shared[family, view.kind] = shared.get((family, view.kind), 0) + count
        if reading is not None and reading.optics is not None:
            _add_optics(lines, link, reading.optics)
    for (family, kind), count in shared.items():
        lines.add(family, (*labels, REST, kind.value), count)


def _add_optics(lines: Lines, link: tuple[str, ...], optics: Optics) -> None:
    powers = [power for power in optics.rx_power_milliwatts if power is not None]
    lines.add(c.OPTICS_RX_POWER, link, min(powers) / 1000 if powers else None)
    lines.add(c.OPTICS_TEMPERATURE, link, optics.temperature_celsius)

"""NVLinks of one GPU: state, and errors by the counters that its generation has."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from accelwatch.sources.nvml_device import Gpu
    from accelwatch.sources.nvml_driver import Driver, Row

    # States by number (`None`: a link that is not known), the older counters of each that is up, and the newer ones
    # by field and number where there are none of these.
    Links = tuple[list[Any], list[Any], dict[tuple[int, int], int | float]]

LINK_COUNT = 91  # NVML_FI_DEV_NVLINK_LINK_COUNT
LINKS_AT_MOST = 18
_LINKS_LIMIT = 128  # a count beyond is garbage
_ROWS_KEPT = 64
# nvmlNvLinkErrorCounter_t, Hopper and before.
_COUNTERS = ((0, "replay"), (1, "recovery"), (2, "crc_flit"), (3, "crc_data"))
# Blackwell's own fields, by link in the scope; the older ids answer 3 there (reference/nvidia.md section 3).
_NVLINK5 = {
    207: "buffer_overrun",
    208: "rx_errors",
    211: "local_integrity",
    214: "recovery_failed",
    219: "effective_errors",
    221: "symbol_errors",
}
_STATE_ROWS = tuple((str(number), (number,)) for number in range(_LINKS_LIMIT))
_rows_of: dict[tuple[int, ...], list[Row]] = {}  # by links that are up: nearly always the same ones


def read_links(driver: Driver, gpu: Gpu) -> Links:
    """All of one GPU; what `links` makes readings of."""
    count = gpu.fields(LINK_COUNT).get(LINK_COUNT)
    if count is None:
        states = _states(gpu)
    else:
        rows = _STATE_ROWS[: max(0, int(count))]
        states = driver.each(gpu.ordinal, "nvmlDeviceGetNvLinkState", gpu.handle, rows)
    up = tuple([number for number, state in enumerate(states) if state])
    counts = driver.each(gpu.ordinal, "nvmlDeviceGetNvLinkErrorCounter", gpu.handle, _rows(up))
    silent = [number for number in up if not _errors(up, counts, number)] if None in counts else []
    fields = driver.fields(gpu.ordinal, gpu.handle, [(field, number) for number in silent for field in _NVLINK5])
    return states, counts, fields


def links(key: dict[str, str], read: Links) -> list[dict[str, Any]] | None:
    """The fields of each `Link`; `None` on a GPU without NVLink. A port that is not wired is down and never was up:
    the consumer's baseline.
    """
    states, counts, fields = read
    up = tuple([number for number, state in enumerate(states) if state])
    found: list[dict[str, Any]] = []
    for number, state in enumerate(states):
        if state is None:
            continue
        link = {"key": key, "link": f"nvlink{number}", "kind": "nvlink", "state": "up" if state else "down"}
        errors = _errors(up, counts, number) if state else {}
        if state and not errors:
            errors = {name: int(fields[field, number]) for field, name in _NVLINK5.items() if (field, number) in fields}
        found.append(link | {"errors": errors} if errors else link)
    return found or None


def _states(gpu: Gpu) -> list[Any]:
    """Of a GPU that does not tell how many links it has: up to the first that it does not know."""
    states = []
    for number in range(LINKS_AT_MOST):
        state = gpu.call("nvmlDeviceGetNvLinkState", number, mark=str(number))
        if state is None:
            break
        states.append(state)
    return states


def _rows(up: tuple[int, ...]) -> list[Row]:
    rows = _rows_of.get(up)
    if rows is None:
        if len(_rows_of) >= _ROWS_KEPT:
            _rows_of.clear()
        rows = _rows_of[up] = [(name, (number, counter)) for number in up for counter, name in _COUNTERS]
    return rows


def _errors(up: tuple[int, ...], counts: list[Any], number: int) -> dict[str, int]:
    """What the older counters say of one link."""
    begin = up.index(number) * len(_COUNTERS)
    return {name: count for (_, name), count in zip(_COUNTERS, counts[begin:], strict=False) if count is not None}

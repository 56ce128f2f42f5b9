"""NVLinks of one GPU: state, and errors by the counters that its generation has."""

from __future__ import annotations

from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.sources.nvml_device import Gpu
from accelwatch.sources.nvml_driver import Driver

LINK_COUNT = 91  # NVML_FI_DEV_NVLINK_LINK_COUNT
LINKS_AT_MOST = 18
# nvmlNvLinkErrorCounter_t, Hopper and before.
_COUNTERS = ((0, "replay"), (1, "recovery"), (2, "crc_flit"), (3, "crc_data"))
# Blackwell's own fields, by link in the scope; the older ids answer 3 there (reference/nvidia.md section 3).
_NVLINK5 = (
    (207, "buffer_overrun"),
    (208, "rx_errors"),
    (211, "local_integrity"),
    (214, "recovery_failed"),
    (219, "effective_errors"),
    (221, "symbol_errors"),
)


def read_links(driver: Driver, gpu: Gpu) -> tuple[Link, ...] | None:
    """`None` on a GPU without NVLink. A port that is not wired is down and never was up: the consumer's baseline."""
    count = gpu.fields(LINK_COUNT).get(LINK_COUNT)
    links: list[Link] = []
    for number in range(int(count) if count is not None else LINKS_AT_MOST):
        state = gpu.call("nvmlDeviceGetNvLinkState", number, mark=str(number))
        if state is None:
            if count is None:
                break
            continue
        links.append(
            Link(
                key=gpu.identity.key,
                link=f"nvlink{number}",
                kind=LinkKind.NVLINK,
                state=LinkState.UP if state else LinkState.DOWN,
                errors=_errors(driver, gpu, number) if state else None,
            )
        )
    return tuple(links) or None


def _errors(driver: Driver, gpu: Gpu, number: int) -> dict[str, int] | None:
    errors: dict[str, int] = {}
    for counter, name in _COUNTERS:
        # Without `Gpu.call`: a reading of a node has a thousand of these.
        count = driver.call(gpu.ordinal, "nvmlDeviceGetNvLinkErrorCounter", gpu.handle, number, counter, mark=name)
        if count is not None:
            errors[name] = int(count)
    if errors:
        return errors
    names = dict(_NVLINK5)
    values = driver.fields(gpu.ordinal, gpu.handle, [(field, number) for field in names])
    return {names[field]: int(value) for (field, _), value in values.items()} or None

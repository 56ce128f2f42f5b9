"""1,024 devices on one host: the page has all of them, in bounded room, and what cannot be asked in time is said."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from soak.measured import of_process
from soak.sick_host import SickHost, until

pytestmark = pytest.mark.e2e
DEVICES = 1024
# design.md, Metrics: at most so many series for a device. 64 MB are for 16 of them.
SERIES_PER_DEVICE, PSS_BYTES = 100, 192 << 20
SCRAPE_SECONDS = 5.0
INTERVAL_SECONDS = 5.0
DEVICE = re.compile(r'vendor="ascend",device="(\d+)"')


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SickHost]:
    made = SickHost(tmp_path, "ascend", devices=DEVICES, tick_seconds=30.0)
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_host_of_1024_devices_is_read_as_often_as_it_can_be(host: SickHost) -> None:
    """npu-smi's table has all of them; hccn_tool, a call per device, is told to have left most of them out."""
    until("power of all", lambda: host.page().count("accelwatch_device_power_watts{") == DEVICES, 60.0)
    until("a stretched interval", lambda: host.said("polls take long: interval stretched"))
    until("what was not asked", lambda: host.said("devices not asked: the others took the whole interval"), 60.0)
    # It may be shortened again at once: hccn_tool's has to be long from its first whole poll on.
    until("an interval that is longer on the page", lambda: max(_intervals(host.page())) > INTERVAL_SECONDS, 60.0)
    began = time.monotonic()
    page = host.page()
    took = time.monotonic() - began
    series = Counter(DEVICE.findall(page))
    held = of_process(host.pid)
    print(
        f"{len(page)} bytes, {page.count(chr(10))} lines in {took:.3f} s; {held}; at most {max(series.values())} series"
    )
    assert len(series) == DEVICES
    assert max(series.values()) <= SERIES_PER_DEVICE
    assert took <= SCRAPE_SECONDS
    assert held["PSS bytes"] <= PSS_BYTES
    assert host.value("accelwatch_fault_active") is None


def _intervals(page: str) -> list[float]:
    name = "accelwatch_source_interval_seconds"
    return [float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name)]

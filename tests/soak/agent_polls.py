"""A real agent with intervals of 50 ms, the shortest that there are, whose configuration is changed and reloaded all the time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from soak.measured import Curves, of_process
from soak.sick_host import SickHost, until

SAMPLES = 40
SOURCE = {"nvidia": "nvml", "ascend": "npu_smi"}
FAST = {
    "nvidia": {"nvml": {"interval": "50ms"}, "processes": {"interval": "50ms"}, "rdma": {"interval": "50ms"}},
    "ascend": {"npu_smi": {"interval": "50ms"}, "hccn_tool": {"interval": "50ms"}, "processes": {"interval": "50ms"}},
}


def changed(host: SickHost, number: int) -> None:
    """What a reload has to begin, end and rebuild: sources, an Alertmanager that is not there, labels."""
    sources = host.settings["sources"]
    sources["processes"]["enabled"] = number % 3 != 1
    sources["rdma"]["interval"] = f"{50 + number % 2}ms"
    sources["kernel_log"]["enabled"] = number % 5 != 1
    host.settings["alertmanager"] = {"urls": ["http://127.0.0.1:9"] if number % 7 == 1 else []}
    host.settings["labels"] = {"cluster": f"c{number}"}
    if number % 50 == 1:  # a worker of NVML, or the running tools, are ended and begun anew
        vendor = "nvml" if "interval" in sources["nvml"] else "npu_smi"
        sources[vendor]["timeout"] = f"{5 + number % 2}s"


def in_force(host: SickHost, number: int) -> bool:
    """Whether the page tells of this configuration."""
    return f'cluster="c{number}"' in host.page()


def reloads(directory: Path, vendor: str, count: int) -> Iterator[Curves]:
    """One curve over `count` reloads."""
    host = SickHost(directory, vendor, sources=FAST[vendor], tick_seconds=1.0)
    curves = Curves(f"agent, {vendor}, polls each 50 ms", "reloads")
    try:
        host.start()
        until("values", partial(host.value, "accelwatch_device_power_watts"))
        for number in range(1, count + 1):
            changed(host, number)
            host.write_settings()
            os.kill(host.pid, signal.SIGHUP)
            until(f"reload {number}", partial(in_force, host, number))
            if number % max(1, count // SAMPLES) == 0:
                curves.add(number, of_process(host.pid))
        assert not host.said("a flaw in accelwatch")
        yield curves
    finally:
        host.close()


def polls(directory: Path, vendor: str, seconds: float) -> Iterator[Curves]:
    """One curve over polls, nothing changed meanwhile."""
    host = SickHost(directory, vendor, devices=4, sources=FAST[vendor], tick_seconds=1.0)
    curves = Curves(f"agent, {vendor}, polls each 50 ms", "polls")
    try:
        host.start()
        until("values", partial(host.value, "accelwatch_device_power_watts"))
        for _ in range(SAMPLES):
            time.sleep(seconds / SAMPLES)
            done = host.value("accelwatch_source_poll_duration_seconds_count") or 0.0
            curves.add(done, of_process(host.pid))
        assert not host.said("a flaw in accelwatch")
        yield curves
    finally:
        host.close()

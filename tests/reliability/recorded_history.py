"""Nine days of a small fleet, as the hourly rules record them, in a real Prometheus."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_history import running

HOUR = 3600
DAYS = 9
HOURS = DAYS * 24
# A whole hour, so that samples lie on the seams of days: each must be of one day only.
END = int(time.time()) // HOUR * HOUR - HOUR
START = END - HOURS * HOUR
ALL = range(HOURS)
# No rule ran in these.
SILENT = range(100, 110)
FAILED_AT, REPLACED_AT = 120, 130


class Hours:
    """Samples at the end of hours that are counted from the window's beginning."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str]] = []

    def add(self, name: str, labels: Mapping[str, str], values: Mapping[int, float]) -> None:
        text = ",".join(f'{label}="{value}"' for label, value in labels.items())
        for hour, value in values.items():
            at = START + (hour + 1) * HOUR
            self._lines.append((at, f"{name}{{{text}}} {value} {at}"))

    def write(self, path: Path) -> None:
        path.write_text("\n".join([*(line for _, line in sorted(self._lines)), "# EOF\n"]))


def device(
    hours: Hours,
    node: str,
    vendor: str,
    model: str,
    number: int,
    serial: str,
    up: Iterable[int],
    *,
    known: Iterable[int] | None = None,
    busy: int = 1800,
    installed: int = START - 1000 * HOUR,
) -> dict[str, str]:
    """`up`: powered in these hours; `known`: listed in these, by default the same. Gives its labels."""
    here = [hour for hour in up if hour not in SILENT]
    labels = {
        "cluster": "c1", "node": node, "vendor": vendor, "device": str(number), "model": model, "driver": "1",
        "serial": serial,
    }  # fmt: skip
    for state, seconds in (("powered", HOUR), ("busy", busy)):
        series = "accelwatch:serial_exposure:seconds1h"
        hours.add(series, {**labels, "state": state}, dict.fromkeys(here, seconds))
    listed = here if known is None else [hour for hour in known if hour not in SILENT]
    hours.add("accelwatch:serial:installed_timestamp_seconds", labels, dict.fromkeys(listed, installed))
    return labels


def fleet() -> Hours:
    """Two H100 nodes, of which the second lost its agent for a day, and a 910C node; GPU 1 of n1 failed and was
    replaced."""
    hours = Hours()
    episodes, down = "accelwatch:serial_fault_episodes:count1h", "accelwatch:serial_down:seconds1h"
    g0 = device(hours, "n1", "nvidia", "H100", 0, "g0", ALL)
    g1 = device(hours, "n1", "nvidia", "H100", 1, "g1", range(FAILED_AT), known=range(REPLACED_AT))
    device(hours, "n1", "nvidia", "H100", 1, "g2", range(REPLACED_AT, HOURS), installed=START + REPLACED_AT * HOUR)
    hours.add(episodes, {**g1, "class": "device_lost"}, {FAILED_AT: 1})
    hours.add(down, {**g1, "planned": "false"}, dict.fromkeys(range(FAILED_AT, REPLACED_AT), HOUR))
    outage = range(48, 72)
    for number in (0, 1):
        seen = [hour for hour in ALL if hour not in outage]
        device(hours, "n2", "nvidia", "H100", number, f"h{number}", seen, known=ALL)
    a0 = device(hours, "m1", "ascend", "910C", 0, "a0", ALL)
    device(hours, "m1", "ascend", "910C", 1, "a1", range(150))  # went out healthy
    # On the seam of two days, and on the last hour of all.
    hours.add(episodes, {**a0, "class": "mem_uncorrectable"}, {23: 2, 24: 1, HOURS - 1: 4})
    hours.add(episodes, {**g0, "class": "hang_no_error"}, {5: 3})
    host = {**g0, "vendor": "host", "device": "", "model": "", "serial": "n1/host/"}
    hours.add(episodes, {**host, "class": "host"}, {30: 2})
    hours.add("accelwatch:serial_maintenance_episodes:count1h", {**a0, "class": "thermal"}, {40: 5})
    hours.add("accelwatch:serial_exposure:seconds1h", {**a0, "state": "maintenance"}, {150: 900})
    for vendor in ("nvidia", "ascend"):
        share = {"cluster": "c1", "vendor": vendor}
        here = [hour for hour in ALL if hour not in SILENT]
        series = "accelwatch:class:observable1h"
        hours.add(series, {**share, "class": "device_lost"}, dict.fromkeys(here, 1))
        hours.add(series, {**share, "class": "silent_corruption"}, dict.fromkeys(here, int(vendor == "ascend")))
        hours.add(series, {**share, "class": "net_link_flap"}, dict.fromkeys(here, 0.5))
    hours.add("accelwatch:drills:count1h", {"cluster": "c1", "vendor": "nvidia", "class": "device_lost"}, {7: 1})
    repaired = {name: g1[name] for name in ("cluster", "node", "vendor", "device")}
    hours.add(
        "accelwatch:fault:repair_seconds",
        {**repaired, "class": "device_lost", "incident": "i1"},
        {REPLACED_AT: 36_000},
    )
    ended = {"cluster": "c1", "vendor": "nvidia", "model": "H100"}
    runs = "accelwatch:run_interruptions:count1h"
    hours.add(runs, {**ended, "class": "device_lost", "outcome": "failed"}, {FAILED_AT: 1})
    hours.add(runs, {**ended, "class": "unknown", "outcome": "killed"}, {10: 4})
    hours.add(runs, {"cluster": "c1", "class": "unknown", "outcome": "failed"}, {11: 1})
    lost = "accelwatch:run_interruptions:lost_device_seconds1h"
    hours.add(lost, {**ended, "class": "device_lost", "outcome": "failed"}, {FAILED_AT: 7200})
    for run_id, seconds in (("1", 20), ("2", 40)):
        labels = {"cluster": "c1", "vendor": "nvidia", "model": "H100", "cause": "device_lost", "run_id": run_id}
        hours.add("accelwatch:run_interruption:detect_seconds", labels, {FAILED_AT: seconds})
    return hours


@contextlib.contextmanager
def served(hours: Hours, directory: Path) -> Iterator[str]:
    """The URL of a Prometheus that holds them."""
    page, data = directory / "hours.txt", directory / "tsdb"
    hours.write(page)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(data)], check=True, capture_output=True
    )
    with running(directory, data, "--storage.tsdb.retention.time=60d") as url:
        yield url

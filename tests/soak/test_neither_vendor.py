"""A host without an accelerator: the agent is up, says nothing, and costs next to nothing beside one with devices."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from soak.sick_host import SickHost, until

pytestmark = pytest.mark.e2e
SECONDS = 4.0
# Of the same agent with 8 devices, and of a core; each thread that waits with a time-out is woken now and then.
CANNOT_TELL = 3  # design.md, Commands: nothing readable
CPU_SHARE, CPU_RATIO, WAKE_UPS_A_SECOND = 0.6, 0.01, 12.0


@pytest.fixture
def eight(tmp_path: Path) -> Iterator[SickHost]:
    made = SickHost(tmp_path / "eight", "nvidia", devices=8)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def none(tmp_path: Path) -> Iterator[SickHost]:
    """Sources as they are by default, on a host whose devices are not there."""
    made = SickHost(tmp_path / "none", "nvidia")
    made.hardware.close()
    (made.home / "libnvidia-ml.so.1").unlink()
    empty = tmp_path / "empty"
    for name in ("proc/sys/kernel/random", "pci"):
        (empty / name).mkdir(parents=True)
    (empty / "kmsg").write_bytes(b"")
    made.settings["sources"] = {
        "npu_smi": {"sysfs": str(empty / "pci")},
        "rdma": {"sysfs": str(empty / "infiniband")},
        "kernel_log": {"path": str(empty / "kmsg")},
    }
    made.write_settings()
    try:
        made.start()
        yield made
    finally:
        made.close()


def spent(pid: int) -> tuple[float, int]:
    """Processor seconds of it and its children that still run, and how often it was woken."""
    cpu, woken = 0.0, 0
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    for process in (pid, *children):
        for task in Path(f"/proc/{process}/task").iterdir():
            cpu += int((task / "schedstat").read_text().split()[0]) / 1e9  # to the nanosecond; `stat` counts ticks
            status = (task / "status").read_text()
            woken += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return cpu, woken


def check(host: SickHost) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "accelwatch", "--config", str(host.config), "check", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def test_a_host_without_accelerators_costs_next_to_nothing(none: SickHost, eight: SickHost) -> None:
    """Sources that have nothing to read are off without a word; the page is up; `check` cannot tell."""
    until("the page of none", none.page)
    until("values of eight", lambda: eight.value("accelwatch_device_power_watts"))
    time.sleep(2.0)  # what a start costs is not of interest
    before = [spent(host.pid) for host in (none, eight)]
    time.sleep(SECONDS)
    after = [spent(host.pid) for host in (none, eight)]
    (cpu, woken), (cpu_eight, woken_eight) = ((b[0] - a[0], b[1] - a[1]) for a, b in zip(before, after, strict=True))
    print(
        f"in {SECONDS:g} s: {cpu:.3f} s of processor and {woken} wake-ups; with 8 devices {cpu_eight:.3f} s and {woken_eight}"
    )
    assert cpu <= min(CPU_SHARE * cpu_eight, CPU_RATIO * SECONDS)
    assert woken <= WAKE_UPS_A_SECOND * SECONDS
    page = none.page()
    assert "accelwatch_device_" not in page.replace("# ", "")
    for source in ("nvml", "npu_smi", "hccn_tool", "rdma"):
        assert f'source="{source}"' not in page
    assert "level=warning" not in none.log.read_text()
    assert "level=error" not in none.log.read_text()
    status, told = check(none)
    print(f"check: exit {status}, {told}")
    assert status == CANNOT_TELL
    assert told["devices"] == []
    assert told["faults"] == []

"""A real agent on a disk that gets slow, full and read-only: faults are shown meanwhile and written when it is back."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from soak.sick_host import SickHost, SmallDisk, until

pytestmark = pytest.mark.e2e
ANSWER_SECONDS = 0.050
# Half a second for the commit, a tick, and a busy machine (design.md, Persistence).
SHOWN_SECONDS = 5.0
DEGRADED = "accelwatch_journal_degraded"
UNJOURNALLED = "accelwatch_faults_unjournalled_total"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        made = SmallDisk(tmp_path / "disk")
    except PermissionError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture
def host(tmp_path: Path, disk: SmallDisk) -> Iterator[SickHost]:
    made = SickHost(tmp_path / "host", "nvidia", state=disk.at / "state")
    try:
        made.start()
        until("values", lambda: made.value("accelwatch_device_power_watts"))
        yield made
    finally:
        made.close()


def shown_without_the_disk(host: SickHost, code: int) -> None:
    before = host.value(UNJOURNALLED) or 0.0
    host.xid(code)
    until(f"Xid {code} on the page", partial(host.shown, str(code)), SHOWN_SECONDS)
    until("the count of faults without a disk", lambda: (host.value(UNJOURNALLED) or 0.0) > before)
    until("the word of the journal", lambda: host.value(DEGRADED) == 1)
    taken = []
    for _ in range(21):
        began = time.perf_counter()
        host.page()
        taken.append(time.perf_counter() - began)
    assert statistics.median(taken) <= ANSWER_SECONDS


def written(host: SickHost, *codes: int) -> None:
    until("the journal", lambda: host.value(DEGRADED) == 0)
    until("the faults in it", lambda: [fault.code for fault in host.journalled()] == [str(code) for code in codes])


def test_faults_are_shown_without_their_disk_and_written_when_it_is_back(host: SickHost, disk: SmallDisk) -> None:
    """Each sync takes 5 s; no room at all; read-only. Page and values go on."""
    host.slow_disk(5.0)
    shown_without_the_disk(host, 62)
    host.slow_disk(0.0)
    written(host, 62)
    disk.fill()
    shown_without_the_disk(host, 79)
    # The writer lets go of a file that it cannot write: now and then nobody has it open.
    until("a moment without a writer", lambda: remounted(disk))
    disk.read_only(False)
    disk.empty()
    written(host, 62, 79)
    assert host.said("journal is written again")
    assert host.said("database or disk is full")


def remounted(disk: SmallDisk) -> bool:
    try:
        disk.read_only(True)
    except subprocess.CalledProcessError:
        return False
    return True

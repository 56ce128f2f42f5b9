"""A wall clock that is set while the agent runs: ahead by a day, back by a day, and right again.

To the agent a suspend is a step ahead too: CLOCK_MONOTONIC stands while the host sleeps, the wall clock does not
(clock_gettime(2)). That a new boot id doubles and loses nothing is in tests/e2e/test_kills.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from soak.sick_host import SickHost, until

pytestmark = pytest.mark.e2e
DAY = 86400.0
SUCCESS = 'accelwatch_source_last_success_timestamp_seconds{source="nvml"}'
COUNTERS = re.compile(r"^(accelwatch_[a-z_]+_total(?:\{[^\n]*\})?) (\S+)$", re.MULTILINE)
EXPOSURE = 'accelwatch_device_exposure_seconds_total{vendor="nvidia",device="0"'


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SickHost]:
    made = SickHost(tmp_path, "nvidia", sources={"nvml": {"interval": "200ms"}, "processes": {"interval": "500ms"}})
    try:
        yield made
    finally:
        made.close()


def counters(page: str) -> dict[str, float]:
    return {name: float(value) for name, value in COUNTERS.findall(page)}


def polled_since(host: SickHost, wall: float) -> bool:
    """Whether the last poll is of a second or more after `wall`, by the clock that gave that."""
    return 1.0 < (host.value(SUCCESS) or 0.0) - wall < 60.0


def test_a_clock_that_is_set_stops_no_poll_and_makes_doubles_or_loses_nothing(host: SickHost) -> None:
    """Each fault once and in order, no counter falls, no run ends or stalls, no exposure for time that did not pass."""
    host.start()
    began = time.monotonic()
    until("the run", lambda: 'run_id="4711"' in host.page() and host.value("accelwatch_device_power_watts"))
    before = counters(host.page())
    for number, (step, code) in enumerate(((DAY, 13), (-DAY, 62), (0.0, 79))):
        host.step_clock(step)
        stepped = time.time() + step
        # Two intervals later than the step: polls go on, by the clock as it is now.
        until(f"a poll at {step:+g} s", partial(polled_since, host, stepped))
        host.xid(code, device=number % 2)
        until(f"Xid {code} on the page", partial(host.shown, str(code)))
        page = host.page()
        after = counters(page)
        assert {name: (value, after.get(name)) for name, value in before.items() if after.get(name, 0) < value} == {}
        before = after
        exposed = host.value(EXPOSURE)
        assert exposed is not None
        assert exposed <= 3 * (time.monotonic() - began) + 1  # powered, allocated, busy
        assert host.value('accelwatch_source_up{source="nvml"}') == 1
        assert host.value("accelwatch_run_end_timestamp_seconds") is None
        assert not host.value("accelwatch_run_stalled")
    assert len(host.said("polls are scheduled anew")) == 3
    host.stop()
    codes = [(fault.code, fault.count) for fault in host.journalled()]
    assert codes == [("13", 1), ("62", 1), ("79", 1)]

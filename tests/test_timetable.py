"""When a source is due."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from accelwatch.timetable import JITTER, Timetable

INTERVAL = 10.0


def made(seed: int = 1, now: float = 1000.0) -> Timetable:
    return Timetable(INTERVAL, now, random.Random(seed))


def test_times_are_an_interval_apart_but_for_jitter_and_do_not_drift() -> None:
    """A thousand polls take a thousand intervals: what moves one does not move the next."""
    times = made()
    dues = []
    for _ in range(1000):
        dues.append(times.due)
        assert times.pass_by(times.due) == 1
    apart = [later - earlier for earlier, later in pairwise(dues)]
    assert max(apart) <= INTERVAL * (1 + 2 * JITTER)
    assert min(apart) >= INTERVAL * (1 - 2 * JITTER)
    assert max(apart) - min(apart) > INTERVAL * JITTER
    assert dues[-1] - dues[0] == pytest.approx(999 * INTERVAL, abs=2 * JITTER * INTERVAL)


def test_each_has_a_phase_of_its_own() -> None:
    """Between half an interval and a whole one after the start, evenly: a fleet that boots at once does not ask at once."""
    phases = [(made(seed).due - 1000.0) / INTERVAL for seed in range(1000)]
    assert min(phases) >= 0.5 - JITTER
    assert max(phases) <= 1.0 + JITTER
    assert [sum(edge <= phase < edge + 0.1 for phase in phases) for edge in (0.5, 0.6, 0.7, 0.8, 0.9)] == [
        pytest.approx(200, abs=60)
    ] * 5


def test_times_that_passed_are_counted_and_none_is_made_up_for() -> None:
    """Late by an hour: one poll now, the next within an interval."""
    times = made()
    assert times.pass_by(times.due - 0.001) == 0
    late = times.due + 3600.0
    assert times.pass_by(late) == pytest.approx(361, abs=1)
    assert late < times.due <= late + INTERVAL * (1 + JITTER)
    assert times.pass_by(late) == 0


def test_another_interval_holds_from_now_on() -> None:
    """A stretched one, and the first one again."""
    times = made()
    times.restart(40.0, 2000.0)
    assert 2018.0 <= times.due <= 2042.0
    times.restart(INTERVAL, 2001.0)
    assert 2005.5 <= times.due <= 2011.5

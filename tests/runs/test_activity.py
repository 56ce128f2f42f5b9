"""Busy, spin or quiet: power against the device's own working level, helped by what else is known."""

from __future__ import annotations

import msgspec
import pytest

from accelwatch.runs import activity, idle, reference
from accelwatch.runs.activity import Activity, DeviceState
from accelwatch.runs.culprit import Culprit, Rule, locate
from accelwatch.runs.idle import Floor
from accelwatch.runs.reference import Reference
from accelwatch.runs.sample import Sample

IDLE = 72.0


def sample(at: float, watts: float | None = 550.0, utilization: float | None = 0.9, **more: object) -> Sample:
    more = {"vendor": "nvidia", "device": "0", "power_limit_watts": 700.0, **more}
    return Sample(at=at, power_watts=watts, utilization_ratio=utilization, **more)  # type: ignore[arg-type]


def observe(
    state: DeviceState | None, reading: Sample, frozen: bool = False, cpu_low: bool | None = None
) -> DeviceState:
    return activity.observe(state, reading, IDLE, frozen=frozen, cpu_low=cpu_low)


def trained(seconds: int = 120, interval: float = 1.0, watts: float = 550.0) -> DeviceState:
    """A device that has worked."""
    state = None
    for index in range(int(seconds / interval)):
        state = observe(state, sample(index * interval, watts))
    assert state is not None
    return state


@pytest.mark.parametrize(
    ("watts", "utilization", "expected"),
    [
        (550, 0.9, Activity.BUSY),
        (320, 0.2, Activity.BUSY),  # x = 0.52
        (550, 0.1, Activity.MIXED),
        (270, 0.9, Activity.MIXED),  # x = 0.41
        (150, 1.0, Activity.SPIN),
        (230, 0.95, Activity.SPIN),  # x = 0.33
        (150, 0.5, Activity.MIXED),
        (145, 0.01, Activity.QUIET),
        (72, 0.0, Activity.QUIET),
    ],
)
def test_states_by_power_and_utilization(watts: float, utilization: float, expected: Activity) -> None:
    assert observe(trained(), sample(120, watts, utilization)).activity is expected


def test_one_signal_alone_says_nothing() -> None:
    state = trained()
    assert observe(state, sample(120, None, 1.0)).activity is Activity.UNKNOWN
    assert observe(state, sample(120, 150, None)).activity is Activity.UNKNOWN
    assert observe(state, sample(120, None, None)).activity is Activity.UNKNOWN


@pytest.mark.parametrize(
    ("watts", "cpu_low", "expected"),
    [(550, False, Activity.BUSY), (150, True, Activity.QUIET), (150, False, Activity.QUIET)],
)
def test_power_and_cpu_time_are_two(watts: float, cpu_low: bool, expected: Activity) -> None:
    assert observe(trained(), sample(120, watts, None), cpu_low=cpu_low).activity is expected


@pytest.mark.parametrize(
    ("vendor", "utilization", "packets", "cpu_low", "expected"),
    [
        ("nvidia", 1.0, 90_000, None, Activity.BUSY),
        ("nvidia", 1.0, 0, None, Activity.SPIN),
        ("nvidia", 1.0, None, False, Activity.UNKNOWN),  # busy or spinning: nothing tells
        ("nvidia", 0.0, 0, None, Activity.QUIET),
        ("nvidia", 0.0, 90_000, None, Activity.QUIET),  # whether it transfers data is for its run to weigh
        ("ascend", 0.8, None, False, Activity.BUSY),
        ("ascend", 0.0, None, True, Activity.QUIET),
        ("ascend", None, 0, True, Activity.QUIET),
    ],
)
def test_without_power_traffic_and_cpu_time_tell(
    vendor: str, utilization: float | None, packets: int | None, cpu_low: bool | None, expected: Activity
) -> None:
    state = None
    for second in range(300):
        sent = None if packets is None else packets * second
        state = observe(state, sample(second, None, utilization, vendor=vendor, traffic_packets=sent), cpu_low=cpu_low)
    assert state is not None
    assert state.activity is expected


def test_a_counter_that_is_read_once_a_minute_is_not_taken_for_silence() -> None:
    state = None
    for second in range(600):
        packets = second // 60 * 60 * 90_000
        state = observe(state, sample(second, None, 1.0, traffic_packets=packets))
        if second > 200:
            assert state.activity is Activity.BUSY


def test_a_counter_that_began_anew_gives_no_rate() -> None:
    state = None
    for second in range(300):
        state = observe(state, sample(second, None, 1.0, traffic_packets=90_000 * second))
    state = observe(state, sample(300, None, 1.0, traffic_packets=5))
    assert state.traffic is not None
    assert state.traffic.rate is None
    assert state.activity is Activity.UNKNOWN


@pytest.mark.parametrize("interval", [1.0, 10.0])
def test_time_counts_not_the_number_of_readings(interval: float) -> None:
    state = trained(300, interval)
    assert state.busy_seconds == pytest.approx(300 - 10, abs=2 * interval + 2)
    assert state.power.value == pytest.approx(550, rel=0.03)
    assert state.last_busy == 300 - interval


def test_a_gap_is_not_counted_as_work() -> None:
    state = trained(60)
    busy = state.busy_seconds
    assert observe(state, sample(4000)).busy_seconds == pytest.approx(busy + 2, abs=0.1)


def test_a_reading_that_comes_twice_counts_once() -> None:
    state = trained(60)
    assert observe(state, sample(59)) is state


def test_a_first_collective_that_spins_is_not_taken_for_work() -> None:
    state = None
    for second in range(600):
        state = observe(state, sample(second, 155, 1.0))
    assert state is not None
    assert state.activity is Activity.SPIN
    assert state.busy_seconds == 0


def test_the_level_is_the_p90_of_work_not_of_waiting() -> None:
    state = trained(300)
    for second in range(300, 1500):
        state = observe(state, sample(second, 150, 1.0))
    assert state.power.value == pytest.approx(550, rel=0.03)


def test_short_waits_do_not_pull_the_level_down_where_no_limit_is_told() -> None:
    state = None
    for second in range(1800):
        works = second < 120 or second % 40 < 2
        reading = sample(second, 300 if works else 125, 0.9 if works else 1.0, vendor="ascend", power_limit_watts=None)
        state = activity.observe(state, reading, 95.0, frozen=False, cpu_low=None)
    assert state is not None
    assert state.power.value == pytest.approx(300, rel=0.03)
    assert state.activity is Activity.SPIN


def test_the_level_forgets_within_half_an_hour_of_work_and_not_while_frozen() -> None:
    state = trained(1800)
    for second in range(1800, 1800 + 1800):
        state = observe(state, sample(second, 340), frozen=True)
    assert state.power.value == pytest.approx(550, rel=0.03)
    for second in range(3600, 3600 + 900):
        state = observe(state, sample(second, 340))
    assert state.power.value == pytest.approx(550, rel=0.03)
    for second in range(4500, 4500 + 960):
        state = observe(state, sample(second, 340))
    assert state.power.value == pytest.approx(340, rel=0.03)


def test_the_level_is_the_p90_of_a_varied_load() -> None:
    level = Reference()
    for index in range(1000):
        level = reference.add(level, 300.0 + index % 100, 1.0)
    assert level.value == pytest.approx(390, rel=0.04)
    assert len(level.buckets) < 12


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.07), (0.02, 0.08)])
def test_utilization_that_flickers_around_the_threshold_of_quiet_is_one_state(low: float, high: float) -> None:
    state = trained()
    shown = []
    for second in range(120, 240):
        state = observe(state, sample(second, 142, high if second % 3 == 0 else low))
        shown.append(state.activity)
    assert shown[20:] == [Activity.QUIET] * 100


def test_a_device_that_goes_from_spinning_to_quiet_is_quiet_within_15_s() -> None:
    state = trained()
    for second in range(120, 150):
        state = observe(state, sample(second, 150, 1.0))
    for second in range(150, 165):
        state = observe(state, sample(second, 145, 0.02))
    assert state.activity is Activity.QUIET


def test_idle_power_is_the_models_or_what_was_seen_in_a_day() -> None:
    h100 = sample(0, model="NVIDIA H100 80GB HBM3")
    assert idle.idle_watts(h100, None) == 72
    assert idle.idle_watts(h100, Floor(0.0, 60.0)) == 60
    assert idle.idle_watts(h100, Floor(0.0, 500.0)) == 72
    assert idle.idle_watts(sample(0, model="Some GPU"), None) == 70
    npu = Sample(vendor="ascend", device="0", at=0, model="Something new", power_watts=300)
    assert idle.idle_watts(npu, None) is None
    assert idle.idle_watts(npu, Floor(0.0, 88.0)) == 88


def test_the_floor_forgets_after_a_day() -> None:
    floors: dict[str, Floor] = {}
    floors = idle.observe(floors, [sample(0, 50)])
    floors = idle.observe(floors, [sample(100, 0.0)])
    assert floors["nvidia/0"].least == 50, "0 W is no power"
    for hour in range(1, 26):
        floors = idle.observe(floors, [sample(3600 * hour, 80)])
    assert floors["nvidia/0"].least == 80


def test_a_state_is_kept_as_json() -> None:
    state = trained(300)
    state = observe(state, sample(300, traffic_packets=5, clock_hertz=1.9e9, memory_used_bytes=9))
    assert msgspec.json.decode(msgspec.json.encode(state), type=DeviceState) == state


# The culprit among a node's devices.


def keys(*states: Activity) -> dict[str, Activity]:
    return {str(number): state for number, state in enumerate(states)}


SPIN, QUIET = Activity.SPIN, Activity.QUIET


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((SPIN, QUIET, SPIN, SPIN), Culprit(Rule.MINORITY, "1")),
        ((QUIET, QUIET, SPIN), Culprit(Rule.MINORITY, "2")),
        ((SPIN, QUIET), Culprit(Rule.UNLOCATED)),  # either may be the odd one
        ((SPIN, SPIN, QUIET, QUIET), Culprit(Rule.UNLOCATED)),
        ((SPIN, SPIN, SPIN), Culprit(Rule.UNLOCATED)),
        ((QUIET,) * 8, Culprit(Rule.UNLOCATED)),
    ],
)
def test_the_odd_state_is_the_culprits(states: tuple[Activity, ...], expected: Culprit) -> None:
    last = dict.fromkeys(keys(*states), 100.0)
    assert locate(keys(*states), last, 100.0, causes={}) == expected


@pytest.mark.parametrize(("ahead", "interval", "device"), [(6, 1, "2"), (5, 1, None), (20, 10, None), (21, 10, "2")])
def test_the_first_to_stop_is_named_if_it_is_clear(ahead: float, interval: float, device: str | None) -> None:
    last = {"0": 100.0, "1": 101.0, "2": 100.0 - ahead, "3": 100.0}
    found = locate(keys(SPIN, SPIN, SPIN, SPIN), last, 101.0, causes={}, interval=interval)
    assert found == Culprit(Rule.EARLIEST if device else Rule.UNLOCATED, device)


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        ({"3": 90.0}, Culprit(Rule.CAUSE, "3")),
        ({"3": 90.0, "2": 96.0}, Culprit(Rule.CAUSE, "3")),
        ({"3": 90.0, "2": 94.0}, Culprit(Rule.UNLOCATED)),  # within a tie
        ({None: 95.0}, Culprit(Rule.CAUSE, None)),
        ({"3": -501.0}, Culprit(Rule.MINORITY, "1")),  # more than 10 min before
        ({"3": 131.0}, Culprit(Rule.MINORITY, "1")),  # after the onset
    ],
)
def test_a_fault_at_the_onset_outranks_what_the_devices_show(
    causes: dict[str | None, float], expected: Culprit
) -> None:
    states = keys(SPIN, QUIET, SPIN, SPIN)
    assert locate(states, dict.fromkeys(states, 100.0), 100.0, causes=causes) == expected

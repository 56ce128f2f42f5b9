"""A straggler is told from its peers and from its own past, after four minutes, and never among fewer than four."""

from __future__ import annotations

import csv
import random
import time
from collections.abc import Mapping

import msgspec
import pytest

from accelwatch.runs import slow
from accelwatch.runs.activity import Activity
from accelwatch.runs.sample import Sample
from accelwatch.runs.slow import State, Straggler
from support import CORPUS

USUAL = {"waiting": 0.2, "clock": 1.9e9, "power": 550.0, "temperature": 60.0}


class Node:
    """Devices whose metrics are set, read every second."""

    def __init__(self, devices: int = 8, interval: float = 1.0, noise: float = 0.01) -> None:
        self.devices, self.interval, self.noise = devices, interval, noise
        self.now = 5000.0
        self.state: State | None = None
        self.found: list[tuple[float, tuple[Straggler, ...]]] = []
        self._random = random.Random(3)

    def run(
        self,
        seconds: float,
        but: Mapping[int, Mapping[str, float]] | None = None,
        all_: Mapping[str, float] | None = None,
        **more: object,
    ) -> None:
        """`but`: factors of single devices; `all_`: factors of all of them."""
        for _ in range(round(seconds / self.interval)):
            self.now += self.interval
            readings = {}
            for device in range(self.devices):
                got = {}
                for name, value in USUAL.items():
                    factor = (all_ or {}).get(name, 1.0) * (but or {}).get(device, {}).get(name, 1.0)
                    mean = value * factor
                    if name == "waiting":
                        got[name] = float(self._random.random() < mean)
                    else:
                        got[name] = mean * (1 + self.noise * self._random.uniform(-1, 1))
                readings[str(device)] = got
            self.state, found = slow.step(self.state, readings, self.now, **more)  # type: ignore[arg-type]
            self.found.append((self.now, found))

    @property
    def named(self) -> set[str]:
        return {straggler.device for _, found in self.found for straggler in found}


@pytest.mark.parametrize("interval", [1.0, 10.0])
@pytest.mark.parametrize(
    ("change", "metric"),
    [
        ({"clock": 0.7}, "clock"),
        ({"power": 0.7}, "power"),
        ({"clock": 0.7, "power": 0.75, "temperature": 1.2}, "clock"),
    ],
)
def test_a_device_that_falls_behind_is_named_after_four_minutes(
    change: dict[str, float], metric: str, interval: float
) -> None:
    node = Node(interval=interval)
    node.run(1500)
    begun = node.now
    node.run(600, {3: change})
    at, found = next((at, found) for at, found in node.found if found)
    assert 240 <= at - begun <= 330
    assert [straggler.device for straggler in found] == ["3"]
    last = node.found[-1][1][0]
    assert last.metric == metric
    assert last.difference == pytest.approx(change[metric] - 1, abs=0.03)
    assert set(last.also) == set(change) - {metric}
    assert f"{metric} -" in last.message
    assert last.of_pace is ("clock" in change)  # power alone is no fault


def test_the_one_that_does_not_wait_holds_up_the_others() -> None:
    node = Node()
    node.run(1500)
    node.run(700, {3: {"waiting": 0.0}}, {"waiting": 2.0})
    assert node.named == {"3"}
    assert node.found[-1][1][0].metric == "waiting"


def test_a_rank_that_validates_for_all_is_no_straggler() -> None:
    """It draws more and waits less than those that wait for it."""
    assert not Straggler("3", "power", 0.0, 0.5, 0.0, 50.0, ("waiting",)).of_pace
    assert Straggler("3", "power", 0.0, -0.3, 0.0, -30.0, ("clock",)).of_pace


def test_it_is_over_when_it_keeps_up_again() -> None:
    node = Node()
    node.run(1500)
    node.run(600, {3: {"clock": 0.7}})
    assert node.found[-1][1]
    node.run(300)
    assert not node.found[-1][1]


@pytest.mark.parametrize("change", [{"clock": 0.92}, {"temperature": 1.3}, {"clock": 1.2}, {"waiting": 2.0}])
def test_less_than_a_tenth_a_hot_place_or_a_faster_device_is_none(change: dict[str, float]) -> None:
    node = Node()
    node.run(1500)
    node.run(1500, {3: change})
    assert node.named == set()


def test_less_than_four_minutes_is_none() -> None:
    node = Node()
    node.run(1500)
    for _ in range(3):
        node.run(170, {3: {"clock": 0.7}})
        node.run(400)
    assert node.named == set()


def test_devices_that_have_always_differed_are_none() -> None:
    """Pipeline stages: half of the devices do less, one does more."""
    stages = {0: {"power": 0.6, "waiting": 3.0}, 1: {"power": 0.6}, 2: {"power": 0.8}, 7: {"power": 1.2, "clock": 0.8}}
    node = Node()
    node.run(4000, stages)
    assert node.named == set()


def test_peers_of_a_role_are_compared_with_each_other() -> None:
    roles = {str(n): "first" if n < 4 else "last" for n in range(8)}
    first = {n: {"power": 0.6} for n in range(4)}
    node = Node()
    node.run(1500, first, roles=roles)
    node.run(600, {**first, 2: {"power": 0.45}}, roles=roles)
    assert node.named == {"2"}


def test_among_fewer_than_four_nobody_is_named() -> None:
    node = Node(devices=3)
    node.run(1500)
    node.run(900, {2: {"clock": 0.5}})
    assert node.named == set()


def test_a_change_on_all_devices_is_none() -> None:
    node = Node()
    node.run(1500)
    node.run(900, all_={"clock": 0.5, "power": 0.5})
    assert node.named == set()


def test_a_new_run_is_not_judged_in_its_first_ten_minutes() -> None:
    node = Node()
    node.run(300)
    node.run(290, {3: {"clock": 0.5}})
    assert node.named == set()


def test_validation_on_one_device_while_the_others_wait_is_none() -> None:
    node = Node()
    node.run(1500)
    for _ in range(3):
        node.run(900, {0: {"waiting": 0.0}, **{n: {"waiting": 5.0, "power": 0.3} for n in range(1, 8)}})
        node.run(300)
    assert node.named == set()


def test_nothing_is_learned_or_said_anew_while_the_run_stalls() -> None:
    node = Node()
    node.run(1500)
    node.run(900, {3: {"power": 0.3}}, stalled=True)
    assert node.named == set()


def test_readings_are_taken_from_samples() -> None:
    sample = Sample(vendor="nvidia", device="0", at=1.0, power_watts=500.0, temperature_celsius=60.0)
    assert slow.values(sample, Activity.SPIN) == {"power": 500.0, "temperature": 60.0, "waiting": 1.0}
    assert slow.values(sample, Activity.UNKNOWN) == {"power": 500.0, "temperature": 60.0}


def test_the_state_is_kept_as_json_and_small() -> None:
    node = Node(devices=16)
    node.run(700)
    kept = msgspec.json.encode(node.state)
    assert msgspec.json.decode(kept, type=State) == node.state
    assert len(kept) < 16_000


def test_sixteen_devices_cost_less_than_a_millisecond_or_so() -> None:
    node = Node(devices=16)
    node.run(10)
    readings = {str(device): dict(USUAL) for device in range(16)}
    begun = time.perf_counter()
    state = node.state
    for second in range(200):
        state, _ = slow.step(state, readings, node.now + second)
    assert (time.perf_counter() - begun) / 200 < 0.003


def replayed(job: int, seconds_a_step: float) -> set[str]:
    """The workers' measured times of a step, each as long as said: the trace tells steps, not seconds."""
    path = CORPUS / "traces" / f"alibaba_pai_minibatch_job{job}.csv"
    if not path.exists():
        pytest.skip("the corpus of traces is not here")
    by_step: dict[int, dict[str, dict[str, float]]] = {}
    with path.open() as text:
        for row in csv.DictReader(text):
            worker = by_step.setdefault(int(row["time"]), {})
            worker.setdefault(row["worker"], {"step_time": float(row["batch_time_norm"])})
    state, named = None, set()
    for number in sorted(by_step):
        state, found = slow.step(state, by_step[number], number * seconds_a_step)
        named |= {straggler.device for straggler in found}
    return named


def test_the_worker_of_a_real_job_that_became_a_straggler_is_named_and_no_other() -> None:
    assert replayed(1, 3.0) == {"6"}


def test_the_same_stretch_is_none_where_it_would_last_two_minutes() -> None:
    assert replayed(1, 1.0) == set()


@pytest.mark.parametrize("seconds_a_step", [1.0, 3.0, 10.0])
def test_workers_of_a_real_job_that_always_differed_are_not(seconds_a_step: float) -> None:
    assert replayed(2, seconds_a_step) == set()

"""Hours of ordinary work in random order raise no alarm; a hang put into them at random is found in time."""

from __future__ import annotations

import random

import msgspec
import pytest

from accelwatch.runs.stall import Level, State
from run_bench import Bench

KINDS = pytest.mark.parametrize(("vendor", "interval"), [("nvidia", 1.0), ("ascend", 10.0)])


def idle_watts(bench: Bench) -> float:
    return 72.0 if bench.vendor == "nvidia" else 95.0


class Life:
    """A run as it goes on, with the power that it draws just now."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        self.cap = 1.0
        self.waits = [0.0]

    @property
    def train(self):
        train = self.bench.phases["train"]
        idle = idle_watts(self.bench)
        return train.but(watts=idle + (train.watts - idle) * self.cap)

    @property
    def wait(self):
        return self.bench.phases["spin" if self.bench.vendor == "nvidia" else "quiet"]

    def begin(self) -> None:
        """New processes: start, compile, first steps."""
        self.bench.pids = tuple(self.random.sample(range(1000, 9000), 3))
        self.bench.run(
            self.random.randint(30, 900), self.bench.phases["context"].but(cpu=self.random.choice([0.1, 2.0]))
        )
        self.work(300)

    def work(self, least: int = 60) -> None:
        self.bench.run(self.random.randint(least, least + 600), self.train)

    def save(self) -> None:
        """Short ones leave no trace of what they write (a remote store), long ones do."""
        seconds = self.random.randint(5, 700)
        saving = self.bench.phases["quiet"].but(written=200e6 if seconds > 90 else 0.0, cpu=0.9)
        self.waits.append(seconds)
        self.bench.run(seconds, self.wait, {0: saving})

    def validate(self) -> None:
        seconds = self.random.randint(30, 900)
        if self.random.random() < 0.5:
            self.bench.run(seconds, self.wait, {0: self.train})
        else:
            train = self.train
            idle = idle_watts(self.bench)
            self.bench.run(seconds, train.but(watts=idle + (train.watts - idle) * 0.6, utilization=0.6))

    def starve(self) -> None:
        seconds = self.random.randint(5, 800)
        self.waits.append(seconds)
        self.bench.run(seconds, self.bench.phases["context"].but(cpu=0.4, read=5e6))

    def recap(self) -> None:
        """A power cap that takes up to 40 %, or is lifted."""
        self.cap = self.random.uniform(0.6, 1.0)
        self.work()

    def restart_agent(self) -> None:
        """Half a minute without the agent."""
        self.bench.state = msgspec.json.decode(msgspec.json.encode(self.bench.state), type=State)
        self.bench.now += 30

    def rest(self) -> None:
        """The job ends, the devices are idle, another one comes."""
        self.bench.run(self.random.randint(10, 1200), "idle")
        self.cap, self.waits = 1.0, [0.0]
        self.bench.state = None
        self.begin()

    def go_on(self, hours: float) -> None:
        end = self.bench.now + hours * 3600
        acts = [self.save, self.save, self.validate, self.starve, self.recap, self.restart_agent, self.rest]
        while self.bench.now < end:
            self.random.choice(acts)()
            self.work()


@KINDS
@pytest.mark.parametrize("seed", range(3))
def test_ordinary_work_raises_no_alarm(vendor: str, interval: float, seed: int) -> None:
    bench = Bench(vendor=vendor, interval=interval, devices=4)
    life = Life(bench, seed)
    life.begin()
    life.go_on(8)
    assert bench.highest is Level.NONE


@KINDS
@pytest.mark.parametrize("seed", range(8))
def test_a_hang_in_ordinary_work_is_found_in_time(vendor: str, interval: float, seed: int) -> None:
    bench = Bench(vendor=vendor, interval=interval, devices=4)
    life = Life(bench, 100 + seed)
    life.begin()
    life.go_on(1)
    life.work(300)
    assert bench.highest is Level.NONE
    onset = bench.now
    threshold = min(max(300.0, 3 * max(life.waits)), 1800.0)
    bench.run(threshold + 60, life.wait, {1: "quiet"})
    warned, flagged = bench.first(Level.WARN), bench.first(Level.HANG)
    assert warned is not None
    assert flagged is not None
    assert warned - onset <= 200
    assert flagged - onset <= bench.verdict.threshold + 30
    assert bench.verdict.threshold <= threshold + 6 * interval
    assert bench.verdict.since == pytest.approx(onset, abs=interval + 5)

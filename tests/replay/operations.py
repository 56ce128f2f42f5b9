"""What else happens to a node in a month: restarts, reboots, clocks that step, sources that stumble, caps, upgrades."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .machine import DAY

if TYPE_CHECKING:
    from .month import Replay

# How often in 30 days; of each at least one in any time.
PER_MONTH = {
    "agent restarted": 24,
    "node rebooted": 4,
    "cable swapped": 2,
    "driver upgraded": 2,
    "clock stepped by NTP": 15,
    "clock an hour ahead": 1,
    "clock an hour back": 1,
    "poll timed out": 15,
    "polls late": 20,
    "power cap": 20,
    "clocks set": 20,
    "warmth": 30,
    "at default intervals": 60,
}
Event = tuple[float, str, Callable[[], None]]


class Operations:
    """Does each of them to a node."""

    def __init__(self, replay: Replay, rng: random.Random, dense_seconds: float) -> None:
        self.replay, self.machine, self.rng = replay, replay.machine, rng
        self.dense_seconds = dense_seconds

    def all(self) -> dict[str, Callable[[], None]]:
        """By the names of `PER_MONTH`."""
        return {
            "agent restarted": lambda: self.replay.restart_agent(self.rng.choice((5, 20, 90, 600))),
            "node rebooted": self.reboot,
            "cable swapped": self.swap_cable,
            "driver upgraded": self.upgrade_driver,
            "clock stepped by NTP": lambda: self.step_clock(self.rng.uniform(-0.9, 0.9)),
            "clock an hour ahead": lambda: self.step_clock(3600.0),
            "clock an hour back": lambda: self.step_clock(-3600.0),
            "poll timed out": self.mute,
            "polls late": lambda: self.replay.advance(self.rng.uniform(12, 35)),
            "power cap": self.cap,
            "clocks set": self.set_clocks,
            "warmth": self.warm,
            "at default intervals": lambda: self.replay.run(self.rng.uniform(0.2, 1) * self.dense_seconds, dense=True),
        }

    def drain(self) -> None:
        self.machine.drained = True
        self.replay.core.exits(self.machine.end_all())
        self.replay.run(self.rng.uniform(60, 600))

    def reboot(self) -> None:
        self.drain()
        self.replay.commit(everything=True)
        self.machine.reboot()
        self.replay.start_anew()
        self.replay.run(120, dense=True)
        self.machine.drained = False

    def swap_cable(self) -> None:
        """The node is drained, a cable is pulled, the node rebooted meanwhile, and the new cable plugged."""
        self.drain()
        port = self.machine.ports[0]
        port.set_up(False, self.machine.monotonic)
        self.replay.run(self.rng.uniform(120, 900))
        self.replay.commit(everything=True)
        self.machine.reboot()
        self.replay.start_anew()
        self.replay.run(self.rng.uniform(60, 400))
        port.set_up(True, self.machine.monotonic)
        self.replay.run(120)
        self.machine.drained = False

    def upgrade_driver(self) -> None:
        """An operator has the agent let go of NVML, and exchanges the driver; npu-smi just fails for some minutes."""
        self.drain()
        nvidia = self.machine.nvidia
        for _ in range(int(self.rng.uniform(20, 60) if nvidia else self.rng.uniform(6, 25))):
            self.replay.advance(10.0)
            error = "released by an operator" if nvidia else "npu-smi info: dcmi model initialized failed"
            self.replay.core.silent(self.replay.list_source, error, released=nvidia)
            self.replay.read("processes", self.machine.processes)
            self.replay.end_round()
        self.machine.reload_driver("570.133.20" if self.machine.nvidia else "25.2.0")
        self.replay.full = ()
        self.replay.run(60, dense=True)
        self.machine.drained = False

    def step_clock(self, seconds: float) -> None:
        self.machine.wall += seconds

    def mute(self) -> None:
        """One poll of one source runs into its deadline."""
        sources = (self.replay.list_source, "rdma" if self.machine.nvidia else "hccn_tool", "processes")
        self.replay.muted[self.rng.choice(sources)] = 1

    def cap(self) -> None:
        share = self.rng.choice((1.0, 0.8, 0.65, 0.5))
        for board in self.machine.boards:
            board.limit = board.model.limit * share

    def set_clocks(self) -> None:
        share = self.rng.choice((1.0, 0.9, 0.75, 0.6))
        for board in self.machine.boards:
            board.clock_cap = share

    def warm(self) -> None:
        """Up to 25 degrees more than in winter: below the limit of slowing down."""
        degrees = self.rng.uniform(0, 25)
        for board in self.machine.boards:
            board.summer = degrees


def events(replay: Replay, days: float, rng: random.Random, dense_seconds: float) -> Iterator[Event]:
    """Of a whole time of so many days: when, what, and how; not in order."""
    how = Operations(replay, rng, dense_seconds).all()
    for what, per_month in PER_MONTH.items():
        for _ in range(max(1, round(per_month * days / 30))):
            yield rng.uniform(0.02, 0.97) * days * DAY, what, how[what]

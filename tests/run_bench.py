"""A run on one node, made up phase by phase and fed to the stall detector with a clock that is set."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from accelwatch.runs import idle, stall
from accelwatch.runs.sample import Sample, Work
from accelwatch.runs.stall import Level, State, Verdict

READ_PROCESSES_SECONDS = 5.0


@dataclass(frozen=True)
class Phase:
    """What each device and its process does; rates are per second and device."""

    watts: float | None
    utilization: float | None
    cpu: float | None = 1.0
    read: float = 0.0
    written: float = 0.0
    packets: float | None = None
    clock: float | None = None
    throttled: bool | None = None
    memory: int | None = 60 << 30
    state: str = "running"

    def but(self, **changes: object) -> Phase:
        return replace(self, **changes)  # type: ignore[arg-type]


# Levels of the H100 traces (reference/reliability.md 4.2) and of an Ascend 910B.
NVIDIA = {
    "idle": Phase(72, 0.0, 0.0, memory=1 << 20),
    "context": Phase(122, 0.0, 0.9),
    "train": Phase(550, 0.9, 1.0, read=5e6),
    "spin": Phase(153, 1.0, 1.0),
    "quiet": Phase(145, 0.01, 0.02),
}
ASCEND = {
    "idle": Phase(95, 0.0, 0.0, memory=3 << 30),
    "context": Phase(99, 0.0, 0.9),
    "train": Phase(300, 0.85, 1.0, read=5e6),
    "spin": Phase(125, 1.0, 1.0),
    "quiet": Phase(108, 0.0, 0.02),
}


@dataclass
class Bench:
    """`devices` of one vendor, read every `interval` seconds; the detector steps every second."""

    vendor: str = "nvidia"
    devices: int = 8
    interval: float = 1.0
    world_size: int | None = 8
    noise: float = 0.02
    limit: float | None = 700.0
    model: str = "NVIDIA H100 80GB HBM3"
    keep: Callable[[float], bool] = lambda _now: True  # whether a reading of that moment arrives
    pids: tuple[int, ...] = (1, 2, 3)
    cause: bool = False
    now: float = 10_000.0
    state: State | None = None
    results: list[tuple[float, Verdict]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(7)
        self._floors: dict[str, idle.Floor] = {}
        self._samples: dict[int, Sample] = {}
        self._sums = {device: [0.0, 0.0, 0.0, 0.0] for device in range(self.devices)}
        self._work: Work | None = None
        self._read_at = self._random.uniform(0, self.interval)
        if self.vendor == "ascend":
            self.limit, self.model = None, "910B3"

    @property
    def phases(self) -> dict[str, Phase]:
        return NVIDIA if self.vendor == "nvidia" else ASCEND

    @property
    def verdict(self) -> Verdict:
        return self.results[-1][1]

    def key(self, device: int) -> str:
        return f"{self.vendor}/{device}"

    def run(self, seconds: float, phase: str | Phase, but: Mapping[int, str | Phase] | None = None) -> None:
        """All devices do `phase`, those in `but` something else."""
        for _ in range(round(seconds)):
            self.now += 1
            plan = {device: (but or {}).get(device, phase) for device in range(self.devices)}
            now = {device: self.phases[p] if isinstance(p, str) else p for device, p in plan.items()}
            for device, doing in now.items():
                sums = self._sums[device]
                for index, rate in enumerate((doing.cpu, doing.read, doing.written, doing.packets)):
                    sums[index] += rate or 0.0
            self._read(now)
            self._step()

    def start(self, seconds: float = 900) -> None:
        """Comes up and trains."""
        self.run(120, "context")
        self.run(seconds, "train")

    def _read(self, now: dict[int, Phase]) -> None:
        if self._work is None or self.now - self._work.at >= READ_PROCESSES_SECONDS:
            known = all(doing.cpu is not None for doing in now.values())
            cpu, read, written, _ = (sum(sums[index] for sums in self._sums.values()) for index in range(4))
            self._work = Work(
                at=self.now,
                pids=self.pids,
                devices=tuple(self.key(device) for device in range(self.devices)),
                world_size=self.world_size,
                cpu_seconds=cpu if known else None,
                read_bytes=int(read) if known else None,
                written_bytes=int(written) if known else None,
                states=tuple(doing.state for doing in now.values()),
            )
        if self.now < self._read_at:
            return
        while self._read_at <= self.now:
            self._read_at += self.interval
        if not self.keep(self.now):
            return
        for device, doing in now.items():
            factor = 1 + self.noise * self._random.uniform(-1, 1)
            self._samples[device] = Sample(
                vendor=self.vendor,
                device=str(device),
                at=self.now,
                model=self.model,
                power_watts=None if doing.watts is None else round(doing.watts * factor, 1),
                power_limit_watts=self.limit,
                utilization_ratio=doing.utilization,
                clock_hertz=doing.clock,
                throttled=doing.throttled,
                traffic_packets=None if doing.packets is None else int(self._sums[device][3]),
                memory_used_bytes=doing.memory,
            )

    def _step(self) -> None:
        assert self._work is not None
        samples = list(self._samples.values())
        self._floors = idle.observe(self._floors, samples)
        work = self._work
        if work.pids != self.pids:
            self._work = work = Work(
                at=self.now, pids=self.pids, devices=work.devices, world_size=self.world_size, states=work.states
            )
        self.state, verdict = stall.step(
            self.state, samples, work, self.now, floors=self._floors, active_cause=self.cause
        )
        self.results.append((self.now, verdict))

    def first(self, level: Level, after: float = 0.0) -> float | None:
        """When the level was reached."""
        return next((at for at, v in self.results if at > after and v.level is not None and v.level >= level), None)

    @property
    def highest(self) -> Level:
        """The worst that was said."""
        return max((v.level for _, v in self.results if v.level is not None), default=Level.NONE)

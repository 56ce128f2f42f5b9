"""Ordinary work of a node, second by second: what jobs ask of their devices, and what their processes do meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from accelwatch.readings.identity import Vendor
from accelwatch.readings.process import HostProcess, Launcher, ProcessExit, RunIdentity

from .boards import GIB, Board, Load

TERM, KILL, ABORT = 15, 9, 6
WORKERS = 2  # data-loader processes of a rank


@dataclass
class Phase:
    """What a job does for `seconds`. Fields of `Kind` that vary are drawn when it begins."""

    name: str
    seconds: float
    rank: int = 0  # the one that saves or validates for all
    period: float = 0.0  # of swings
    depth: float = 0.0
    quiet_writes: float = 0.0  # seconds of a save before the first byte is written


@dataclass
class Rank:
    """A process of a job, with its data-loader workers."""

    pid: int
    device: int
    number: int
    instance: int
    cpu: float = 0.0
    read: int = 0
    written: int = 0
    workers_cpu: float = 0.0
    workers_read: int = 0


@dataclass
class Job:
    """`world`: ranks over all nodes, `None` where no launcher tells it. `end`: how it ends."""

    name: str
    kind: str  # train, notebook, inference
    devices: list[int]
    world: int | None
    launcher: str
    phases: Iterator[Phase]
    end: str
    rng: random.Random
    base_pid: int
    first_rank: int = 0
    process_each: bool = True  # a rank for each device; else one process for all
    ranks: list[Rank] = field(default_factory=list)
    started: float = 0.0
    phase: Phase | None = None
    left: float = 0.0
    power: float = 0.92  # of the way from idle to what training draws
    over: bool = False
    loaders: bool = False

    def begin(self, wall: float, ticks: int) -> None:
        self.started = wall
        holders = self.devices if self.process_each else self.devices[:1]
        self.ranks = [
            Rank(self.base_pid + 10 * n, device, self.first_rank + n, ticks + n) for n, device in enumerate(holders)
        ]
        self.loaders = self.kind == "train" and self.rng.random() < 0.8
        self.power = self.rng.uniform(0.75, 1.0)
        self._next()

    def _next(self) -> None:
        self.phase = next(self.phases, None)
        self.left = self.phase.seconds if self.phase is not None else 0.0
        self.over = self.phase is None

    @property
    def steady(self) -> bool:
        """Whether it does for minutes what it did before; swings are looked at more often."""
        phase = self.phase
        goes_on = phase is not None and phase.name in ("train", "idle", "serve") and not phase.period
        return goes_on and phase is not None and self.left > 60 and phase.seconds - self.left > 240

    def step(self, boards: Sequence[Board], seconds: float) -> None:
        """Time passes."""
        while self.phase is not None and self.left <= 0:
            self._next()
        if self.phase is None:
            return
        self.left -= seconds
        for n, device in enumerate(self.devices):
            board = boards[device]
            board.load = self._load(self.phase, n, board)
        for n, rank in enumerate(self.ranks):
            self._host(self.phase, n, rank, seconds, boards[rank.device].model.vendor is Vendor.NVIDIA)

    # --- devices

    def _load(self, phase: Phase, n: int, board: Board) -> Load:
        model, rng = board.model, self.rng
        held = int(model.memory * 0.78)
        wait = Load(model.context + rng.uniform(0, 4), rng.choice((0.0, 0.0, 0.01, 0.02)), held)
        spin = wait
        if model.vendor is Vendor.NVIDIA:
            spin = Load(model.spin + rng.uniform(-4, 4), rng.choice((1.0, 1.0, 0.99)), held)
        full = model.idle + self.power * (min(model.full, board.limit) - model.idle) * board.clock_cap
        done, above = phase.seconds - self.left, full - model.idle
        if phase.name in ("compile", "save_all", "data", "idle"):
            if phase.name == "compile":
                wait.memory = int(held * min(1.0, 0.1 + done / phase.seconds))
            return wait
        if phase.name == "train":
            if phase.period and done % phase.period < phase.depth:  # the optimizer, a bubble, a long collective
                return Load(spin.power * rng.uniform(1.0, 1.5), spin.utilization, held, 40_000)
            return Load(min(full * rng.uniform(0.95, 1.03), board.limit), rng.uniform(0.88, 1.0), held, 90_000)
        if phase.name in ("save_one", "validate_one", "elsewhere"):
            if n != phase.rank or phase.name == "elsewhere":
                return spin
            return wait if phase.name == "save_one" else Load(model.idle + 0.72 * above, rng.uniform(0.6, 0.9), held)
        share, utilization, packets = {
            "ramp": (max(0.2, min(1.0, done / phase.seconds)), 0.93, 60_000),
            "validate": (0.68, rng.uniform(0.6, 0.85), 20_000),
            "serve": (rng.uniform(0.3, 0.9), rng.uniform(0.3, 1.0), 0),
        }[phase.name]
        return Load(model.idle + share * above, utilization, held, packets)

    # --- the host's side

    def _host(self, phase: Phase, n: int, rank: Rank, seconds: float, nvidia: bool) -> None:
        rng, done = self.rng, phase.seconds - self.left
        polling = 1.0 if nvidia else 0.04  # a rank that waits in a collective
        cpu, read, written, workers = polling, 0.0, 0.0, 0.05
        match phase.name:
            case "compile":
                cpu, read = rng.uniform(1.5, 6.0), 2e6
            case "train" | "ramp" | "validate" | "validate_one":
                cpu, workers, read = rng.uniform(0.8, 1.2), 0.6, 15e6
            case "save_one":
                if n == phase.rank:
                    cpu = rng.uniform(0.6, 1.0)
                    written = rng.uniform(3e8, 1.5e9) if done > phase.quiet_writes else 0.0
            case "save_all":
                cpu = rng.uniform(0.6, 1.0)
                written = rng.uniform(1e8, 5e8) if done > phase.quiet_writes else 0.0
            case "data":
                cpu, workers, read = 0.03, 1.0, rng.uniform(5e6, 6e7)
            case "idle":
                cpu = 0.01
            case "serve":
                cpu = rng.uniform(0.3, 1.2)
        rank.cpu += cpu * seconds
        rank.written += int(written * seconds)
        if self.loaders:
            rank.workers_cpu += workers * WORKERS * seconds
            rank.workers_read += int(read * seconds)
        else:
            rank.read += int(read * seconds)
            rank.cpu += (workers if phase.name == "data" else 0.0) * WORKERS * seconds

    def processes(self, node: str) -> list[HostProcess]:
        """As /proc shows them: `node` is the name of a device node, nvidia or davinci."""
        launcher = Launcher(pid=self.base_pid - 5, name=self.launcher, group=self.base_pid - 5, instance=self.base_pid)
        found = []
        every = tuple(f"{node}{device}" for device in self.devices)
        for rank in self.ranks:
            run = None
            if self.world is not None:
                slurm = self.launcher in ("slurmstepd", "srun")
                run = RunIdentity(
                    run_id=self.name,
                    base="0" if slurm else "",
                    launcher="slurm" if slurm else "torchrun",
                    partition="train" if slurm else "",
                    rank=rank.number,
                    local_rank=rank.device,
                    world_size=self.world,
                )
            # A process of CUDA opens the nodes of all GPUs that it may see, one of CANN only its own.
            nodes = every if node == "nvidia" or not self.process_each else (f"{node}{rank.device}",)
            common = {"group": launcher.group, "session": launcher.group, "launcher": launcher, "run": run}
            found.append(
                HostProcess(
                    pid=rank.pid,
                    name="python3",
                    started=self.started,
                    state="running" if self.phase is not None and self.phase.name != "idle" else "sleeping",
                    cpu_seconds=round(rank.cpu, 2),
                    read_bytes=rank.read,
                    written_bytes=rank.written,
                    devices=nodes,
                    instance=rank.instance,
                    parent=launcher.pid,
                    **common,
                )
            )
            found += (
                HostProcess(
                    pid=rank.pid + worker,
                    name="python3",
                    started=self.started + 60,
                    state="running",
                    cpu_seconds=round(rank.workers_cpu / WORKERS, 2),
                    read_bytes=rank.workers_read // WORKERS,
                    written_bytes=0,
                    devices=nodes,  # forked: they hold what their parent had open
                    instance=rank.instance + 10_000 + worker,
                    parent=rank.pid,
                    **common,
                )
                for worker in range(1, WORKERS * self.loaders + 1)
            )
        return found

    def exits(self, monotonic: float, wall: float) -> list[ProcessExit]:
        """How its ranks end, in the order in which they do."""
        first = self.rng.randrange(len(self.ranks))
        found = []
        for n, rank in enumerate(self.ranks):
            how: dict[str, int] = {"code": 0}
            late = 0.02 * n
            if self.end == "term":
                how = {"signal": TERM}
            elif self.end in ("error", "xid"):
                how, late = ({"code": 1}, 0.0) if n == first else ({"signal": TERM}, 2.0)
            elif self.end == "segfault":
                how, late = ({"signal": 11}, 0.0) if n == first else ({"signal": TERM}, 2.0)
            found.append(ProcessExit(pid=rank.pid, at=monotonic + late, wall=wall + late, **how))
        return found


OUTCOMES = {"done": "completed", "term": "killed", "error": "failed", "xid": "failed", "segfault": "failed"}


def training(rng: random.Random, hours: float, devices: int) -> Iterator[Phase]:
    """Compile, ramp, then steps with all that comes between them."""
    yield Phase("compile", rng.uniform(60, 900))
    yield Phase("ramp", rng.choice((20, 60, 300, 600)))
    left = hours * 3600.0
    swing = rng.choice((0.0, 0.0, 12.0, 31.0, 45.0))
    depth = swing * rng.choice((0.1, 0.2, 0.3))
    one = rng.random() < 0.6  # who saves: one rank for all, or every rank its part
    every = rng.uniform(600, 2700)
    while left > 0:
        length = min(left, every * rng.uniform(0.8, 1.2))
        yield Phase("train", length, period=swing, depth=depth)
        left -= length
        if left <= 0:
            break
        yield from between(rng, one, devices)
    yield Phase("save_one" if one else "save_all", rng.uniform(15, 76))


def between(rng: random.Random, one: bool, devices: int) -> Iterator[Phase]:
    """What comes between two stretches of steps."""
    minutes = rng.random() < 0.06
    length = rng.uniform(120, 600) if minutes else rng.uniform(15, 76)
    yield Phase("save_one" if one else "save_all", length, rng.randrange(devices), quiet_writes=rng.uniform(0, 25))
    chance = rng.random()
    if chance < 0.15:
        yield Phase("validate", rng.uniform(60, 900))
    elif chance < 0.27:
        yield Phase("validate_one", rng.choice((rng.uniform(30, 170), rng.uniform(200, 1500))))
    elif chance < 0.37:
        yield Phase("data", rng.choice((rng.uniform(20, 170), rng.uniform(180, 840))))
    elif chance < 0.45:
        yield Phase("elsewhere", rng.uniform(15, 76))
    if rng.random() < 0.3:
        yield Phase("ramp", rng.choice((20, 60, 120)))


def notebook(rng: random.Random, hours: float) -> Iterator[Phase]:
    """Bursts, and hours in which its memory is held by somebody who thinks."""
    left = hours * 3600.0
    while left > 0:
        for phase in (
            Phase("train", rng.choice((rng.uniform(5, 90), rng.uniform(300, 2400)))),
            Phase("idle", rng.choice((rng.uniform(20, 400), rng.uniform(1200, 14_000)))),
        ):
            left -= phase.seconds
            yield phase


def inference(rng: random.Random, hours: float) -> Iterator[Phase]:
    """By day nearly always at work, by night in bursts; no training."""
    left = hours * 3600.0
    while left > 0:
        day = rng.random() < 0.5
        until = left - rng.uniform(3600, 4 * 3600)
        while left > max(until, 0):
            for phase in (
                Phase("serve", rng.uniform(30, 400) if day else rng.uniform(3, 40)),
                Phase(
                    "idle", rng.uniform(2, 40) if day else rng.choice((rng.uniform(20, 250), rng.uniform(400, 3000)))
                ),
            ):
                left -= phase.seconds
                yield phase


def memory_of(job: Job, board: Board) -> int:
    """What the driver says that a process of the job holds."""
    return max(board.load.memory, GIB)

"""How much slower a process runs on a core that the agent is put on too: `make bench-jitter`, and part of `make bench`.

Pairs of equal times, with the agent and with it stopped, in the order with, without, without, with: what drifts falls out.
The agent is pinned to the very core of its neighbour, which no scheduler would do to it while another core is free.
"""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from measure import SETTLE_SECONDS
from processes import spent
from scrapes import answered, until
from subjects import Subject, agent, simulated_hosts
from trainer import COUNT

from accelwatch.simulator.cluster import _free_ports

# Of one pair the slowdown wavers by about one percent on a shared machine: fifty tell 0.3 from nothing.
DEVICES, PAIRS, SECONDS = 16, 50, 5.0
SCRAPE_SECONDS = 5.0  # a scrape in each time, where a Prometheus makes one in 15 s
# What came due while it was stopped is made up for by then.
RESUMED_SECONDS = 4.0
LIMIT_PERCENT = 1.0
UNIT = Path(__file__).resolve().parents[2] / "systemd" / "accelwatch.service"
# The commands that do to a process what a setting of the unit does.
_COMMANDS = {
    "Nice": lambda value: ["nice", "-n", value],
    "IOSchedulingClass": lambda value: ["ionice", "-c", {"idle": "3", "best-effort": "2", "realtime": "1"}[value]],
    "CPUSchedulingPolicy": lambda value: ["chrt", f"--{value}", "0"],
}


@dataclass(frozen=True)
class Window:
    """Over one time: the neighbour's steps per second, and the shares of it that it had and waited for its core.

    `agent`: the share of it that the agent had of the same core.
    """

    rate: float
    running: float
    waiting: float
    agent: float = 0.0


@dataclass(frozen=True)
class Beside:
    """Slowdowns in percent, one for each pair."""

    slowdowns: list[float]
    waited: list[float]  # percent of the time, more than without the agent
    steps: list[float]  # percent of processor time per step, more than without
    taken: list[float]  # percent of the time in which the agent had the core
    settings: Mapping[str, str]

    @property
    def half_width(self) -> float:
        """Of the two-sided 95 % interval of the mean: what can be told from nothing."""
        from scipy import stats

        error = statistics.stdev(self.slowdowns) / math.sqrt(len(self.slowdowns))
        return float(stats.t.ppf(0.975, len(self.slowdowns) - 1)) * error

    @property
    def upper(self) -> float:
        """The upper end of that interval."""
        return statistics.fmean(self.slowdowns) + self.half_width

    @property
    def kept(self) -> bool:
        """Whether it is shown to be within the limit."""
        return self.upper <= LIMIT_PERCENT

    def text(self) -> list[str]:
        """For people."""
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return [
            f"A neighbour bound to one core, with an agent of {DEVICES} GPUs bound to the same core and with it stopped, in"
            f" {len(self.slowdowns)} pairs of {SECONDS:g} s; the agent is scraped every {SCRAPE_SECONDS:g} s and has the"
            f" unit's {settings}.",
            "",
            "| | percent |",
            "|---|---|",
            f"| slowdown, mean of pairs | {statistics.fmean(self.slowdowns):.2f} |",
            f"| upper end of its 95 % interval (at most {LIMIT_PERCENT:g}) | {self.upper:.2f}, {'met' if self.kept else 'missed'} |",
            f"| resolution: half the width of that interval | {self.half_width:.2f} |",
            f"| single pairs, least and greatest | {min(self.slowdowns):.2f} and {max(self.slowdowns):.2f} |",
            f"| the agent had the core, mean (also on a busy machine) | {statistics.fmean(self.taken):.2f} |",
            f"| of the slowdown waiting for the core, mean | {statistics.fmean(self.waited):.2f} |",
            f"| of the slowdown slower steps (caches), mean | {statistics.fmean(self.steps):.2f} |",
        ]


def unit_settings() -> dict[str, str]:
    """Those of the unit that a process can be given without systemd."""
    pairs = (line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: value for name, value in pairs if name in _COMMANDS}


class Neighbour:
    """A process that counts its steps."""

    def __init__(self, directory: Path, core: int) -> None:
        self._file = directory / "steps"
        self._file.write_bytes(bytes(COUNT.size))
        script = str(Path(__file__).with_name("trainer.py"))
        self._process = subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, script, str(self._file)],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        until("the neighbour's first steps", lambda: self._count() > 1000)

    def watch(self, seconds: float) -> Window:
        """What it does from now on."""
        began, count, (ran, waited) = time.monotonic(), self._count(), self._schedstat()
        time.sleep(seconds)
        took, now, (ran_now, waited_now) = time.monotonic() - began, self._count(), self._schedstat()
        return Window((now - count) / took, (ran_now - ran) / took, (waited_now - waited) / took)

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def _count(self) -> int:
        return int(COUNT.unpack(self._file.read_bytes())[0])

    def _schedstat(self) -> tuple[float, float]:
        """Seconds on a core, and seconds of waiting for one."""
        ran, waited, _ = Path(f"/proc/{self._process.pid}/schedstat").read_text().split()
        return int(ran) / 1e9, int(waited) / 1e9


@contextmanager
def _scraped(port: int) -> Iterator[None]:
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(SCRAPE_SECONDS):
            answered(port, "/metrics")

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _beside(subject: Subject, neighbour: Neighbour) -> Window:
    before = spent(subject.pids)
    window = neighbour.watch(SECONDS)
    return replace(window, agent=spent(subject.pids).share(before))


def measure(pairs: int = PAIRS) -> Beside:
    """Takes 12 s a pair. Raises `AssertionError` on a machine of one core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise AssertionError(
            "interference is measured on one core while another does the simulation: this machine has one"
        )
    core, settings = cores[0], unit_settings()
    os.sched_setaffinity(0, cores[1:])  # ours, and those of all that we start
    try:
        with tempfile.TemporaryDirectory() as scratch:
            directory, (port,) = Path(scratch), _free_ports(1)
            with simulated_hosts(directory, DEVICES, {"nvidia-healthy": port}):
                subject = agent("nvidia-healthy", directory, DEVICES, port)
                wrapped = [word for name, value in settings.items() for word in _COMMANDS[name](value)]
                subject.argv = [*wrapped, "taskset", "-c", str(core), *subject.argv]
                neighbour = Neighbour(directory, core)
                try:
                    subject.start()
                    for pid in subject.pids:  # its helper too
                        os.sched_setaffinity(pid, {core})
                    time.sleep(SETTLE_SECONDS)
                    found = _pairs(subject, neighbour, pairs)
                finally:
                    subject.stop()
                    neighbour.close()
    finally:
        os.sched_setaffinity(0, cores)
    return Beside(
        slowdowns=[100 * (1 - on.rate / off.rate) for on, off in found],
        waited=[100 * (on.waiting - off.waiting) for on, off in found],
        steps=[100 * ((on.running / on.rate) / (off.running / off.rate) - 1) for on, off in found],
        taken=[100 * on.agent for on, _ in found],
        settings=settings,
    )


def _pairs(subject: Subject, neighbour: Neighbour, pairs: int) -> list[tuple[Window, Window]]:
    """In turn with the agent and with it stopped."""
    found: list[tuple[Window, Window]] = []
    with _scraped(subject.port):
        on = _beside(subject, neighbour)
        while True:
            with _stopped(subject):
                off, again = neighbour.watch(SECONDS), neighbour.watch(SECONDS)
            found.append((on, off))
            time.sleep(RESUMED_SECONDS)
            found.append((_beside(subject, neighbour), again))
            if len(found) >= pairs:
                return found
            on = _beside(subject, neighbour)


@contextmanager
def _stopped(subject: Subject) -> Iterator[None]:
    """As if it were not there: it keeps its memory, and does nothing."""
    pids = subject.pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def main() -> int:
    """Status 1 when the limit is not kept."""
    beside = measure()
    print("\n".join(beside.text()))
    return 0 if beside.kept else 1


if __name__ == "__main__":
    sys.exit(main())

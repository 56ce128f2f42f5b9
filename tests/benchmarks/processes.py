"""What processes cost, as the kernel counts it."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

# clock_getcpuclockid(3): the processor time of another process, threads that have ended among it, in nanoseconds.
_CPU_CLOCK = 2


@dataclass(frozen=True)
class Spent:
    """Up to a moment: processor seconds, and by thread the times that it went to sleep of its own."""

    at: float
    cpu: float
    switches: dict[int, int]

    def share(self, earlier: Spent) -> float:
        """Processor seconds per second since then."""
        return (self.cpu - earlier.cpu) / (self.at - earlier.at)

    def wakeups(self, earlier: Spent) -> float:
        """Per second; of threads that ended since then nothing is known."""
        woken = sum(count - earlier.switches.get(thread, 0) for thread, count in self.switches.items())
        return woken / (self.at - earlier.at)


def family(pid: int) -> list[int]:
    """A program and the children that stay. The simulated tools stand for the vendor's: their cost is not the agent's."""
    children = psutil.Process(pid).children(recursive=True)
    return [pid, *(child.pid for child in children if _is_worker(child))]


def _is_worker(child: psutil.Process) -> bool:
    try:
        return "nvml_worker" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # a tool that has ended meanwhile
        return False


def spent(pids: Sequence[int]) -> Spent:
    """What they have cost since they began."""
    switches = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    switches[int(task.name)] = int(line.split()[1])
    cpu = sum(time.clock_gettime((~pid << 3) | _CPU_CLOCK) for pid in pids)
    return Spent(time.monotonic(), cpu, switches)


def threads(pids: Sequence[int]) -> int:
    """How many there are now."""
    return sum(psutil.Process(pid).num_threads() for pid in pids)


def pss_mebibytes(pids: Sequence[int]) -> float:
    """Memory, with each page that several share divided among them."""
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / (1 << 20)


def system_calls(families: Sequence[Sequence[int]], seconds: float) -> list[float]:
    """Calls per minute of each family, all watched at the same time; strace slows them down, so nothing else is measured.

    Only threads that are there now are followed: the vendor's tools that an agent starts make calls of their own.
    """
    with tempfile.TemporaryDirectory() as scratch:
        watchers = []
        for number, pids in enumerate(families):
            threads = [task.name for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
            attach = [word for thread in threads for word in ("-p", thread)]
            argv = ["strace", "-c", "-o", f"{scratch}/{number}", *attach]
            watchers.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL))
        time.sleep(seconds)
        for watcher in watchers:
            if watcher.poll() is not None:
                raise AssertionError(
                    f"strace has ended with status {watcher.returncode}: may processes be traced here?"
                )
            watcher.send_signal(signal.SIGINT)
        for watcher in watchers:
            watcher.wait(30)
        return [_total(Path(scratch, str(number)).read_text()) * 60 / seconds for number in range(len(families))]


def _total(table: str) -> int:
    """The last line: share, seconds, microseconds per call, calls, errors where there are any, `total`.

    There is no table where there was no call.
    """
    totals = [line.split() for line in table.splitlines() if line.endswith(" total")]
    return int(totals[-1][3]) if totals else 0

"""Where an agent's processor time goes: `clocked_agent.py SECONDS FILE -- ARGUMENTS OF accelwatch`.

Runs the agent in this process with clocks around its parts, each the processor time of its thread without what stands in
a part inside it, and writes what the parts took between the settling and SECONDS later, as JSON.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes

SETTLE_SECONDS = 12.0
REST = "the rest: queues, waiting, all that starts its work"
WORKER = "NVML worker (a process)"
_POLL = "poll of a source: "


class _Inside:
    """A part that a thread is in: when it began, and what parts within it took, in the thread's processor seconds."""

    __slots__ = ("begun", "name", "within")

    def __init__(self, name: str, begun: float) -> None:
        self.name, self.begun, self.within = name, begun, 0.0


class Clocks:
    """Seconds by thread and part."""

    def __init__(self) -> None:
        self._seconds: Counter[tuple[str, str]] = Counter()
        self._stacks: dict[threading.Thread, list[_Inside]] = {}

    def around(self, owner: Any, name: str, part: str | Callable[..., str]) -> None:
        """Replaces a function or method by one that is timed; `part` may depend on its arguments."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            thread = threading.current_thread()
            stack = self._stacks.setdefault(thread, [])
            inside = _Inside(part if isinstance(part, str) else part(*arguments), time.thread_time())
            stack.append(inside)
            try:
                return function(*arguments, **options)
            finally:
                took = time.thread_time() - inside.begun
                stack.pop()
                if stack:
                    stack[-1].within += took
                self._seconds[(thread.name, inside.name)] += took - inside.within

        setattr(owner, name, timed)

    def seconds(self) -> Counter[tuple[str, str]]:
        """Up to now; a poll under way, which may take seconds, counts as far as it has come."""
        found = self._seconds.copy()
        for thread, stack in self._stacks.items():
            if not stack or thread.ident is None:
                continue
            now, inner = time.clock_gettime(time.pthread_getcpuclockid(thread.ident)), 0.0
            for inside in reversed(stack.copy()):
                took = now - inside.begun
                found[(thread.name, inside.name)] += took - inside.within - inner
                inner = took
        return found


def clocks_of_the_agent() -> Clocks:
    """The parts that together are nearly all of it."""
    from accelwatch.core import Core
    from accelwatch.metrics.page import Renderer
    from accelwatch.node import Node
    from accelwatch.pipeline import Pipeline
    from accelwatch.runs.book import RunBook
    from accelwatch.scheduler import Polled
    from accelwatch.service import Agent

    clocks = Clocks()
    clocks.around(Core, "answered", "readings: the rest")
    clocks.around(Node, "update", "readings: inventory and counters")
    clocks.around(Core, "_step", "detectors")
    clocks.around(Core, "tick", "each second: the rest")
    for name in ("tick", "sampled", "looked", "exited"):
        clocks.around(RunBook, name, "runs")
    clocks.around(Core, "take_changes", "changes for the journal")
    clocks.around(Agent, "_publish", "page: the picture of the node")
    clocks.around(Renderer, "render", "page: its text")
    clocks.around(Pipeline, "_hand_over", "fast path")
    clocks.around(Polled, "poll", lambda polled, *_: _POLL + polled.source.name)
    return clocks


def _threads() -> dict[str, float]:
    """Processor seconds by the name of the thread; those of the sources together."""
    found: Counter[str] = Counter()
    for thread in threading.enumerate():
        task = Path(f"/proc/self/task/{thread.native_id}/schedstat")
        if task.exists():
            found[_name(thread.name)] += int(task.read_text().split()[0]) / 1e9
    return found


def _name(thread: str) -> str:
    return "sources" if thread.startswith("source ") else thread


def _snapshot(clocks: Clocks) -> Counter[tuple[str, str]]:
    """Parts, what threads have besides, and the worker."""
    parts: Counter[tuple[str, str]] = Counter()
    for (thread, part), seconds in clocks.seconds().items():
        parts[(_name(thread), part)] += seconds
    known: Counter[str] = Counter()
    for (thread, _), seconds in parts.items():
        known[thread] += seconds
    for thread, seconds in _threads().items():
        parts[(thread, REST)] = seconds - known[thread]
    workers = [pid for pid in _children() if b"nvml_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    parts[(WORKER, "")] = processes.spent(workers).cpu if workers else 0.0
    return parts


def _children() -> list[int]:
    """Of all threads."""
    return [int(word) for task in Path("/proc/self/task").iterdir() for word in (task / "children").read_text().split()]


def _watch(clocks: Clocks, seconds: float, file: Path) -> None:
    time.sleep(SETTLE_SECONDS)
    before, begun = _snapshot(clocks), time.monotonic()
    time.sleep(seconds)
    after, ended = _snapshot(clocks), time.monotonic()
    shares = [[*key, 100 * (after[key] - before[key]) / (ended - begun)] for key in after]
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(shares))
    unfinished.rename(file)


def main() -> int:
    """Runs the agent."""
    seconds, file = float(sys.argv[1]), Path(sys.argv[2])
    clocks = clocks_of_the_agent()
    threading.Thread(target=_watch, args=(clocks, seconds, file), name="clocks", daemon=True).start()
    from accelwatch.cli import main as accelwatch

    return accelwatch(sys.argv[sys.argv.index("--") + 1 :])


if __name__ == "__main__":
    sys.exit(main())

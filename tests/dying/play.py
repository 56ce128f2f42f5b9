"""Plays a scene on a node and holds the agent to what it owes a dying driver."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from dying.node import DEADLINE_SECONDS, INTERVAL_SECONDS, LINE_CLASS, SOURCES, Node, until
from dying.scenes import Scene

# From the moment that a call blocks; it is made within an interval. The last second is the machine's.
TOLD_SECONDS = 2 * DEADLINE_SECONDS + INTERVAL_SECONDS + 1.0
ANSWER_SECONDS = 0.050
LINE_SECONDS = 5.0
CLASS = "driver_software"
# A worker and the longest interval that a blocked tool was stretched to.
BACK_SECONDS = 60.0


@dataclass(frozen=True)
class Played:
    """Seconds each. `told`: from the injection to the fault; `line`: from a line of the kernel log to its alert."""

    scene: str
    told: float | None
    median: float
    worst: float
    line: float
    back: float
    held: str

    def row(self) -> str:
        """For a table."""
        told = "-" if self.told is None else f"{self.told:.1f}"
        return (
            f"{self.scene:58} {told:>6} {self.median * 1000:7.1f} {self.worst * 1000:7.1f} {self.line:6.1f} "
            f"{self.back:6.1f}  {self.held}"
        )


HEAD = f"{'scene':58} {'told s':>6} {'p50 ms':>7} {'max ms':>7} {'line s':>6} {'back s':>6}  descriptors, children"


def play(node: Node, scene: Scene) -> Played:
    """Raises `AssertionError` at the first thing that is not as it must be, and `Unavailable`."""
    until("values", lambda: node.measured() == set(scene.vendors) and all(node.up(one) for one in node.sources))
    until("the run", lambda: 'run_id="run-' in node.page())
    before = node.held()
    undo = scene.begin(node)
    began = time.monotonic()
    try:
        told = None
        for source in scene.stuck:
            until(f"{source} down", lambda source=source: not node.up(source), TOLD_SECONDS)  # type: ignore[misc]
        silent = {vendor for vendor in scene.vendors if set(SOURCES[vendor]) & set(scene.stuck) - {"hccn_tool"}}
        until("no value that stands still", lambda: node.measured() == set(scene.vendors) - silent, TOLD_SECONDS)
        if scene.told:
            for vendor in scene.vendors:
                until(f"the fault of {vendor}'s driver", lambda v=vendor: node.active(CLASS, v), TOLD_SECONDS)  # type: ignore[misc]
            told = time.monotonic() - began
            assert told <= TOLD_SECONDS, f"told after {told:.1f} s, two deadlines are {2 * DEADLINE_SECONDS:g} s"
        assert not node.accused(), f"a healthy device is said to be down: {node.accused()}"
        answers = node.answer_seconds(120)
        assert statistics.median(answers) <= ANSWER_SECONDS, f"a scrape takes {statistics.median(answers):.3f} s"
        node.say()
        line = until(
            "the kernel log's own fault and its alert",
            lambda: node.active(LINE_CLASS, scene.vendors[0]) and node.posted(LINE_CLASS),
            LINE_SECONDS,
        )
        answers = sorted(answers + node.answer_seconds(120))
    finally:
        undo()
    back = until(
        "all sources and values",
        lambda: all(node.up(one) for one in node.sources) and node.measured() == set(scene.vendors),
        BACK_SECONDS,
    )
    until("no descriptor and no child is left", lambda: _at_most(node.held(), before), 20.0)
    after = node.held()
    held = ", ".join(f"{before[name]}->{after[name]}" for name in before)
    return Played(scene.name, told, statistics.median(answers), answers[-1], line, back, held)


def _at_most(now: dict[str, int], before: dict[str, int]) -> bool:
    """Tools that are running just now come and go: two of each."""
    return all(now[name] <= before[name] + 2 for name in before)

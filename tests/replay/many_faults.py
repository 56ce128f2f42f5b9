"""A core in a process of its own through thousands of faults and runs; prints what that took, as JSON.

python many_faults.py DIRECTORY FAULTS RUNS
"""

from __future__ import annotations

import gc
import gzip
import json
import random
import sys
from pathlib import Path

import msgspec

import accelwatch.service  # all that an agent imports
from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.faults.sign import Gone, Sign
from accelwatch.journal.store import Store
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.exposition import GZIP_LEVEL
from accelwatch.metrics.page import AgentStatus, Renderer
from accelwatch.readings.process import HostProcess, Launcher, ProcessExit, RunIdentity
from accelwatch.readings.severity import Severity
from accelwatch.readings.snapshot import Snapshot
from accelwatch.taxonomy.loader import load

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from replay.boards import GIB, H100, Board, Load
from replay.boards import DeviceProcess as Holder

# Ten thousand faults in two days are one each 17 s: a node that is far gone, with every class on every device.
SECONDS_PER_FAULT = 17.0
# What is read, written and measured is the same each time: not every one is needed to see whether it grows.
READ_EVERY, TICK_EVERY, COMMIT_EVERY, MEASURE_EVERY = 20, 4, 2, 16
PIDS = 100
CODES = ("79", "48", "63", "94", "119", "74", None, None)


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_790_000_000.0 + self.now


def pss() -> int:
    """Bytes of this process, what it shares with others by its share."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no Pss in /proc/self/smaps_rollup")


class Life:
    """One node that goes from fault to fault and from run to run."""

    def __init__(self, directory: Path) -> None:
        self.rng = random.Random(7)
        self.clock = HandClock()
        self.store = Store(directory)
        assert self.store._db is not None
        self.store._db.execute("PRAGMA synchronous=OFF")  # nobody pulls the plug here
        self.taxonomy = load()
        loaded = self.store.load(self.clock.time())
        steady = SteadyClock(self.clock, "boot", loaded.clock)
        self.core = Core(steady, loaded, self.taxonomy, node_name="n", boot_id="boot")
        self.renderer = Renderer(AgentMetrics())
        self.boards = [Board(H100, n, self.rng) for n in range(16)]
        self.commits: list[int] = []
        self.ticks = 0
        self.pids = PIDS
        self.ranks: list[HostProcess] = []
        self.read()

    def read(self) -> None:
        """One round of readings, a tick and a commit."""
        for n, board in enumerate(self.boards):
            board.load = Load(self.rng.uniform(500, 560), 0.97, 60 * GIB) if self.ranks else Load(72, 0.0)
            board.pids = (Holder(pid=self.ranks[n].pid, name="python3", memory_bytes=GIB),) if self.ranks else ()
        self.core.answered("nvml", Snapshot(devices=tuple(board.full() for board in self.boards)), 1.0)
        self.core.answered("processes", Snapshot(processes=tuple(self.ranks)), 5.0)
        self.tick()

    def tick(self) -> None:
        """Time has passed; what is new is committed."""
        self.core.tick()
        self.ticks += 1
        if self.ticks % COMMIT_EVERY == 0:
            changes = self.core.take_changes()
            self.store.write(changes)
            self.commits.append(len(msgspec.json.encode(changes)) if self.ticks % MEASURE_EVERY == 0 else 0)

    def fault(self) -> None:
        """One class on one device, or the end of one."""
        classes = list(self.taxonomy.classes.values())
        class_, board = self.rng.choice(classes), self.rng.choice(self.boards)
        key = board.identity.key
        lasting = self.rng.random() < 0.5
        at = self.core._clock.now()
        sign = Sign(
            class_=class_.name,
            condition=f"{class_.name} {self.rng.randrange(4)}",
            at=at,
            vendor="nvidia",
            device=None if class_.name in ("host", "storage") else key,
            code=self.rng.choice(CODES),
            family="xid",
            severity=self.rng.choice((None, *Severity)),
            message=f"{class_.meaning} on {board.identity.model}, in the words of a driver that has a lot to say",
            lasting=lasting,
            link=f"nvlink{self.rng.randrange(18)}",
        )
        findings: list[Sign | Gone] = [sign]
        if lasting and self.rng.random() < 0.7:
            findings.append(
                Gone(class_=sign.class_, condition=sign.condition, vendor="nvidia", at=at, device=sign.device)
            )
        self.core.ledger.apply(findings, self.core.context(), at, self.clock.time())

    def end_run(self) -> None:
        """The run ends, each one in another way, and the next begins with other processes."""
        how: dict[str, int] = self.rng.choice(({"code": 0}, {"code": 1}, {"signal": 9}, {"signal": 15}, {"signal": 11}))
        now, wall = self.clock.monotonic(), self.clock.time()
        self.core.exits([ProcessExit(pid=rank.pid, at=now, wall=wall, **how) for rank in self.ranks])
        self.ranks = []
        self.clock.now += 3
        self.read()
        self.pids += 20
        launcher = Launcher(pid=self.pids, name="slurmstepd", group=self.pids, instance=self.pids)
        self.ranks = [
            HostProcess(
                pid=self.pids + 1 + n,
                name="python3",
                started=self.clock.time(),
                state="running",
                cpu_seconds=1.0,
                devices=(f"nvidia{n}",),
                instance=self.pids + n,
                parent=self.pids,
                group=self.pids,
                launcher=launcher,
                run=RunIdentity(run_id=f"job-{self.pids}", base="0", launcher="slurm", rank=n, world_size=16),
            )
            for n in range(16)
        ]
        self.read()

    def page(self) -> bytes:
        """As it is served."""
        status = AgentStatus(node="n", config_hash="0", labels={})
        core = self.core
        page = self.renderer.render(core.node.view(), (), status, core.fault_view({"nvml"}, 0), core.run_page())
        return page.text


def main() -> None:
    """See the module."""
    directory, faults, runs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    life = Life(directory)
    life.end_run()
    first_page = life.page()
    gc.collect()
    base = pss()
    every = max(1, faults // runs)
    pages: list[int] = []
    number = -1
    while life.core.ledger._next_id <= faults:
        number += 1
        life.clock.now += SECONDS_PER_FAULT
        life.fault()
        if number % READ_EVERY == 0:
            life.read()
        elif number % TICK_EVERY == 0:
            life.tick()
        if life.core.ledger._next_id // every > life.pids // 20 - PIDS // 20:
            life.end_run()
        if number % 500 == 499:
            pages.append(len(gzip.compress(life.page(), GZIP_LEVEL)))
    gc.collect()
    grown = pss()
    half = len(life.commits) // 2
    life.store.write(life.core.take_changes(everything=True))
    ended = {view.record.ref for view in life.core.runs.views() if view.record.ended is not None}
    again = life.store.load(life.clock.time())
    steady = SteadyClock(life.clock, "boot", again.clock)
    core = Core(steady, again, life.taxonomy, node_name="n", boot_id="boot")
    core.tick()
    print(
        json.dumps(
            {
                "base": base,
                "grown": grown,
                "episodes": life.core.ledger._next_id - 1,
                "runs": sum(life.core.run_page().ended.values()),
                "first_page": len(gzip.compress(first_page, GZIP_LEVEL)),
                "pages": pages,
                "first_commits": max(life.commits[2:half]),
                "last_commits": max(life.commits[half:]),
                "remembered": len(list(life.core.ledger._shelf.everything())),
                "started_again": pss(),
                "loaded": len(again.episodes),
                "active": len(life.core.ledger.active()),
                "runs_lost": len(ended - {view.record.ref for view in core.runs.views()}),
                "agent": accelwatch.service.__name__,
            }
        )
    )


if __name__ == "__main__":
    main()

"""Which processes of /proc speak for a run: its ranks, and what they have forked."""

from __future__ import annotations

from accelwatch.readings.process import HostProcess, RunIdentity
from accelwatch.runs.book import RunBook
from accelwatch.runs.holding import HeldDevice
from accelwatch.runs.model import RunRef
from accelwatch.runs.pauses import Pause
from accelwatch.runs.sample import Sample
from accelwatch.taxonomy.loader import load

RANK, LOADER, STRANGER = 100, 101, 900
FULL, WAIT = (560.0, 0.97), (122.0, 0.0)


def process(pid: int, cpu: float, read: int, parent: int) -> HostProcess:
    return HostProcess(
        pid=pid,
        name="python3",
        started=1_790_000_000.0,
        state="running",
        cpu_seconds=cpu,
        read_bytes=read,
        written_bytes=0,
        devices=("nvidia0",),
        instance=pid,
        parent=parent,
        run=RunIdentity(run_id="17", launcher="slurm", rank=0, world_size=8) if pid != STRANGER else None,
    )


def replayed(busy: int) -> tuple[list[int], Pause | None]:
    """Ten minutes of work, then ten of waiting for input that the process `busy` reads: the levels of the wait."""
    book = RunBook("n", load())
    devices = [HeldDevice(vendor="nvidia", device="0", model="NVIDIA H100 80GB HBM3", node="nvidia0", pids=(RANK,))]
    cpu, read, levels, pause = (
        {RANK: 0.0, LOADER: 0.0, STRANGER: 0.0},
        dict.fromkeys((RANK, LOADER, STRANGER), 0),
        [],
        None,
    )
    for now in range(0, 1200, 5):
        waits = now > 600
        cpu[RANK] += 0.1 if waits else 5.0
        if waits:
            cpu[busy] += 5.0
            read[busy] += 100 << 20
        watts, utilization = WAIT if waits else FULL
        sample = Sample(
            vendor="nvidia",
            device="0",
            at=float(now),
            model="NVIDIA H100 80GB HBM3",
            power_watts=watts,
            power_limit_watts=700.0,
            utilization_ratio=utilization,
        )
        parents = {RANK: 1, LOADER: RANK, STRANGER: 1}
        book.sampled([sample])
        book.looked(
            [process(pid, cpu[pid], read[pid], parents[pid]) for pid in cpu], devices, now, 1_790_000_000.0 + now
        )
        book.tick(devices, set(), lambda _at: [], now, 1_790_000_000.0 + now)
        verdict = next(view.verdict for view in book.views() if view.record.ref == RunRef("17", "0"))
        assert verdict is not None
        if waits:
            levels.append(int(verdict.level or 0))
            pause = pause or verdict.pause
    return levels, pause


def test_a_data_loader_that_reads_makes_a_wait_no_hang() -> None:
    levels, pause = replayed(LOADER)
    assert max(levels) == 0
    assert pause is Pause.INPUT


def test_a_process_of_somebody_else_does_not_speak_for_the_run() -> None:
    levels, pause = replayed(STRANGER)
    assert max(levels) == 2
    assert pause is None

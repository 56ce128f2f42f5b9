"""Replays of measured runs: no alarm on what ended well, and both made-up hangs found with the right culprit."""

from __future__ import annotations

import csv
import re
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from accelwatch.runs import idle, stall
from accelwatch.runs.culprit import Culprit, Rule, locate
from accelwatch.runs.sample import Sample, Work
from accelwatch.runs.stall import Level, Verdict
from support import CORPUS

TRACES = CORPUS / "traces"
GPUS = range(8)
HANG = re.compile(r"constructed_hang_rank(\d+)_out")
# By the memory that a process takes: a context is 300 MiB or more on top of what the driver itself holds.
CONTEXT_MIB = 300


class Row(msgspec.Struct, frozen=True):
    """One second of eight GPUs."""

    at: float
    watts: tuple[float, ...]
    percent: tuple[float, ...]
    mib: tuple[float, ...]


def traces(pattern: str) -> list[Path]:
    return sorted(TRACES.glob(pattern))


def read(path: Path) -> list[Row]:
    with path.open() as text:
        return [
            Row(
                float(row["t_s"]),
                *(tuple(float(row[f"gpu{gpu}_{what}"]) for gpu in GPUS) for what in ("power_w", "util_pct", "mem_mib")),
            )
            for row in csv.DictReader(text)
        ]


def every(seconds: int) -> Callable[[list[Row]], list[Row]]:
    """A reading each so many seconds, as a tool gives it that is asked then."""
    return lambda rows: [row for row in rows if row.at % seconds == 0]


def means(seconds: int) -> Callable[[list[Row]], list[Row]]:
    """A mean over so many seconds, as a sensor with a long window gives it."""

    def resample(rows: list[Row]) -> list[Row]:
        bins: dict[int, list[Row]] = {}
        for row in rows:
            bins.setdefault(int(row.at) // seconds, []).append(row)
        return [
            Row(
                (number + 1) * seconds - 1.0,
                tuple(statistics.fmean(row.watts[gpu] for row in group) for gpu in GPUS),
                tuple(statistics.fmean(row.percent[gpu] for row in group) for gpu in GPUS),
                tuple(max(row.mib[gpu] for row in group) for gpu in GPUS),
            )
            for number, group in bins.items()
        ]

    return resample


RATES = pytest.mark.parametrize("resample", [every(1), every(10), means(10)], ids=["1s", "10s", "10s means"])


def replay(rows: Iterable[Row]) -> list[tuple[float, Verdict]]:
    """One step a reading. A process is there while its device's memory is held; a new one has another pid."""
    state, floors, results = None, {}, []
    pids, last_pid = dict.fromkeys(GPUS, 0), 1000
    base: dict[int, float] = {}
    for row in rows:
        for gpu in GPUS:
            base[gpu] = min(base.get(gpu, row.mib[gpu]), row.mib[gpu])
            if row.mib[gpu] < base[gpu] + CONTEXT_MIB:
                pids[gpu] = 0
            elif not pids[gpu]:
                last_pid += 1
                pids[gpu] = last_pid
        samples = [
            Sample(
                vendor="nvidia",
                device=str(gpu),
                at=row.at,
                model="NVIDIA H100 80GB HBM3",
                power_watts=row.watts[gpu],
                power_limit_watts=700.0,
                utilization_ratio=row.percent[gpu] / 100,
                memory_used_bytes=int(row.mib[gpu]) << 20,
            )
            for gpu in GPUS
        ]
        floors = idle.observe(floors, samples)
        held = [gpu for gpu in GPUS if pids[gpu]]
        if not held:
            state = None
            continue
        work = Work(
            at=row.at,
            pids=tuple(pids[gpu] for gpu in held),
            devices=tuple(f"nvidia/{gpu}" for gpu in held),
            world_size=8,
        )
        state, verdict = stall.step(state, [samples[gpu] for gpu in held], work, row.at, floors=floors)
        results.append((row.at, verdict))
    return results


def culprit(verdict: Verdict) -> Culprit:
    assert verdict.since is not None
    return locate(verdict.activities, verdict.last_progress, verdict.since, causes={})


def first(results: list[tuple[float, Verdict]], level: Level) -> tuple[float, Verdict] | None:
    return next(
        ((at, verdict) for at, verdict in results if verdict.level is not None and verdict.level >= level), None
    )


def expect_hang(rows: list[Row], rank: int, onset: float) -> None:
    """Warned within 200 s, flagged within the threshold and 30 s, the rank that is out named."""
    results = replay(rows)
    warned, hung = first(results, Level.WARN), first(results, Level.HANG)
    assert warned is not None
    assert hung is not None
    at, verdict = hung
    assert onset - 30 <= (verdict.since or 0.0) <= onset + 5
    assert onset < warned[0] <= onset + 200
    assert warned[1].threshold - 30 <= at - onset <= verdict.threshold + 30
    assert verdict.threshold <= 300
    for _, later in results:
        if later.level is Level.HANG:
            assert culprit(later) == Culprit(Rule.MINORITY, f"nvidia/{rank}")
    assert results[-1][1].level is Level.HANG, "the alarm must not clear itself by a sinking reference"


REAL = [path for path in traces("h100x8_*.csv") if "hang" not in path.name]
MADE_UP = [path for path in traces("h100x8_*.csv") if HANG.search(path.name)]
ABSENT = pytest.mark.skipif(not REAL, reason="the corpus of traces is not here")


@ABSENT
@RATES
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_run_that_saves_and_ends_well_raises_no_alarm(path: Path, resample) -> None:
    rows = resample(read(path))
    assert first(replay(rows), Level.WARN) is None


@ABSENT
@RATES
@pytest.mark.parametrize("path", MADE_UP, ids=lambda path: path.stem)
def test_a_hang_made_of_a_real_wait_is_found_with_its_culprit(path: Path, resample) -> None:
    rank = int(HANG.search(path.name)[1])  # type: ignore[index]
    rows = read(path)
    # Its last second of real work tells the onset, so that other traces of the kind can be replayed, too.
    onset = max(row.at for row in rows if statistics.median(row.watts) > 400) + 1
    expect_hang(resample(rows), rank, onset)


@ABSENT
@RATES
@pytest.mark.parametrize("rank", [3, 7])
def test_a_hang_of_another_rank_is_found_with_its_culprit(rank: int, resample) -> None:
    """The wait of the second save of a run, tiled for half an hour, with the waiting rank changed for another."""
    rows = read(TRACES / "h100x8_gpt_save_1000.csv")
    begin, end = 602.0, 614.0
    wait = [row for row in rows if begin <= row.at < end]

    def swap(values: tuple[float, ...]) -> tuple[float, ...]:
        changed = list(values)
        changed[0], changed[rank] = changed[rank], changed[0]
        return tuple(changed)

    tiled = [
        Row(begin + second, *(swap(values) for values in (row.watts, row.percent, row.mib)))
        for second in range(1800)
        for row in [wait[second % len(wait)]]
    ]
    expect_hang(resample([row for row in rows if row.at < begin] + tiled), rank, 601.0)


@ABSENT
def test_inference_pods_never_hang() -> None:
    """Bursty use of one GPU each, of which nothing but utilization and memory is known."""
    by_pod: dict[str, list[dict[str, str]]] = {}
    with (TRACES / "alibaba_gentd26_pod_gpu_util.csv").open() as text:
        for row in csv.DictReader(text):
            by_pod.setdefault(row["pod"], []).append(row)
    assert by_pod
    for pod, rows in by_pod.items():
        for size in (None, 1):
            state = None
            for row in rows:
                at = float(row["t_s"])
                sample = Sample(
                    vendor="nvidia",
                    device="0",
                    at=at,
                    utilization_ratio=float(row["gpu_util_pct"]) / 100 if row["gpu_util_pct"] else None,
                    memory_used_bytes=int(float(row["gpu_mem_bytes"])) if row["gpu_mem_bytes"] else None,
                )
                work = Work(at=at, pids=(1,), devices=("nvidia/0",), world_size=size)
                state, verdict = stall.step(state, [sample], work, at, floors={})
                assert not verdict.level, pod
                assert not verdict.armed, pod

"""Pauses that follow each other, and runs of which nobody tells a size."""

from __future__ import annotations

from accelwatch.runs.stall import Level
from run_bench import ASCEND, NVIDIA, Bench

SAVES = {"written": 400e6, "cpu": 0.9}
READS = {"read": 40e6, "cpu": 1.0}


def test_a_wait_for_others_right_after_a_save_is_counted_from_the_save() -> None:
    bench = Bench(vendor="ascend")
    bench.start()
    bench.run(400, ASCEND["quiet"].but(**SAVES))
    bench.run(170, "quiet")
    assert bench.highest is Level.NONE


def test_a_hang_right_after_a_save_is_flagged_by_the_time_since_the_save() -> None:
    bench = Bench(vendor="ascend")
    bench.start()
    bench.run(400, ASCEND["quiet"].but(**SAVES))
    onset = bench.now
    bench.run(900, "quiet")
    warned, flagged = bench.first(Level.WARN), bench.first(Level.HANG)
    assert warned is not None
    assert flagged is not None
    assert warned - onset <= 200
    assert flagged - onset <= 330


def test_a_save_and_waiting_for_input_have_a_ceiling_each() -> None:
    bench = Bench(vendor="ascend")
    bench.start()
    bench.run(400, ASCEND["quiet"].but(**SAVES))
    bench.run(800, ASCEND["quiet"].but(**READS))
    assert bench.highest is Level.NONE
    bench.run(200, ASCEND["quiet"].but(**READS))
    assert bench.highest is Level.HANG


def test_validation_by_one_device_of_sixteen_is_no_waiting_for_input_though_it_reads() -> None:
    bench = Bench(vendor="ascend", devices=16, world_size=16)
    bench.start()
    waiting, works = ASCEND["quiet"].but(**READS), ASCEND["train"].but(**READS)
    bench.run(1500, waiting, {0: works})
    assert bench.highest is Level.NONE


def test_a_notebook_left_alone_after_hours_of_work_never_hangs() -> None:
    bench = Bench(devices=2, world_size=None)
    bench.start(3600)
    bench.run(2 * 3600, NVIDIA["context"].but(cpu=0.01))
    assert bench.highest is Level.NONE


def test_a_server_that_is_asked_once_in_a_while_by_night_never_hangs() -> None:
    bench = Bench(devices=2, world_size=None, interval=10.0)
    bench.start(3600)
    for _ in range(20):
        bench.run(350, NVIDIA["context"].but(cpu=0.01))
        bench.run(10, NVIDIA["spin"])
    assert bench.highest is Level.NONE

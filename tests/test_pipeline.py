"""The queue between sources and core: in order, in batches, and full when the core does not keep up."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from accelwatch import pipeline
from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.journal.loaded import Loaded
from accelwatch.journal.writer import Writer
from accelwatch.pipeline import Pipeline, Work
from accelwatch.taxonomy.loader import load
from support import FakeClock


def idle_pipeline(tmp_path: Path) -> Pipeline:
    """Its thread is not started: nothing is taken out of the queue but by the test."""
    core = Core(SteadyClock(FakeClock(), "boot"), Loaded(), load(), node_name="n", boot_id="boot")
    return Pipeline(core, Writer(tmp_path, lambda _problem: None), lambda: None)


def works(number: int) -> list[Work]:
    return [lambda _core, n=n: n for n in range(number)]  # type: ignore[misc]


def test_what_is_handed_over_comes_in_order_and_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BATCH", 3)
    made, work = idle_pipeline(tmp_path), works(5)
    for one in work:
        made.put(one)
    assert made._next(1.0) == (work[:3], False)
    assert made._next(1.0) == (work[3:], False)
    assert made._next(0.01) == ([], False)


def test_a_source_waits_while_the_queue_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "QUEUE_LIMIT", 2)
    made, work = idle_pipeline(tmp_path), works(3)
    made.put(work[0])
    made.put(work[1])
    source = threading.Thread(target=made.put, args=(work[2],), daemon=True)
    source.start()
    source.join(0.1)
    assert source.is_alive()
    assert made._next(1.0)[0][:2] == work[:2]
    source.join(10)
    assert not source.is_alive()


def test_closing_does_what_waits_first(tmp_path: Path) -> None:
    made, done = idle_pipeline(tmp_path), []
    for number in range(3):
        made.put(lambda _core, n=number: done.append(n))  # type: ignore[misc]
    made.start()
    made.close(10)
    assert done == [0, 1, 2]
    assert not made.alive


@pytest.mark.parametrize(("start", "answers"), [(60.0, 3), (0.0, 1)])
def test_each_answer_is_shown_at_once_after_a_start_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: float, answers: int
) -> None:
    """The first scrapes find all sources; later measured values wait for the page of their five seconds."""
    monkeypatch.setattr(pipeline, "START_SECONDS", start)
    monkeypatch.setattr(pipeline, "PUBLISH_SECONDS", 60.0)
    core = Core(SteadyClock(FakeClock(), "boot"), Loaded(), load(), node_name="n", boot_id="boot")
    shown, dealt_with = [], threading.Event()
    made = Pipeline(core, Writer(tmp_path, lambda _problem: None), lambda: shown.append(1), dealt_with.set)
    made.start()
    for _ in range(3):
        dealt_with.clear()
        made.wake()
        assert dealt_with.wait(10)
        threading.Event().wait(0.05)  # the page comes after what was dealt with
    made.close(10)
    assert len(shown) == answers

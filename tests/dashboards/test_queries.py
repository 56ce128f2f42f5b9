"""Every query of every dashboard against a real Prometheus: none fails, none is empty."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards import fleet_history
from dashboards.shipped_boards import ask, filled_in, queries
from prometheus_history import History, needs_prometheus, served

# What takes longer to come about than a test may: a run is taken for hanging after minutes of work and of waiting; and
# what a simulated fleet has not: a fast path, a source that fails. These are asked of a history that is written by hand.
BY_HAND = {
    "accelwatch-fleet/10 A",
    "accelwatch-fleet/10 B",
    "accelwatch-fleet/10 C",
    "accelwatch-run/4 A",
    "accelwatch-agents/10 A",
    "accelwatch-agents/10 B",
    "accelwatch-agents/41 A",
    "accelwatch-agents/41 B",
    "accelwatch-agents/41 C",
}
WITHIN_SECONDS = 60.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fleet_history.served(tmp_path_factory.mktemp("fleet")) as url:
        yield url


@needs_prometheus
@pytest.mark.e2e
def test_on_a_simulated_fleet_every_query_gives_something(fleet: str) -> None:
    waiting = {
        name: fleet_history.hours_shortened(filled_in(expr)).replace(":1h]", ":2s]").replace(":1m]", ":2s]")
        for name, expr in queries()
        if name not in BY_HAND
    }
    assert len(waiting) > 150
    deadline = time.monotonic() + WITHIN_SECONDS
    while waiting and time.monotonic() < deadline:
        waiting = {name: expr for name, expr in waiting.items() if not ask(fleet, expr)}
        time.sleep(1.0)
    assert not waiting


@needs_prometheus
@pytest.mark.e2e
def test_a_hang_a_failing_source_and_the_fast_path_are_shown(tmp_path: Path) -> None:
    now = float(int(time.time()) // 60 * 60 - 600)
    start = now - 300.0
    history = History()
    node = {"cluster": "c", "node": "n1", "job": "accelwatch"}
    run = {"cluster": "c", "run_id": "r1", "attempt": "0"}
    culprit = {**run, "node": "n1", "vendor": "nvidia", "device": "3", "rule": "cause"}
    for name, labels, value in (
        ("accelwatch:run:stalled", run, 2.0),
        ("accelwatch:run:devices", run, 16.0),
        ("accelwatch:run:onset_timestamp_seconds", run, now - 400.0),
        ("accelwatch:run:culprit", culprit, 1.0),
        ("accelwatch_source_up", {**node, "source": "nvml"}, 0.0),
        ("accelwatch_source_last_success_timestamp_seconds", {**node, "source": "nvml"}, now - 250.0),
        ("accelwatch_pager_up", {**node, "alertmanager": "a"}, 0.0),
        ("accelwatch_pager_queue_length", {**node, "alertmanager": "a"}, 4.0),
        ("accelwatch_pager_dropped_total", {**node, "alertmanager": "a"}, 0.0),
    ):
        history.add(name, labels, start, now + 15.0, value)
    answers: dict[str, float] = {}
    with served(history, tmp_path) as url:
        for name, expr in queries():
            if name in BY_HAND:
                found = ask(url, filled_in(expr).replace("[20s]", "[60s]"), now)
                assert len(found) == 1, f"{name}: {found}"
                answers[name] = float(found[0]["value"][1])
                if name.startswith("accelwatch-fleet/10"):
                    assert {**found[0]["metric"], "__name__": ""} == {**culprit, "__name__": ""}
    assert set(answers) == BY_HAND
    assert answers["accelwatch-fleet/10 A"] == 2.0
    assert answers["accelwatch-fleet/10 B"] == answers["accelwatch-run/4 A"] == 400.0
    assert answers["accelwatch-fleet/10 C"] == 16.0
    assert answers["accelwatch-agents/10 B"] == 250.0
    assert answers["accelwatch-agents/41 A"] == 1.0

"""What is drawn is what its truth says of it: else nothing that is compared with it means anything."""

from __future__ import annotations

from itertools import pairwise

import pytest

from quarters import fleet, truth
from quarters.lives import Life
from quarters.plan import RUN_ENDING, Plan
from quarters.windows import Windows

PLAN = Plan(seed=11, nodes=24, devices=4, lead_hours=30, spread=1.0, lemons=1)


@pytest.fixture(scope="module")
def drawn() -> fleet.Fleet:
    return fleet.draw(PLAN)


def test_spans_are_counted_by_the_second() -> None:
    """Against seconds one by one."""
    some, others = Windows([(3, 9), (20, 21), (9, 12), (30, 30)]), Windows([(0, 4), (7, 8), (20, 40)])
    seconds = {second for start, end in some.spans for second in range(start, end)}
    left = some.minus(others)
    assert some.spans == [(3, 12), (20, 21)]
    assert [some.nth(n) for n in range(some.seconds)] == sorted(seconds)
    assert all(some.holds(second) == (second in seconds) for second in range(-1, 45))
    assert all(some.within(a, b) == len(seconds & set(range(a, b))) for a in range(25) for b in range(25))
    assert {s for a, b in left.spans for s in range(a, b)} == seconds - {3, 7, 20}


def test_each_second_of_a_device_is_one_state_or_nobody_watched(drawn: fleet.Fleet) -> None:
    """Powered, maintained, or down; else the agent was out."""
    for life in drawn.lives:
        seconds = life.seconds(0, PLAN.span)
        watched = sum(seconds[state] for state in ("powered", "maintenance", "down_planned", "down_unplanned"))
        assert watched == life.last - life.first - life.node.outages.within(life.first, life.last)
        assert seconds["powered"] >= seconds["allocated"] >= seconds["busy"]


def test_faults_are_where_somebody_saw_them(drawn: fleet.Fleet) -> None:
    """Never on a device that is down, nor while no agent ran; in maintenance only those that are counted apart."""
    for life in drawn.lives:
        for one in life.episodes:
            where = life.node.maintained if one.planned else life.node.powered
            assert where.holds(one.at)
            assert life.first <= one.at < life.last
            before = Windows(span for span in life.down.spans if span[0] < one.at)
            assert not before.holds(one.at)


def test_a_slot_has_one_device_after_the_other(drawn: fleet.Fleet) -> None:
    """New serials begin when the old one is out; those that failed had a reason to be taken out."""
    slots: dict[tuple[str, int], list[Life]] = {}
    for life in drawn.lives:
        slots.setdefault((life.node.name, life.device), []).append(life)
    assert any(len(lives) > 1 for lives in slots.values())
    for lives in slots.values():
        assert (lives[0].first, lives[-1].last) == (lives[0].node.first, lives[0].node.last)
        assert all(a.last == b.first == b.installed for a, b in pairwise(lives))
        for life in lives:
            assert life.installed <= life.first < life.last
            if life.failed:
                last = max((one for one in life.episodes if not one.planned), key=lambda one: one.at)
                assert (last.class_ in RUN_ENDING, last.cleared) == (True, life.last)
    assert any(life.failed for life in drawn.lives)
    assert any(life.node.first > 0 for life in drawn.lives)
    assert any(life.node.driver(0) != life.node.driver(PLAN.span) for life in drawn.lives)


def test_the_same_seed_is_the_same_quarter(drawn: fleet.Fleet) -> None:
    """And another is another one."""
    again = truth.of(fleet.draw(PLAN))
    assert (again.episodes, again.seconds) == (truth.of(drawn).episodes, truth.of(drawn).seconds)
    other = truth.of(fleet.draw(Plan(seed=12, nodes=24, devices=4)))
    assert other.seconds != again.seconds


def test_a_bad_device_has_its_share_of_the_events() -> None:
    """Most of its class, in each model; of the others as many as any device."""
    plan = Plan(seed=5, nodes=24, lemons=1)
    true = truth.of(fleet.draw(plan))
    worst = [
        max(counts["mem_repair"] for serial, counts in true.by_serial.items() if serial.startswith(model))
        for model in true.installed
    ]
    expected = plan.rates["mem_repair"] * plan.lemon_times * 90 * 24
    assert sum(worst) == pytest.approx(len(worst) * expected, rel=0.5)
    assert sum(true.episodes[model, "mem_repair"] for model in true.installed) < 4 * sum(worst)

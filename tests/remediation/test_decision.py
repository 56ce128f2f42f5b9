"""Which faults ask for a command, when their time has come, and what the limits say."""

from __future__ import annotations

from typing import Any

import pytest

from accelwatch.config import Duration, RemediationHook
from accelwatch.readings.severity import Severity
from accelwatch.remediation.decision import BREAKER_SECONDS, Past, asks, decide, incidents_of, past_of, ripe
from accelwatch.remediation.record import Outcome, Remediation
from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import Kind
from journal_rows import cleared, episode

TAXONOMY = load()
HOOK = RemediationHook(command=("/bin/true",), dry_run=False, min_interval=Duration(60), max_per_hour=3)


def row(number: int, outcome: Outcome, at: float, **more: Any) -> Remediation:
    return Remediation(id=number, outcome=outcome, at=at, wall=at, incident=f"i{number}", **more)


# --- which faults


@pytest.mark.parametrize("name", sorted(TAXONOMY.classes))
def test_only_causes_in_hardware_ask(name: str) -> None:
    """Also of those that only degrade by themselves, once one has ended a run."""
    class_ = TAXONOMY.class_(name)
    wanted = class_.hardware and class_.kind is Kind.CAUSE
    assert asks(episode(1, class_=name, severity=Severity.RUN_ENDING), class_, HOOK) is wanted
    assert not asks(episode(1, class_=name, severity=Severity.DEGRADING), class_, HOOK)


@pytest.mark.parametrize(
    "changes",
    [
        {"historical": True},
        {"application": True},
        {"echo": True},
        {"settles_at": 130.0},
        {"drill": True},
        {"severity": Severity.INFORMATIONAL},
    ],
    ids=str,
)
def test_what_is_no_fault_of_this_hardware_now_does_not_ask(changes: dict[str, Any]) -> None:
    class_ = TAXONOMY.class_("mem_uncorrectable")
    assert asks(episode(1), class_, HOOK)
    assert not asks(episode(1, **changes), class_, HOOK)
    assert not asks(cleared(1), class_, HOOK)


def test_drills_ask_where_the_site_wants_them_to() -> None:
    hook = RemediationHook(command=("/bin/true",), drills=True)
    assert asks(episode(1, drill=True), TAXONOMY.class_("mem_uncorrectable"), hook)


def test_a_cascade_is_one_incident_with_the_fault_nearest_to_its_root() -> None:
    """The echo, and what is of another class and not hardware, are not it."""
    episodes = [
        episode(1, incident="a", class_="driver_software", rank=90),
        episode(2, incident="a", class_="mem_uncorrectable", rank=50),
        episode(3, incident="a", class_="compute_engine", rank=80, echo=True),
        episode(4, incident="a", class_="compute_engine", rank=40),
        episode(5, incident="b", class_="device_lost"),
        episode(6, incident="c", class_="software_job"),
    ]
    found = incidents_of(episodes, TAXONOMY, HOOK)
    assert {incident: one.id for incident, one in found.items()} == {"a": 2, "b": 5}


def test_a_fault_of_now_waits_for_its_root_an_old_one_for_its_drivers_word() -> None:
    fault = episode(1, first_at=100.0, last_at=100.0)
    assert [ripe(fault, 100.0, now) for now in (100.0, 100.2, 100.4)] == [False, False, True]
    assert [ripe(fault, 161.0, now) for now in (161.0, 220.0, 221.0)] == [False, False, True]
    assert ripe(episode(1, first_at=100.0, last_at=100.0, drill=True), 500.0, 500.0)


# --- limits


def test_a_hook_is_in_dry_run_until_something_else_is_said() -> None:
    assert decide(RemediationHook(command=("/bin/true",)), Past(), 0.0) == (Outcome.DRY_RUN, None)
    assert decide(HOOK, Past(), 0.0) == (Outcome.STARTED, None)


def test_a_second_command_waits_for_nobody_it_is_left_out() -> None:
    past = past_of([row(1, Outcome.SUCCEEDED, 1000.0)], dry_run=False)
    assert decide(HOOK, past, 1059.9) == (Outcome.LIMITED, None)
    assert decide(HOOK, past, 1060.0) == (Outcome.STARTED, None)


def test_the_fourth_in_an_hour_opens_the_breaker_until_the_hour_has_passed() -> None:
    """Whatever became of the three; what was limited does not count."""
    rows = [
        row(1, Outcome.UNKNOWN, 1000.0),
        row(2, Outcome.LIMITED, 1010.0),
        row(3, Outcome.FAILED, 1100.0),
        row(4, Outcome.TIMED_OUT, 1200.0),
    ]
    past = past_of(rows, dry_run=False)
    assert decide(HOOK, past, 1000.0 + BREAKER_SECONDS) == (Outcome.STARTED, None), "the first is an hour ago"
    outcome, opened_at = decide(HOOK, past, 1300.0)
    assert (outcome, opened_at) == (Outcome.BREAKER_OPEN, 1300.0)
    past = past.after(row(5, outcome, 1300.0, opened_at=opened_at))
    assert past.closes_at(1300.0) == 1300.0 + BREAKER_SECONDS
    # Also when the three are long ago; a later one does not put it off.
    assert decide(HOOK, past, 4899.0) == (Outcome.BREAKER_OPEN, 1300.0)
    past = past.after(row(6, Outcome.BREAKER_OPEN, 4899.0, opened_at=1300.0))
    assert decide(HOOK, past, 4900.0) == (Outcome.STARTED, None)
    assert past.closes_at(4900.0) is None


def test_an_operator_closes_the_breaker_and_the_count_begins_anew() -> None:
    rows = [row(n, Outcome.SUCCEEDED, 1000.0 + 100 * n) for n in range(3)]
    rows += [row(3, Outcome.BREAKER_OPEN, 1300.0, opened_at=1300.0), row(4, Outcome.RESET, 1310.0)]
    past = past_of(rows, dry_run=False)
    assert decide(HOOK, past, 1311.0) == (Outcome.STARTED, None)


def test_a_rehearsal_has_limits_of_its_own() -> None:
    """It shows what would happen, and holds nothing back once it is over."""
    rows = [row(n, Outcome.DRY_RUN, 1000.0 + 100 * n, dry_run=True) for n in range(3)]
    rehearsal = RemediationHook(command=("/bin/true",), min_interval=Duration(60))
    assert decide(rehearsal, past_of(rows, dry_run=True), 1300.0) == (Outcome.BREAKER_OPEN, 1300.0)
    assert decide(HOOK, past_of(rows, dry_run=False), 1300.0) == (Outcome.STARTED, None)


def test_what_limits_look_back_on_does_not_grow() -> None:
    past = Past()
    for number in range(10_000):
        past = past.after(row(number, Outcome.SUCCEEDED, 60.0 * number))
    assert len(past.starts) == BREAKER_SECONDS / 60

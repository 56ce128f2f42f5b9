"""The thread: nothing before the journal has it, nobody is held up, every order has an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from accelwatch.remediation import remediator as module
from accelwatch.remediation.child import Ended
from accelwatch.remediation.keeper import Order
from accelwatch.remediation.record import Outcome, Remediation
from accelwatch.remediation.remediator import Remediator
from journal_rows import remediation
from support import FakeClock


class Ticket:
    def __init__(self, on_disk: bool = True) -> None:
        self.on_disk = on_disk
        self.gate = threading.Event()
        self.gate.set()

    def wait(self, seconds: float) -> bool:
        self.gate.wait(seconds)
        return self.on_disk


class Runner:
    def __init__(self, answer: Ended | Exception | None = None) -> None:
        self.answer = answer or Ended(status=0)
        self.ran: list[tuple[tuple[str, ...], bytes, float]] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, argv: Sequence[str], document: bytes, timeout: float, stopped: Callable[[], bool]) -> Ended:
        self.ran.append((tuple(argv), document, timeout))
        while not self.gate.wait(0.01):
            if stopped():
                return Ended(error="the agent was stopped, killed", status=-9)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Site:
    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.rows: list[Remediation] = []
        self.remediator = Remediator(runner, FakeClock(), self.rows.append)
        self.remediator.start()

    def order(self, number: int = 1, ticket: Ticket | None = None) -> None:
        row = remediation(number, outcome=Outcome.STARTED, ended_wall=None, exit_status=None, stderr="")
        self.remediator.take([Order(row=row, document=b"{}", timeout=7.0)], [row], ticket or Ticket())

    def ended(self, number: int = 1) -> list[Remediation]:
        deadline = time.monotonic() + 5
        while len(self.rows) < number and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(self.rows) == number
        return self.rows


def test_a_command_is_run_and_its_end_told() -> None:
    site = Site(Runner(Ended(status=0, stderr="drained")))
    site.order()
    (row,) = site.ended()
    assert site.runner.ran == [(("/usr/local/sbin/drain", "now"), b"{}", 7.0)]
    assert (row.outcome, row.exit_status, row.stderr, row.error) == (Outcome.SUCCEEDED, 0, "drained", None)
    assert row.ended_wall == FakeClock().time()
    site.remediator.close()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Ended(status=1, error="exit status 1"), Outcome.FAILED),
        (Ended(error="not started: no such file"), Outcome.FAILED),
        (Ended(status=-9, timed_out=True, error="no end"), Outcome.TIMED_OUT),
        (RuntimeError("a flaw"), Outcome.FAILED),
    ],
    ids=str,
)
def test_whatever_goes_wrong_is_the_end_of_that_one_alone(answer: Ended | Exception, outcome: Outcome) -> None:
    site = Site(Runner(answer))
    site.order(1)
    site.ended(1)
    site.runner.answer = Ended(status=0)
    site.order(2)
    first, second = site.ended(2)
    assert (first.outcome, second.outcome) == (outcome, Outcome.SUCCEEDED)
    assert first.error
    site.remediator.close()


def test_what_the_journal_has_not_taken_is_not_run() -> None:
    site = Site(Runner())
    site.order(1, Ticket(on_disk=False))
    (row,) = site.ended()
    assert (row.outcome, site.runner.ran) == (Outcome.UNJOURNALLED, [])
    site.remediator.close()


def test_it_waits_for_the_journal_and_for_the_command_before_and_nobody_waits_for_it() -> None:
    site, ticket = Site(Runner()), Ticket()
    ticket.gate.clear()
    began = time.monotonic()
    site.order(1, ticket)
    site.order(2)
    assert time.monotonic() - began < 1
    time.sleep(0.05)
    assert site.runner.ran == []
    ticket.gate.set()
    assert [row.id for row in site.ended(2)] == [1, 2]
    site.remediator.close()


def test_a_full_queue_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 2)
    site = Site(Runner())
    site.runner.gate.clear()
    for number in range(1, 6):
        site.order(number)
    assert site.rows == [], "told by its own thread"
    site.runner.gate.set()
    full = [row.error for row in site.ended(5) if row.outcome is Outcome.FAILED]
    assert full in ([f"not started: {module.QUEUE_LIMIT} others waited already"] * n for n in (2, 3))
    site.remediator.close()


def test_an_end_of_the_agent_gives_a_moment_and_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.3)
    site = Site(Runner())
    site.runner.gate.clear()
    site.order(1)
    site.order(2)
    while not site.runner.ran:
        time.sleep(0.005)
    site.remediator.close()
    killed, left = site.ended(2)
    assert killed.error == "the agent was stopped, killed"
    assert left.error == "not started: the agent was stopped"
    assert len(site.runner.ran) == 1

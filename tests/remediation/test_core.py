"""The command in the agent's core: asked for by drills, counted on the page, held back, reset, over restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accelwatch.config import Duration, RemediationHook
from accelwatch.maintenance import Maintenance
from accelwatch.metrics.exposition import Lines
from accelwatch.metrics.remediation import add_remediation
from accelwatch.remediation.keeper import Order
from accelwatch.remediation.record import FINAL, Outcome
from test_operators import Node

HOOK = RemediationHook(
    command=("/bin/true",), dry_run=False, drills=True, min_interval=Duration(1), max_per_hour=2
)  # fmt: skip


class Hooked(Node):
    def begin(self) -> None:
        super().begin()
        self.core.remedy_by(HOOK)

    def orders(self, **drill: Any) -> list[Order]:
        """A drill of ten seconds, and what is to be run for it."""
        self.drill(seconds=10, **drill)
        self.wait(2)
        orders = self.core.remediations.take_orders()
        self.wait(12)
        return orders + self.core.remediations.take_orders()

    def counts(self) -> dict[str, float]:
        page = self.core.remediation_page()
        assert page is not None
        return {name: count for name, count in page.counts.items() if count}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Hooked]:
    made = Hooked(tmp_path)
    yield made
    made.store.close()


def test_every_outcome_is_on_the_page_before_there_is_any(node: Hooked) -> None:
    """And nothing where no command is configured."""
    page = node.core.remediation_page()
    assert page is not None
    assert (page.breaker_open, node.counts()) == (False, {})
    added: list[tuple[str, tuple[str, ...], float]] = []

    class Noted(Lines):
        def add(self, family: Any, labels: Any, value: Any) -> None:
            added.append((family.name, labels, value))

    add_remediation(Noted({}), page)
    assert added == [
        *(("remediations_total", (outcome.value,), 0) for outcome in FINAL),
        ("remediation_breaker_open", (), 0),
    ]
    node.core.remedy_by(RemediationHook())
    assert node.core.remediation_page() is None


def test_each_drill_is_an_incident_until_the_breaker_opens_and_an_operator_closes_it(node: Hooked) -> None:
    assert [len(node.orders()) for _ in range(3)] == [1, 1, 0]
    page = node.core.remediation_page()
    assert page is not None
    assert (page.breaker_open, node.counts()) == (True, {"breaker_open": 1})
    node.restart()
    assert node.orders() == []
    assert node.operator.reset_breaker({"reason": "seen", "by": "anna"}) == {"was_open": True}
    assert node.pipeline.woken
    assert len(node.orders()) == 1
    node.core.remedy_by(RemediationHook())
    assert "no command is configured" in node.operator.reset_breaker({"reason": "x"})["error"]


def test_what_was_started_before_a_kill_is_unknown_and_counted_once(node: Hooked) -> None:
    assert len(node.orders()) == 1
    for _ in range(2):
        node.restart()
        node.wait(2)
        assert node.counts() == {"unknown": 1}
        assert node.core.remediations.take_orders() == []
    assert [row.outcome for row in node.store.load().remediations] == [Outcome.UNKNOWN]


def test_in_planned_work_and_without_the_sites_wish_a_drill_runs_nothing(node: Hooked) -> None:
    now = node.steady.now()
    node.core.maintain(Maintenance(since_at=now, until_at=now + 3600, reason="board swap"))
    assert node.orders() == []
    node.core.maintain(None)
    node.core.remedy_by(RemediationHook(command=("/bin/true",), dry_run=False))
    assert node.orders() == []
    assert node.counts() == {}

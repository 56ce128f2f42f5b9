"""Three quarters with known truth through a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prometheus_history import needs_prometheus
from quarters import asked, three
from quarters.three import Backfilled

pytestmark = [needs_prometheus, pytest.mark.e2e]


@pytest.fixture(scope="module", params=three.QUARTERS)
def quarter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backfilled]:
    with three.backfilled(three.QUARTERS[request.param], tmp_path_factory.mktemp("quarter")) as found:
        yield found


def test_what_was_backfilled_is_the_truth(quarter: Backfilled) -> None:
    """Events by count, exposure by the second: else the report could not be compared with it."""
    plan = quarter.fleet.plan
    assert asked.answers(quarter.url, plan.cluster, quarter.end, plan.days) == asked.expected(
        quarter.truth, plan.cluster
    )
    began = quarter.end - plan.span
    assert asked.installed(quarter.url, plan.cluster, quarter.end, plan.days) == {
        life.serial: began + life.installed for life in quarter.truth.lives
    }

"""Three quarters with known truth through a real Prometheus to the report."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from accelwatch.cli import main
from prometheus_history import needs_prometheus
from quarters import asked, compared, three
from quarters.three import Backfilled

pytestmark = [needs_prometheus, pytest.mark.e2e]


@pytest.fixture(scope="module", params=three.QUARTERS)
def quarter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backfilled]:
    with three.backfilled(three.QUARTERS[request.param], tmp_path_factory.mktemp("quarter")) as found:
        yield found


def test_what_was_backfilled_is_the_truth(quarter: Backfilled) -> None:
    """Events by count, exposure by the second: else the report could not be compared with it."""
    plan = quarter.fleet.plan
    answers = asked.answers(quarter.url, plan.cluster, quarter.end, plan.days)
    assert answers == asked.expected(quarter.truth)
    began = quarter.end - plan.span
    assert asked.installed(quarter.url, plan.cluster, quarter.end, plan.days) == {
        life.serial: began + life.installed for life in quarter.truth.lives
    }


def test_the_report_says_what_is_true(quarter: Backfilled, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts exactly, exposure to the second, intervals, lives by serial number, times, verdicts."""
    assert main(["report", "--prometheus", quarter.url, "--window", "90d", "--json"]) == 0
    assert three.differences(quarter, json.loads(capsys.readouterr().out)) == []


def test_a_window_that_ends_with_a_sample_has_that_one_and_not_the_one_that_it_begins_with(
    quarter: Backfilled, capsys: pytest.CaptureFixture[str]
) -> None:
    """The seam between two days, and both ends: nothing twice, and nothing lost."""
    end = str(quarter.end)
    assert main(["report", "--prometheus", quarter.url, "--window", "90d", "--end", end, "--json"]) == 0
    assert list(compared.of_rates(json.loads(capsys.readouterr().out), quarter.truth)) == []


def test_what_is_matched_alone_is_as_it_was_among_all(quarter: Backfilled, capsys: pytest.CaptureFixture[str]) -> None:
    """One vendor's models: their counts and exposure, and nobody else's."""
    options = ["--match", "vendor=nvidia", "--match", "cluster=synthetic"]
    assert main(["report", "--prometheus", quarter.url, "--window", "90d", "--json", *options]) == 0
    rates = json.loads(capsys.readouterr().out)["rates"]
    of_vendor = {model.name for model in quarter.fleet.models if model.vendor == "nvidia"}
    assert {one["model"] for one in rates} == of_vendor
    assert {(one["model"], one["class"]): one["count"] for one in rates if one["count"]} == {
        key: count for key, count in quarter.truth.episodes.items() if key[0] in of_vendor
    }
    assert all(round(one["device_hours"] * 3600) == quarter.truth.seconds[one["model"], "powered"] for one in rates)

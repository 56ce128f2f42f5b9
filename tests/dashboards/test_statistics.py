"""The limits that the dashboards compute in PromQL, against exact ones, by a real Prometheus."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from accelwatch.taxonomy.loader import load
from boards.statistics import causes, hardware, lower, upper
from dashboards.shipped_boards import ask
from prometheus_history import History, needs_prometheus, served

# Exact (Garwood) 95 % limits of a count: chi2.ppf(0.025, 2 k) / 2 and chi2.ppf(0.975, 2 k + 2) / 2, by scipy 1.17.1.
EXACT = {
    0: (0.0, 3.68888),
    1: (0.025318, 5.571643),
    2: (0.242209, 7.224688),
    3: (0.618672, 8.767273),
    4: (1.089865, 10.241589),
    5: (1.623486, 11.668332),
    10: (4.795389, 18.390356),
    50: (37.110964, 65.918767),
    200: (173.240883, 229.721982),
}


@needs_prometheus
@pytest.mark.e2e
def test_the_limits_agree_with_the_exact_ones(tmp_path: Path) -> None:
    now = float(int(time.time()) // 60 * 60 - 600)
    history = History()
    for k in EXACT:
        history.add("k", {"n": str(k)}, now - 60.0, now + 15.0, float(k))
    with served(history, tmp_path) as url:
        low = {int(found["metric"]["n"]): float(found["value"][1]) for found in ask(url, lower("k"), now)}
        high = {int(found["metric"]["n"]): float(found["value"][1]) for found in ask(url, upper("k"), now)}
    assert set(low) == set(high) == set(EXACT)
    for k, (exact_low, exact_high) in EXACT.items():
        # 1.4 % at k = 4; below 0.8 % from 5 on.
        assert low[k] == pytest.approx(exact_low, rel=0.015 if k == 4 else 0.008, abs=1e-9)
        assert high[k] == pytest.approx(exact_high, rel=0.006)


def test_every_class_is_in_one_group_of_causes() -> None:
    named = [name for classes in causes().values() for name in classes.split("|")]
    assert sorted(named) == sorted([*load().classes, "operator"])


def test_the_comparison_is_of_the_hardware_classes_of_the_taxonomy() -> None:
    assert set(hardware().split("|")) == {name for name, class_ in load().classes.items() if class_.hardware}

"""The worked examples of the reference, to 1e-6, where they lie beside the project."""

import csv
import math

import pytest

from accelwatch.reliability import survival
from accelwatch.reliability.availability import availability, system_mttf
from accelwatch.reliability.cells import NodeTime
from accelwatch.reliability.coalescing import coalesce
from accelwatch.reliability.dispersion import dispersion
from accelwatch.reliability.intervals import proportion, rate
from accelwatch.reliability.multiple import benjamini_hochberg, holm
from accelwatch.reliability.ratios import p_by_likelihood, ratio
from support import CORPUS

PATH = CORPUS.parent / "reference" / "stat_examples.csv"
EXACT = 1e-6


def near(value, text):
    return value == pytest.approx(float(text), rel=EXACT, abs=1e-12)


def numbers(text):
    return [float(part) for part in text.split("|")]


def check_rate(row, extra):
    found = rate(int(row["k1"]), float(row["t1"]), float(row["confidence"]))
    assert near(found.rate, row["estimate"])
    assert near(found.low, row["lower"])
    assert near(found.high, row["upper"])
    assert near(found.high_one_sided, extra["upper_one_sided"])
    for value, name in ((found.mtbf, "mtbf"), (found.mtbf_low, "mtbf_lower"), (found.mtbf_high, "mtbf_upper")):
        assert near(math.inf if value is None else value, extra[name])


def check_ratio(row, _extra):
    counts = int(row["k1"]), float(row["t1"]), int(row["k2"]), float(row["t2"])
    found = ratio(*counts, float(row["confidence"]))
    assert near(found.ratio, row["estimate"])
    assert near(found.low, row["lower"])
    assert near(found.high, row["upper"])
    # The examples' p is binomtest's; the one of the report agrees with the interval.
    assert near(p_by_likelihood(*counts), row["p_value"])
    assert (found.p_value < 1 - float(row["confidence"])) == (not found.low <= 1 <= found.high)


def check_availability(row, extra):
    share = float(row["t1"]) / 2
    nodes = [NodeTime(node=name, installed=share, down=down) for name, down in (("a", float(row["t2"])), ("b", 0.0))]
    assert near(availability(nodes).availability, row["estimate"])


def check_proportion(row, _extra):
    found = proportion(int(row["k1"]), int(row["t1"]), float(row["confidence"]))
    assert all(near(value, row[name]) for value, name in zip(found, ("estimate", "lower", "upper"), strict=True))


def check_survival(row, extra):
    steps = survival.kaplan_meier(numbers(extra["times"]), [bool(e) for e in numbers(extra["events"])])
    step = survival.at(steps, float(extra["at"]))
    assert near(step.survival, row["estimate"])
    assert near(step.error, extra["greenwood_se"])


def check_mttf(row, extra):
    assert near(system_mttf(float(extra["nodes"]), float(extra["node_rate_per_day"])), row["estimate"])


def check_coalescing(row, extra):
    episodes = coalesce(numbers(extra["times"]), float(extra["window_s"]))
    assert "|".join(f"{e.first:g}-{e.last:g}x{e.count}" for e in episodes) == extra["episodes"]
    assert len(episodes) == int(row["estimate"])


def check_many(_row, extra):
    for adjust, name in ((holm, "holm"), (benjamini_hochberg, "bh")):
        assert adjust(numbers(extra["p"])) == pytest.approx(numbers(extra[name]), rel=EXACT)


def check_dispersion(row, extra):
    found = dispersion([int(c) for c in numbers(extra["counts"])], numbers(extra["exposure"]))
    assert near(found.ratio, row["estimate"])
    assert near(found.chi2, extra["chi2"])
    assert found.df == int(extra["df"])
    assert found.p_value == pytest.approx(float(row["p_value"]), rel=EXACT)


CHECKS = {
    "rate": check_rate,
    "rate_ratio": check_ratio,
    "availability": check_availability,
    "proportion": check_proportion,
    "kaplan_meier": check_survival,
    "system_mttf": check_mttf,
    "coalesce": check_coalescing,
    "multiple_comparison": check_many,
    "overdispersion": check_dispersion,
}


def test_every_worked_example_comes_out():
    if not PATH.exists():
        pytest.skip("the worked examples are not here")
    with PATH.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 18
    assert {row["kind"] for row in rows} == set(CHECKS)
    for row in rows:
        extra = dict(part.split("=", 1) for part in row["extra"].split(";")) if row["extra"] else {}
        CHECKS[row["kind"]](row, extra)

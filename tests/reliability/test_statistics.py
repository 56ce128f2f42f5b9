"""Statistics where the answer is known without them: edges, agreement of p and interval, exact coverage."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from accelwatch.reliability import survival
from accelwatch.reliability.availability import availability
from accelwatch.reliability.cells import NodeTime
from accelwatch.reliability.classes import Cause, cause_of, observable, primary
from accelwatch.reliability.dispersion import dispersion, rate_bootstrap, ratio_bootstrap, top_share
from accelwatch.reliability.durations import summary
from accelwatch.reliability.intervals import byar, proportion, rate
from accelwatch.reliability.ratios import events_needed, p_by_likelihood, ratio, smallest_seen
from accelwatch.taxonomy.loader import CLASSES


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 419, 40_000, 5_000_000])
def test_limits_leave_the_right_tails(count, confidence):
    """By the Poisson distribution itself, not by the quantiles that made them."""
    hours = 3e8
    found = rate(count, hours, confidence)
    tail = (1 - confidence) / 2
    assert stats.poisson.cdf(count, found.high * hours) == pytest.approx(tail, rel=1e-6)
    if count:
        assert stats.poisson.sf(count - 1, found.low * hours) == pytest.approx(tail, rel=1e-6)
    else:
        assert (found.low, found.mtbf, found.mtbf_high) == (0, None, None)
        assert found.mtbf_low == pytest.approx(hours / -math.log(tail))
    assert stats.poisson.cdf(count, found.high_one_sided * hours) == pytest.approx(1 - confidence, rel=1e-6)


@pytest.mark.parametrize(
    ("count", "hours", "confidence"),
    [(-1, 1, 0.9), (1.5, 1, 0.9), (1, 0, 0.9), (1, math.inf, 0.9), (1, 1, 1), (1, 1, 95)],
)
def test_what_cannot_be_counted_is_refused(count, hours, confidence):
    with pytest.raises(ValueError, match="expected"):
        rate(count, hours, confidence)


def test_byar_is_as_near_as_it_says():
    for count in (*range(200), 1000, 100_000):
        exact, (low, high) = rate(count, 1.0), byar(count, 1.0)
        assert high == pytest.approx(exact.high, rel=0.006)
        assert low == pytest.approx(exact.low, rel=0.013 if count == 4 else 0.008, abs=5e-5)


def test_p_agrees_with_the_interval_everywhere():
    for k1, k2 in itertools.product(range(25), repeat=2):
        for t1, t2 in ((1.0, 1.0), (8000.0, 10000.0), (1.0, 30.0)):
            found = ratio(k1, t1, k2, t2)
            outside = found.low > 1 or (found.high is not None and found.high < 1)
            assert outside == (found.p_value < 0.05), (k1, t1, k2, t2, found)


def test_a_ratio_does_not_depend_on_the_unit_and_turns_with_its_arms():
    there, back, thousands = ratio(3, 12e3, 9, 15e3), ratio(9, 15e3, 3, 12e3), ratio(3, 12, 9, 15)
    assert thousands.p_value == pytest.approx(there.p_value) == pytest.approx(back.p_value)
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))


def test_ratios_without_events():
    assert ratio(0, 1, 0, 1) == pytest.approx(ratio(0, 5, 0, 7))
    assert (ratio(0, 1, 0, 1).ratio, ratio(0, 1, 0, 1).high, ratio(0, 1, 0, 1).p_value) == (None, None, 1.0)
    only_first = ratio(6, 10e3, 0, 8e3)
    assert (only_first.ratio, only_first.high) == (None, None)
    assert only_first.low == pytest.approx(1 / 1.0616389928716543)
    # The known contradiction of the other two-sided rule.
    assert p_by_likelihood(0, 8e3, 6, 10e3) < 0.05 < ratio(0, 8e3, 6, 10e3).p_value


def test_power_is_that_of_the_exact_test():
    assert events_needed(2.0) == 72
    assert 1.95 < smallest_seen(72, 0.5) <= 2.0
    assert smallest_seen(3, 0.5) is None, "three events can never make p < 0.05"
    # Counted over all outcomes of the test that the report makes.
    total, share = 60, 0.75
    seen = sum(stats.binom.pmf(k, total, share) for k in range(total + 1) if ratio(k, 1, total - k, 1).p_value < 0.05)
    assert seen == pytest.approx(0.9, abs=0.1)
    assert (smallest_seen(total, 0.5, power=seen)) == pytest.approx(3, rel=0.01)


def test_proportions_at_their_ends():
    assert proportion(0, 7)[1:] == pytest.approx((0, 1 - 0.025 ** (1 / 7)))
    assert proportion(7, 7)[1:] == pytest.approx((0.025 ** (1 / 7), 1))
    with pytest.raises(ValueError, match="at most"):
        proportion(8, 7)


def test_one_bad_node_widens_the_interval_and_is_named():
    counts, hours = [0] * 19 + [40], [2000.0] * 20
    found = dispersion(counts, hours)
    assert (found.df, top_share(counts)) == (19, 1.0)
    assert found.ratio == pytest.approx(40.0)
    low, high = rate_bootstrap(counts, hours)
    exact = rate(40, 40_000.0)
    assert low < exact.low
    assert high > exact.high
    assert rate_bootstrap(counts, hours) == (low, high), "seeded: the same report twice"
    other = ratio_bootstrap((counts, hours), ([2] * 20, hours))
    assert other[0] < 1 < other[1]
    assert ratio_bootstrap((counts, hours), ([0] * 19 + [1], hours))[1] is None


def test_the_bootstrap_of_like_nodes_is_the_poisson_interval():
    counts = np.random.default_rng(3).poisson(4, 400)
    low, high = rate_bootstrap(counts, [10.0] * 400)
    exact = rate(int(counts.sum()), 4000.0)
    assert (low, high) == pytest.approx((exact.low, exact.high), rel=0.02)


def test_nothing_to_compare_is_none():
    assert dispersion([5], [10.0]) is None
    assert dispersion([0, 0], [10.0, 10.0]) is None
    assert rate_bootstrap([3], [10.0]) is None
    assert top_share([0]) is None
    with pytest.raises(ValueError, match="without exposure"):
        dispersion([1, 1], [0.0, 10.0])


def test_survival_with_delayed_entry():
    """Worked by hand: at 100 two of three are at risk, at 200 two of the two that are left."""
    steps = survival.kaplan_meier([100, 200, 300], [True, True, False], [0, 0, 150])
    assert [(s.at_risk, s.survival) for s in steps] == [(2, 0.5), (2, 0.25)]
    assert steps[0].error == pytest.approx(0.5 * math.sqrt(1 / 2))
    assert 0 < steps[1].low < 0.25 < steps[1].high < 1
    assert survival.at(steps, 99) is None
    assert survival.at(steps, 100).survival == 0.5


def test_survival_is_right_when_the_watch_began_late():
    """Of devices with a constant hazard that are watched from some age on, half are gone after the half-life."""
    generator = np.random.default_rng(5)
    life, entered = generator.exponential(1000 / math.log(2), 4000), generator.uniform(0, 800, 4000)
    kept = [(t, e) for t, e in zip(life, entered, strict=True) if t > e]
    left = [min(t, 1500.0) for t, _ in kept]
    steps = survival.kaplan_meier(left, [t < 1500 for t, _ in kept], [e for _, e in kept])
    assert survival.at(steps, 1000).survival == pytest.approx(0.5, abs=0.03)


def test_nobody_survives():
    (step,) = survival.kaplan_meier([5.0], [True])
    assert (step.survival, step.low, step.high, math.isnan(step.error)) == (0, 0, 0, True)
    with pytest.raises(ValueError, match="entered"):
        survival.kaplan_meier([5.0], [True], [5.0])


def test_availability_is_bootstrapped_over_nodes():
    nodes = [NodeTime(node=str(n), installed=720, down=72 if n < 4 else 0, planned=36) for n in range(40)]
    found = availability(nodes)
    assert (found.availability, found.planned) == (pytest.approx(0.99), pytest.approx(0.05))
    assert found.low < 0.985 < 0.99 < found.high < 1
    assert availability(nodes[:1]).low is None
    with pytest.raises(ValueError, match="more down"):
        availability([NodeTime(node="a", installed=1, down=1, planned=1)])


def test_times_are_summed_up_by_rank():
    found = summary([float(n) for n in range(1, 101)] + [1e6])
    assert (found.count, found.median, found.p90) == (101, 51, 91)
    assert found.mean > 9000
    assert (found.median_low, found.median_high) == (41, 61), "ranks of the exact binomial: 41 and 61 of 101"
    assert summary([3.0, 4.0]).median_low is None, "two times bound nothing at 95 %"
    assert summary([]) is None


def test_every_class_has_a_cause_and_a_place():
    assert {cause_of(name) for name in CLASSES} == set(Cause)
    assert cause_of("hang_no_error") is cause_of("GPU_dead") is Cause.UNKNOWN
    assert {cause_of(name) for name in ("operator", "driver_software", "software_job")} == {Cause.SOFTWARE}
    assert {cause_of(name) for name in ("storage", "mem_correctable", "host")} == {Cause.HARDWARE}
    assert cause_of("net_link_down") is Cause.INTERCONNECT
    assert set(primary()) <= set(CLASSES)
    assert {"device_lost", "mem_uncorrectable"} <= set(primary())
    assert not {"mem_repair", "software_job", "hang_no_error"} & set(primary())
    assert observable("fabric_switch", "ascend") is False
    assert observable("fabric_switch", "nvidia") is True
    assert observable("GPU_dead", "nvidia") is None
    assert observable("host", "amd") is None

"""The report's document: what it says of counts, and how often it is right."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelwatch.reliability import published
from accelwatch.reliability.cells import Cell, Inputs, Unit
from accelwatch.reliability.counts import read
from accelwatch.reliability.document import document

HOURS = 90 * 24.0
PUBLISHED = Path(published.__file__).with_name("published.csv")


def cell(group: str, count: int, hours: float = 10_000.0, class_: str = "device_lost", **changes: Any) -> Cell:
    vendor = "ascend" if group.startswith("as") else "nvidia"
    return Cell(group=group, vendor=vendor, model=group, class_=class_, count=count, hours=hours, **changes)


def made(*cells: Cell) -> dict[str, Any]:
    return document(Inputs(title="t", produced="now", origin="test", cells=cells))


def test_no_event_is_a_bound_and_no_rate_of_0_alone() -> None:
    """An MTBF without an upper limit is null, never infinite."""
    (one,) = made(cell("nv", 0, 500.0))["rates"]
    assert (one["mtbf_hours"], one["mtbf_high"], one["rate_low"]) == (None, None, 0.0)
    assert one["mtbf_low"] == pytest.approx(135.5425153, rel=1e-9)
    assert one["rate_high"] == pytest.approx(0.007377758908, rel=1e-9)


def test_what_cannot_be_observed_has_neither_rate_nor_ratio() -> None:
    """Not 0, and not compared."""
    found = made(cell("nv", 0, observable=False), cell("as", 7))
    assert [one["rate_per_device_hour"] is None for one in found["rates"]] == [True, False]
    assert found["ratios"] == []
    assert found["primary"] == []


def test_every_pair_that_shares_a_class_has_a_ratio_the_first_in_the_alphabet_over_the_other() -> None:
    """Three groups, three pairs; a class of one alone has none."""
    found = made(cell("nv", 24), cell("as", 8), cell("nx", 9), cell("nv", 3, class_="power"))
    assert [(one["a"], one["b"]) for one in found["ratios"]] == [("as", "nv"), ("as", "nx"), ("nv", "nx")]
    assert found["ratios"][0]["ratio"] == pytest.approx(8 / 24)


def test_p_and_interval_never_contradict_each_other() -> None:
    """0 in 8,000 h against 6 in 10,000 h: other p-values are below 0.05 while the interval holds 1."""
    (one,) = made(cell("as", 0, 8000.0), cell("nv", 6, 10_000.0))["ratios"]
    assert one["high"] > 1
    assert one["p_value"] == pytest.approx(0.0588, abs=1e-5)
    assert one["p_value_by_likelihood"] == pytest.approx(0.03710854074, rel=1e-6)
    assert one["verdict"].startswith("not distinguishable: fewer than 5 events")


def test_verdicts_stand_for_all_classes_of_a_pair() -> None:
    """One of twenty classes with p = 0.02 alone is no finding (Holm)."""
    alone = made(cell("as", 8), cell("nv", 22))["ratios"]
    classes = ["power", "thermal", "host", "storage", "net_errors", "mem_repair", "pcie_host_link", "fail_slow"]
    among = [side for name in classes for side in (cell("as", 10, class_=name), cell("nv", 10, class_=name))]
    (one,) = (r for r in made(cell("as", 8), cell("nv", 22), *among)["ratios"] if r["class"] == "device_lost")
    assert alone[0]["verdict"] == "different"
    assert one["p_value"] == alone[0]["p_value"] < 0.05
    assert one["p_value_holm"] == pytest.approx(9 * one["p_value"])
    assert one["verdict"].startswith("not disting")


def test_the_comparison_chosen_beforehand_takes_only_what_both_list() -> None:
    """A class that one does not list is unknown there, not 0."""
    found = made(
        cell("as", 20), cell("as", 9, class_="onchip_sram"), cell("as", 50, class_="thermal"),
        cell("nv", 10), cell("nv", 99, class_="control_processor"), cell("nv", 1, class_="thermal"),
    )["primary"]  # fmt: skip
    assert [(one["classes"], one["count_a"], one["count_b"]) for one in found] == [(["device_lost"], 20, 10)]
    assert found[0]["events_needed_for_2"] == 72
    assert found[0]["smallest_ratio_seen"] > 2


def test_a_few_bad_devices_are_shown_with_the_interval_that_stands_it() -> None:
    """Dispersion over devices, the first device's share, and nodes resampled."""
    units = [Unit(str(i), count, 720.0) for i, count in enumerate((0, 1, 0, 2, 1, 0, 14, 1))]
    one = made(cell("nv", 19, 5760.0, by_device=units, by_node=units))["rates"][0]
    assert one["dispersion"] == pytest.approx(9.496240602, rel=1e-9)
    assert one["top_device_share"] == 14 / 19
    low, high = one["bootstrap"]
    assert low < one["rate_low"]
    assert high > one["rate_high"]


CLASSES = {
    "device_lost": 4e-5,
    "mem_uncorrectable": 3e-5,
    "control_processor": 1e-5,
    "onchip_sram": 4e-6,
    "power": 2e-5,
}


def quarter(path: Path, random: np.random.Generator, ratio: float, devices: dict[str, int]) -> dict[str, Any]:
    """A quarter of two vendors, the second of which has `ratio` times the first one's rates; through a file."""
    lines = ["study,cluster,vendor,device_model,devices,duration_hours,fault_class,count"]
    for vendor, model in (("ascend", "910B"), ("nvidia", "H100")):
        times = ratio if vendor == "nvidia" else 1.0
        for class_, rate in CLASSES.items():
            count = random.poisson(rate * times * devices[vendor] * HOURS)
            lines.append(f"q,c,{vendor},{model},{devices[vendor]},{HOURS:g},{class_},{count}")
    path.write_text("\n".join(lines))
    return document(read(path))


def test_200_quarters_hold_their_true_rates_and_call_no_equal_rates_different(tmp_path: Path) -> None:
    """95 % less two standard errors, over classes that are expected five times; at most 5 % false differences."""
    random, held, different, compared = np.random.default_rng(20261127), [], 0, 0
    devices = {"ascend": 256, "nvidia": 384}
    for _ in range(200):
        found = quarter(tmp_path / "q.csv", random, 1.0, devices)
        for one in found["rates"]:
            true = CLASSES[one["class"]]
            if true * one["device_hours"] >= 5:
                held.append(one["rate_low"] <= true <= one["rate_high"])
        verdicts = [one["verdict"] for one in (*found["ratios"], *found["primary"])]
        different += sum(verdict == "different" for verdict in verdicts)
        compared += len(verdicts)
    assert len(held) >= 1000
    assert np.mean(held) >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / len(held))
    assert different / compared <= 0.05


def test_a_true_ratio_of_3_with_60_events_is_seen_nine_times_of_ten(tmp_path: Path) -> None:
    """By the comparison chosen beforehand: 15 and 45 hardware faults that end runs, on average."""
    random = np.random.default_rng(20261128)
    hardware = sum(rate for name, rate in CLASSES.items() if name != "power")
    devices = dict.fromkeys(("ascend", "nvidia"), round(15 / hardware / HOURS))
    seen = [quarter(tmp_path / "q.csv", random, 3.0, devices)["primary"][0]["verdict"] for _ in range(200)]
    assert seen.count("different") / len(seen) >= 0.90


def test_studies_of_one_vendor_are_no_answer_of_one_against_the_other() -> None:
    """Delta's two halves were counted alike; Delta and another cluster were not."""
    found = document(read(PUBLISHED))
    pairs = [line for line in found["answer"] if " times the rate of " in line]
    assert pairs
    assert all(line.split()[0] == line.split(" times the rate of ")[1].split()[0] for line in pairs)
    alone = made(cell("s1", 9), cell("s2", 40))
    assert alone["answer"] == [
        "Only groups of different studies are here, which count differently: their ratios are in the tables."
    ]

"""When a difference may be called one where few devices give most events; vendors with all their models together."""

from __future__ import annotations

from typing import Any

import pytest

from accelwatch.reliability.cells import Cell, Inputs, Unit
from accelwatch.reliability.document import document

WINDOW = ("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z")


def cell(group: str, counts: list[int], class_: str = "device_lost", *, vendor: str = "nvidia", **more: Any) -> Cell:
    """A device on each node, 1,000 hours each."""
    units = [Unit(f"n{number}", count, 1000.0) for number, count in enumerate(counts)]
    hours = 1000.0 * len(counts)
    return Cell(
        group=group, vendor=vendor, model=group, class_=class_, count=sum(counts), hours=hours, by_node=units,
        by_device=units, **more,
    )  # fmt: skip


def made(*cells: Cell, window: tuple[str, str] | None = WINDOW) -> dict[str, Any]:
    return document(Inputs(title="t", produced="now", origin="test", window=window, cells=cells))


def test_one_bad_device_makes_no_difference_between_vendors() -> None:
    """30 against 10 over equal hours is more than chance, unless one device gave 25 of the 30."""
    alike = made(cell("a", [1, 2] * 10), cell("b", [0, 1] * 10))["ratios"][0]
    lemon = made(cell("a", [25] + [1, 0] * 5 + [0] * 9), cell("b", [0, 1] * 10))["ratios"][0]
    assert (alike["count_a"], alike["count_b"]) == (lemon["count_a"], lemon["count_b"]) == (30, 10)
    assert alike["p_value"] == lemon["p_value"] < 0.05
    assert (alike["dispersed"], alike["bootstrap"], alike["verdict"]) == (False, None, "different")
    assert lemon["dispersed"]
    assert lemon["bootstrap"][0] < 1
    assert (
        lemon["verdict"]
        == "not distinguishable: a few devices give most of the events, and resampled nodes hold equal rates"
    )


def test_devices_that_all_differ_may_still_be_worse() -> None:
    """Dispersed, but the nodes agree."""
    (one,) = made(cell("a", [12, 1, 9, 15, 3, 8, 2, 11] * 5), cell("b", [1, 0] * 20))["ratios"]
    assert (one["dispersed"], one["verdict"]) == (True, "different")
    assert one["bootstrap"][0] > 1


def test_without_nodes_to_resample_nothing_dispersed_is_different() -> None:
    a = cell("a", [25] + [1] * 19)
    one = Cell(group="a", vendor="x", model="a", class_="device_lost", count=44, hours=20_000.0, by_device=a.by_device)
    (found,) = made(one, cell("b", [0, 1] * 10))["ratios"]
    assert (found["bootstrap"], found["verdict"][:20]) == (None, "not distinguishable:")


def test_vendors_are_put_together_over_what_all_can_see() -> None:
    """Their models' counts and hours add; a class that one model cannot see is left out for all."""
    cells = [
        cell("H100", [2, 3]), cell("H100", [1, 0], "onchip_sram"), cell("H200", [4, 0, 1]),
        cell("H200", [1, 1, 1], "onchip_sram"), cell("910C", [5, 5], vendor="ascend"),
        cell("910C", [0, 0], "onchip_sram", vendor="ascend", observable=False),
    ]  # fmt: skip
    vendors = made(*cells)["vendors"]
    assert vendors["classes"] == ["device_lost"]
    assert [(one["group"], one["model"], one["count"], one["device_hours"]) for one in vendors["sums"]] == [
        ("ascend", "910C", 10, 2000.0),
        ("nvidia", "H100, H200", 10, 5000.0),
    ]
    (one,) = vendors["ratios"]
    assert (one["a"], one["b"], one["ratio"]) == ("ascend", "nvidia", pytest.approx(2.5))
    assert vendors["sums"][1]["devices_affected"] == 4
    assert made(*cells, window=None)["vendors"]["sums"] == []


def test_the_sum_of_classes_has_their_devices_and_nodes() -> None:
    """A lemon of one class is one of the sum."""
    found = made(
        cell("a", [25] + [0] * 19), cell("a", [1] * 20, "onchip_sram"), cell("b", [1] * 20, vendor="ascend"),
        cell("b", [0] * 20, "onchip_sram", vendor="ascend"),
    )  # fmt: skip
    (one,) = found["primary"]
    assert (one["count_a"], one["count_b"], one["dispersed"]) == (45, 20, True)
    assert one["verdict"].startswith("not distinguishable: a few devices")
    assert found["vendors"]["sums"][1]["top_device_share"] == 26 / 45


def test_what_had_no_event_on_either_side_is_no_comparison_of_its_own() -> None:
    """Twenty classes in which nothing happened do not hide the one in which something did."""
    quiet = ["power", "thermal", "host", "storage", "mem_repair", "pcie_host_link", "unknown", "onchip_sram"]
    nothing = [cell(group, [0, 0], class_) for group in "ab" for class_ in quiet]
    found = made(cell("a", [11, 11]), cell("b", [4, 4]), *nothing)["ratios"]
    (one,) = (ratio for ratio in found if ratio["class"] == "device_lost")
    assert (one["p_value_holm"], one["verdict"]) == (one["p_value"], "different")
    assert {ratio["p_value_holm"] for ratio in found if ratio["class"] != "device_lost"} == {None}


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([20, 20], "This is more than chance"),
        ([5, 6], "no difference that can be told from chance. With 19 events in all, a true ratio of"),
        ([1, 1], "(fewer than 5 events on a side)"),
        ([0, 0], "There"),
    ],
)
def test_the_answer_is_in_words(counts: list[int], words: str) -> None:
    found = made(cell("H100", counts), cell("910C", [4, 4], vendor="ascend"))
    assert found["answer"][0].startswith("Ascend: 8 hardware faults that end runs in 2,000 powered device-hours (910C)")
    if sum(counts):
        assert words in found["answer"][2]
    else:
        assert "more than 542 h between two of a device (95%)" in found["answer"][1]

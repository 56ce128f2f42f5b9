"""Row remapping, retired and isolated pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.memory_repair import ISOLATED_FULL, ISOLATED_NOTED, MemoryRepair
from accelwatch.readings.memory import Repairs
from accelwatch.readings.severity import Severity
from detectors.replaying import GPU, NPU, Fed, answered, device

Make = Callable[..., Fed]


def gpu(**values: object) -> object:
    return answered("nvml", device(GPU, repairs=Repairs(**{"failed": False, **values})))  # type: ignore[arg-type]


def npu(pages: int | None, **values: object) -> object:
    return answered("npu_smi", device(NPU, repairs=Repairs(rows_uncorrected=pages, **values)))  # type: ignore[arg-type]


def test_rows_remapped_are_told_by_their_growth(fed: Make) -> None:
    repair = fed(MemoryRepair())
    repair.quiet(gpu(rows_uncorrected=3, rows_corrected=1))
    (sign,) = repair.signs(gpu(rows_uncorrected=4, rows_corrected=1))
    assert (sign.class_, sign.severity, sign.events, sign.lasting) == ("mem_repair", None, 1, False)
    assert sign.message == "1 more remapped row because of uncorrectable errors, 4 in all"
    (sign,) = repair.signs(gpu(rows_uncorrected=4, rows_corrected=3))
    assert (sign.severity, sign.events) == (Severity.INFORMATIONAL, 2)
    repair.quiet(gpu())
    repair.quiet(gpu(rows_uncorrected=0, rows_corrected=0))  # reset of the InfoROM
    repair.quiet(gpu(rows_uncorrected=0, rows_corrected=0))


@pytest.mark.parametrize(
    ("flag", "condition", "severity"),
    [
        ("pending", "repair pending", Severity.DEGRADING),
        ("failed", "row remap failed", Severity.DEGRADING),
        ("banks_without_spare", "banks without spare", Severity.INFORMATIONAL),
    ],
)
def test_flags_last_until_the_device_takes_them_back(fed: Make, flag: str, condition: str, severity: Severity) -> None:
    repair = fed(MemoryRepair())
    repair.quiet(gpu(pending=False, banks_without_spare=0))
    (sign,) = repair.signs(gpu(**{flag: 1 if flag == "banks_without_spare" else True}))
    assert (sign.class_, sign.condition, sign.severity, sign.lasting) == ("mem_repair", condition, severity, True)
    repair.quiet(answered("nvml", device(GPU)))
    repair.quiet(gpu(**{flag: None}))
    assert [gone.condition for gone in repair.gone(gpu(pending=False, failed=False, banks_without_spare=0))] == [
        condition
    ]


def test_ascend_pages_climb_a_ladder(fed: Make) -> None:
    repair = fed(MemoryRepair())
    repair.quiet(npu(2))
    assert [sign.lasting for sign in repair.signs(npu(ISOLATED_NOTED - 1))] == [False]
    told = {sign.condition: sign for sign in repair.signs(npu(ISOLATED_NOTED))}
    assert told["many isolated pages"].severity is Severity.INFORMATIONAL
    assert told["isolated pages uncorrected"].events == 1
    assert {sign.condition for sign in repair.signs(npu(ISOLATED_FULL - 1)) if sign.lasting} == {"many isolated pages"}
    told = {sign.condition: sign for sign in repair.signs(npu(ISOLATED_FULL))}
    assert told["no more isolated pages"].severity is Severity.DEGRADING
    assert told["no more isolated pages"].message == "64 isolated pages: the limit is 64"
    repair.quiet(npu(None))
    assert len(repair.gone(npu(0))) == 2


def test_pages_retired_before_ampere(fed: Make) -> None:
    repair = fed(MemoryRepair())
    repair.quiet(answered("nvml", device(GPU, repairs=Repairs(rows_corrected=0, rows_uncorrected=0, pending=False))))
    found = repair.signs(
        answered("nvml", device(GPU, repairs=Repairs(rows_corrected=0, rows_uncorrected=1, pending=True)))
    )
    assert [sign.message for sign in found] == [
        "1 more retired page because of uncorrectable errors, 1 in all",
        "a repair of memory waits for the next reset of the device",
    ]


def test_what_is_not_told_is_no_fault(fed: Make) -> None:
    repair = fed(MemoryRepair())
    repair.quiet(gpu(failed=None))
    repair.quiet(npu(None))
    repair.quiet(answered("npu_smi", device(NPU)))

"""ECC errors of both vendors: growth, not levels."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from accelwatch.detectors.memory import HIGH_PER_SECOND, RATE_SECONDS, Memory
from accelwatch.faults.sign import Gone, Sign
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.memory import EccCount, ErrorKind, Repairs
from accelwatch.readings.severity import Severity
from accelwatch.readings.snapshot import Device
from detectors.replaying import GPU, NPU, Fed, answered, device

Make = Callable[..., Fed]
C, U = ErrorKind.CORRECTED, ErrorKind.UNCORRECTED


def count(memory: str, kind: ErrorKind, number: int, **values: bool) -> EccCount:
    return EccCount(memory=memory, kind=kind, count=number, **values)


def chip(*counts: EccCount, key: DeviceKey = GPU, **values: object) -> Device:
    return device(key, ecc=counts, **values)


@pytest.mark.parametrize("key", [GPU, NPU])
@pytest.mark.parametrize(
    ("memory", "class_"),
    [
        ("hbm", "mem_uncorrectable"),
        ("ddr", "mem_uncorrectable"),
        ("sram", "onchip_sram"),
        ("sram_parity", "onchip_sram"),
    ],
)
def test_uncorrectable_errors_are_told_by_their_growth(fed: Make, key: DeviceKey, memory: str, class_: str) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count(memory, U, 7), key=key)))  # from before
    errors.quiet(answered("nvml", chip(count(memory, U, 7), key=key)))
    (sign,) = errors.signs(answered("nvml", chip(count(memory, U, 9), key=key)))
    assert (sign.class_, sign.device, sign.events) == (class_, key, 2)
    assert not sign.lasting
    assert sign.severity is None
    assert sign.message.startswith("2 uncorrectable errors in ")
    assert sign.message.endswith("since the last reading, 9 since the driver or device started")
    errors.quiet(answered("nvml", chip(count(memory, U, 9), key=key)))


def test_a_counter_that_is_first_seen_later_is_a_baseline_too(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", C, 0))))
    errors.quiet(answered("nvml", device(GPU)))
    errors.quiet(answered("nvml", chip(count("hbm", C, 0), count("hbm", U, 3))))


def test_a_reading_without_counters_loses_nothing(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", U, 0))))
    errors.quiet(answered("nvml", device(GPU)))
    errors.quiet(answered("nvml", chip(count("sram", U, 0))))
    assert [sign.events for sign in errors.signs(answered("nvml", chip(count("hbm", U, 1))))] == [1]


def test_a_driver_reload_is_a_new_baseline(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", U, 5))))
    errors.quiet(answered("nvml", chip(count("hbm", U, 1))))
    assert [sign.events for sign in errors.signs(answered("nvml", chip(count("hbm", U, 2))))] == [1]


def test_lifetime_counters_keep_what_came_before_a_reset(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", U, 5), count("hbm", U, 40, lifetime=True))))
    reset = chip(count("hbm", U, 0), count("hbm", U, 41, lifetime=True))
    (sign,) = errors.signs(answered("nvml", reset))
    assert (sign.events, sign.message) == (
        1,
        "1 uncorrectable error in HBM since the last reading, 41 in its whole life",
    )


def test_places_are_details_of_other_counters(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", U, 0), count("l2", U, 0, place=True))))
    errors.quiet(answered("nvml", chip(count("hbm", U, 0), count("l2", U, 4, place=True))))


def test_another_board_in_the_slot_has_its_own_past(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", U, 2, lifetime=True), uuid="GPU-a")))
    errors.quiet(answered("nvml", chip(count("hbm", U, 90, lifetime=True), uuid="GPU-b")))
    assert len(errors.signs(answered("nvml", chip(count("hbm", U, 91, lifetime=True), uuid="GPU-b")))) == 1


def test_a_board_whose_serial_is_learned_late_is_the_same_board(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("npu_smi", chip(count("hbm", U, 0), key=NPU)))
    assert len(errors.signs(answered("npu_smi", chip(count("hbm", U, 1), key=NPU, serial="1023")))) == 1


def test_corrected_errors_inform(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("npu_smi", chip(count("hbm", C, 12, lifetime=True), key=NPU)))
    (sign,) = errors.signs(answered("npu_smi", chip(count("hbm", C, 13, lifetime=True), key=NPU)))
    assert (sign.class_, sign.severity, sign.events) == ("mem_correctable", Severity.INFORMATIONAL, 1)


def _storm(errors: Fed, per_second: float, seconds: float, start: int = 0) -> list[Severity | None]:
    severities: list[Severity | None] = []
    number = float(start)
    for _ in range(int(seconds / 10)):
        number += per_second * 10
        found = errors.signs(answered("nvml", chip(count("hbm", C, int(number)))))
        severities += [sign.severity for sign in found if sign.lasting]
    return severities


def test_a_flood_of_corrected_errors_degrades_and_ends(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", C, 0))))
    assert set(_storm(errors, HIGH_PER_SECOND, 3 * RATE_SECONDS)) == {Severity.DEGRADING}
    level = int(HIGH_PER_SECOND * 3 * RATE_SECONDS)
    calm = answered("nvml", chip(count("hbm", C, level)))
    assert [gone.condition for gone in errors.gone(calm, 2 * RATE_SECONDS)] == ["ecc hbm corrected rate"]
    errors.quiet(calm)


def test_a_repeated_count_does_not_end_a_flood(fed: Make) -> None:
    """NVML's counters are read with every tenth poll and handed on in between."""
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", C, 0))))
    level, lasting, gone = 0, 0, 0
    for second in range(1, 200):
        fresh = second % 10 == 0
        level += int(HIGH_PER_SECOND * 12) if fresh else 0
        reading = answered("nvml", chip(count("hbm", C, level)))
        found = errors.feed(msgspec.structs.replace(reading, fresh=frozenset({"ecc"} if fresh else {"sensors"})), 1)
        lasting += sum(isinstance(finding, Sign) and finding.lasting for finding in found)
        gone += sum(isinstance(finding, Gone) for finding in found)
    assert lasting >= 4
    assert gone == 0


def test_just_below_the_flood_nothing_lasts(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", C, 0))))
    assert _storm(errors, HIGH_PER_SECOND - 1, 20 * RATE_SECONDS) == []


def test_a_short_burst_is_no_flood(fed: Make) -> None:
    errors = fed(Memory())
    errors.quiet(answered("nvml", chip(count("hbm", C, 0))))
    burst = errors.signs(answered("nvml", chip(count("hbm", C, 5000))))
    assert [sign.lasting for sign in burst] == [False]
    for _ in range(20):
        errors.quiet(answered("nvml", chip(count("hbm", C, 5000))))


def test_the_sram_threshold_lasts_until_the_device_says_otherwise(fed: Make) -> None:
    errors = fed(Memory())
    exceeded = answered("nvml", device(GPU, repairs=Repairs(sram_threshold_exceeded=True)))
    (sign,) = errors.signs(exceeded)
    assert (sign.class_, sign.condition, sign.severity) == ("onchip_sram", "sram threshold", Severity.DEGRADING)
    errors.quiet(answered("nvml", device(GPU, repairs=Repairs(sram_threshold_exceeded=None))))
    assert len(errors.gone(answered("nvml", device(GPU, repairs=Repairs(sram_threshold_exceeded=False))))) == 1

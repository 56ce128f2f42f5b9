"""Health and error codes of Ascend devices, by the shipped taxonomy."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from accelwatch.detectors.ascend_health import BUSY_RATIO, LEVEL_HELD_POLLS, WORKING_SECONDS, AscendHealth
from accelwatch.detectors.base import Answered
from accelwatch.readings.health import FaultEvent, Health, Level
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.loader import load
from detectors.replaying import NPU, Fed, answered, device, npu, silent

Make = Callable[..., Fed]
HELD = LEVEL_HELD_POLLS * 10.0
BUSY = Sensors(utilization_ratio=BUSY_RATIO)


def health() -> AscendHealth:
    return AscendHealth(load())


@pytest.mark.parametrize(
    ("code", "class_"),
    [
        ("80E01801", "mem_uncorrectable"),
        ("80E18402", "mem_repair"),
        ("80C98008", "onchip_sram"),
        ("81078603", "net_link_down"),
        ("80E00209", "thermal"),
        ("80FFFFFF", "unknown"),
    ],
)
def test_a_code_lasts_as_long_as_it_is_shown(fed: Make, code: str, class_: str) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu((), Level.OK)))
    (sign,) = codes.signs(answered("npu_smi", npu((code,), Level.ALARM)))
    assert (sign.class_, sign.code, sign.condition) == (class_, code, f"code {code}")
    assert (sign.device, sign.lasting, sign.historical, sign.severity) == (NPU, True, False, None)
    assert sign.message.startswith(f"the device shows {code}: ")
    assert len(codes.signs(answered("npu_smi", npu((code,), Level.ALARM)))) == 1
    codes.quiet(answered("npu_smi", npu(None, Level.OK)))  # the codes were not read
    codes.quiet(answered("npu_smi", device(NPU)))
    codes.quiet(answered("npu_smi"))
    codes.quiet(silent("npu_smi"))
    (gone,) = codes.gone(answered("npu_smi", npu((), Level.OK)))
    assert (gone.class_, gone.condition) == (class_, f"code {code}")
    codes.quiet(answered("npu_smi", npu((), Level.OK)))


def test_order_and_repetition_of_codes_mean_nothing(fed: Make) -> None:
    three = ("80E01801", "80E00209", "81078603")
    for order in itertools.permutations((*three, "80E01801")):
        codes = fed(health())
        codes.quiet(answered("npu_smi", npu(())))
        assert {sign.code for sign in codes.signs(answered("npu_smi", npu(order)))} == set(three)
        assert len(codes.signs(answered("npu_smi", npu(tuple(reversed(order)))))) == 3
        assert len(codes.gone(answered("npu_smi", npu(("80E00209",))))) == 2


def test_a_code_that_was_there_first_was_not_seen_to_begin(fed: Make) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu(None, Level.OK)))
    old = answered("npu_smi", npu(("80E01801",), Level.ALARM))
    assert [(sign.historical, sign.lasting) for sign in codes.signs(old)] == [(True, True)]
    assert [sign.historical for sign in codes.signs(old)] == [True]
    both = answered("npu_smi", npu(("80E01801", "80E00209"), Level.ALARM))
    assert {sign.code: sign.historical for sign in codes.signs(both)} == {"80E01801": True, "80E00209": False}
    codes.gone(answered("npu_smi", npu(())))
    assert [sign.historical for sign in codes.signs(old)] == [False]


def test_another_card_in_the_slot_is_seen_for_the_first_time(fed: Make) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu((), serial="1")))
    assert [s.historical for s in codes.signs(answered("npu_smi", npu(("80E00209",), serial="2")))] == [True]


@pytest.mark.parametrize(
    ("level", "severity"),
    [(Level.WARNING, Severity.INFORMATIONAL), (Level.ALARM, Severity.DEGRADING), (Level.CRITICAL, Severity.RUN_ENDING)],
)
@pytest.mark.parametrize("codes", [(), None])
def test_a_level_that_no_code_explains(
    fed: Make, level: Level, severity: Severity, codes: tuple[str, ...] | None
) -> None:
    shown = fed(health())
    bad = answered("npu_smi", npu(codes, level))
    shown.quiet(bad)
    shown.quiet(bad, HELD - 1)
    (sign,) = shown.signs(bad, 1)
    assert (sign.class_, sign.code, sign.severity, sign.lasting) == ("unknown", None, severity, True)
    shown.quiet(answered("npu_smi", npu(codes, None)))
    assert [gone.class_ for gone in shown.gone(answered("npu_smi", npu((), Level.OK)))] == ["unknown"]


def test_a_level_is_explained_by_its_code_when_that_is_read(fed: Make) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu((), Level.OK)))
    for _ in range(LEVEL_HELD_POLLS - 1):
        codes.quiet(answered("npu_smi", npu((), Level.ALARM)))
    assert [s.class_ for s in codes.signs(answered("npu_smi", npu(("80E01801",), Level.ALARM)))] == [
        "mem_uncorrectable"
    ]
    assert len(codes.signs(answered("npu_smi", npu(("80E01801",), Level.ALARM)), HELD)) == 1


STUCK = "80C98001"


def alarm(utilization: float | None) -> Answered:
    return answered("npu_smi", npu((STUCK,), Level.ALARM, sensors=Sensors(utilization_ratio=utilization)))


def test_an_alarm_of_a_card_that_goes_on_working_degrades(fed: Make) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu(())))
    for _ in range(20):
        (sign,) = codes.signs(alarm(BUSY_RATIO))
        assert (sign.class_, sign.severity) == ("compute_engine", Severity.DEGRADING)
        assert sign.message.endswith("while its AI Cores go on working")
    # The work ends later: not because of it.
    assert [sign.severity for sign in codes.signs(alarm(0.0))] == [Severity.DEGRADING]


@pytest.mark.parametrize("idle", [BUSY_RATIO - 0.01, None])
def test_an_alarm_that_stops_the_work_ends_the_run(fed: Make, idle: float | None) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu(())))
    assert [sign.severity for sign in codes.signs(alarm(0.9))] == [Severity.DEGRADING]
    assert [sign.severity for sign in codes.signs(alarm(0.9), WORKING_SECONDS - 1)] == [Severity.DEGRADING]
    assert [sign.severity for sign in codes.signs(alarm(idle), 1)] == [None]
    # Another job on the same card shows that the alarm is only stuck.
    assert [sign.severity for sign in codes.signs(alarm(0.9))] == [None]
    assert [sign.severity for sign in codes.signs(alarm(0.9), WORKING_SECONDS)] == [Severity.DEGRADING]


@pytest.mark.parametrize("utilization", [None, 0.0, BUSY_RATIO - 0.01])
def test_an_alarm_of_an_idle_card_keeps_its_severity(fed: Make, utilization: float | None) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu(())))
    for _ in range(20):
        assert [sign.severity for sign in codes.signs(alarm(utilization))] == [None]


@pytest.mark.parametrize("code", ["80E01801", "80C98008"])
def test_work_does_not_excuse_other_alarms(fed: Make, code: str) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu(())))
    for _ in range(20):
        found = codes.signs(answered("npu_smi", npu((code,), Level.ALARM, sensors=BUSY)))
        assert [sign.severity for sign in found] == [None]


def test_a_gpu_has_no_ascend_health(fed: Make) -> None:
    from detectors.replaying import GPU

    codes = fed(health())
    codes.quiet(answered("nvml", device(GPU, health=Health(level=Level.CRITICAL, error_codes=("80E01801",)))))


def events(codes: tuple[str, ...] | None, *listed: tuple[str, int | None]) -> Answered:
    shown = tuple(FaultEvent(code=code, severity=severity) for code, severity in listed)
    return answered("npu_smi", device(NPU, health=Health(level=Level.OK, error_codes=codes, events=shown)))


def test_events_of_newer_tools_are_codes_too(fed: Make) -> None:
    codes = fed(health())
    codes.quiet(events(()))
    (sign,) = codes.signs(events((), ("80E01801", 3)))
    assert (sign.code, sign.class_, sign.severity, sign.historical) == ("80E01801", "mem_uncorrectable", None, False)
    assert len(codes.signs(events(("80E01801",), ("80E01801", 3)))) == 1
    codes.quiet(events(None))
    assert len(codes.gone(events(()))) == 1


def test_an_event_is_gone_when_the_list_of_events_says_so(fed: Make) -> None:
    codes = fed(health())
    codes.quiet(events(()))
    assert len(codes.signs(events((), ("81AF8009", 2)))) == 1
    codes.quiet(answered("npu_smi", npu((), Level.OK)))  # the events were not read
    assert len(codes.gone(events(()))) == 1


def test_events_that_were_there_first_were_not_seen_to_begin(fed: Make) -> None:
    codes = fed(health())
    codes.quiet(answered("npu_smi", npu((), Level.OK)))
    assert [sign.historical for sign in codes.signs(events((), ("81AF8009", 2)))] == [True]


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        (0, Severity.INFORMATIONAL),
        (1, Severity.INFORMATIONAL),
        (2, Severity.RUN_ENDING),
        (3, Severity.RUN_ENDING),
        (None, None),
        (9, None),
    ],
)
def test_the_driver_says_what_a_code_does_that_no_table_has(
    fed: Make, said: int | None, severity: Severity | None
) -> None:
    codes = fed(health())
    codes.quiet(events(()))
    (sign,) = codes.signs(events((), ("80FFFFFF", said)))
    assert (sign.class_, sign.severity) == ("unknown", severity)

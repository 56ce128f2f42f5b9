"""The files that are shipped are complete, and quick to read."""

import gc
import time
import tracemalloc
from pathlib import Path

import pytest

from accelwatch.readings.severity import Severity
from accelwatch.taxonomy import loader
from accelwatch.taxonomy.model import Clearing, Kind, Notify

TAXONOMY = loader.load()
APPLICATION = {"app_device_exception", "software_job"}
SYMPTOMS = {"collective_timeout", "hang_no_error", "fail_slow"}
HARDWARE = {
    "device_lost",
    "mem_uncorrectable",
    "mem_repair",
    "onchip_sram",
    "compute_engine",
    "control_processor",
    "intra_node_link",
    "fabric_switch",
    "pcie_host_link",
    "net_link_down",
    "net_link_flap",
    "thermal",
    "power",
    "silent_corruption",
    "host",
}


def test_it_is_read_once():
    assert loader.load() is TAXONOMY


def test_the_classes_come_in_the_order_of_the_contract():
    assert tuple(TAXONOMY.classes) == loader.CLASSES
    assert len(loader.CLASSES) == 25


def test_a_wrong_class_name_is_an_error_of_the_detector():
    with pytest.raises(KeyError, match="device_gone"):
        TAXONOMY.class_("device_gone")


def test_kinds_and_hardware_follow_the_contract():
    for name, class_ in TAXONOMY.classes.items():
        expected = Kind.APPLICATION if name in APPLICATION else Kind.SYMPTOM if name in SYMPTOMS else Kind.CAUSE
        assert class_.kind is expected, name
        assert class_.hardware == (name in HARDWARE), name


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("power", "degrading"),
        ("storage", "degrading"),
        ("net_link_down", "degrading"),
        ("mem_repair", "degrading"),
        ("fail_slow", "degrading"),
        ("silent_corruption", "run_ending"),
        ("app_device_exception", "run_ending"),
        ("mem_uncorrectable", "run_ending"),
        ("mem_correctable", "informational"),
    ],
)
def test_default_severities(name, severity):
    assert TAXONOMY.classes[name].severity == severity


def test_who_is_told_follows_the_effect():
    for class_ in TAXONOMY.classes.values():
        if class_.kind is Kind.APPLICATION or class_.severity is Severity.INFORMATIONAL:
            assert class_.notify is Notify.NONE
        elif class_.kind is Kind.CAUSE and class_.severity is Severity.RUN_ENDING:
            assert class_.notify is Notify.PAGE
    assert TAXONOMY.classes["unknown"].notify is Notify.TICKET


@pytest.mark.parametrize(
    ("name", "severity", "notify"),
    [
        ("net_link_down", Severity.DEGRADING, Notify.TICKET),
        ("net_link_down", Severity.RUN_ENDING, Notify.PAGE),
        ("net_errors", Severity.DEGRADING, Notify.TICKET),
        ("net_errors", Severity.RUN_ENDING, Notify.PAGE),
        ("mem_uncorrectable", Severity.INFORMATIONAL, Notify.NONE),
        ("mem_uncorrectable", Severity.DEGRADING, Notify.TICKET),
        ("app_device_exception", Severity.RUN_ENDING, Notify.NONE),
        ("collective_timeout", Severity.RUN_ENDING, Notify.TICKET),
        ("fail_slow", Severity.RUN_ENDING, Notify.TICKET),
        ("hang_no_error", Severity.RUN_ENDING, Notify.PAGE),
    ],
)
def test_another_severity_reaches_others(name, severity, notify):
    assert TAXONOMY.classes[name].notify_at(severity) is notify


def test_what_only_degrades_never_outranks_hardware_that_ends_runs():
    """Else it would be the root of their incident, and hide the page."""
    ending = [c for c in TAXONOMY.classes.values() if c.severity is Severity.RUN_ENDING and c.notify is Notify.PAGE]
    lowest = min(c.rank for c in ending if c.kind is Kind.CAUSE)
    for class_ in TAXONOMY.classes.values():
        if class_.severity is not Severity.RUN_ENDING and class_.name != "net_link_down":
            assert class_.rank < lowest, class_.name


def test_what_only_informs_is_never_the_root_of_anything_else():
    lowest = min(c.rank for c in TAXONOMY.classes.values() if c.severity is not Severity.INFORMATIONAL)
    for key in TAXONOMY.codes:
        meaning = TAXONOMY.meaning(*key)
        if meaning.severity is Severity.INFORMATIONAL:
            assert meaning.rank < lowest, key


def test_every_class_clears_by_evidence_in_a_time_that_is_said():
    for class_ in TAXONOMY.classes.values():
        assert isinstance(class_.clearing, Clearing)
        assert 60 <= class_.clear_after_seconds <= 86400, class_.name


def test_what_a_vendor_cannot_see_is_said():
    """A diagnosis that stops the GPU is no source, and Ascend's switch events reach neither of its tools."""
    blind = {
        (name, vendor)
        for name, class_ in TAXONOMY.classes.items()
        for vendor in ("nvidia", "ascend")
        if not class_.observable[vendor]
    }
    assert blind == {("silent_corruption", "nvidia"), ("fabric_switch", "ascend")}


def test_every_action_is_one_sentence_for_every_vendor_and_history():
    for class_ in TAXONOMY.classes.values():
        for vendor in loader.VENDORS:
            for history in ("first", "after_reset", "after_repair"):
                action = TAXONOMY.action(class_.name, vendor, history=history)
                assert action.endswith("."), (class_.name, vendor)
                assert "\n" not in action
                assert len(action) < 240, (class_.name, vendor, history)


def test_reading_takes_little_time_and_memory():
    """Measured: 16 ms and 1 MB; bounds with room for a busy machine."""
    folder = Path(loader.__file__).parent
    times = []
    for _ in range(5):
        begin = time.process_time()
        loader.read(folder)
        times.append(time.process_time() - begin)
    assert min(times) < 0.06
    gc.collect()
    tracemalloc.start()
    try:
        kept = loader.read(folder)
        assert tracemalloc.get_traced_memory()[0] < 6e6
    finally:
        tracemalloc.stop()
    assert kept.codes

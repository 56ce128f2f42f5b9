"""Codes and kinds of lines are resolved to class, severity, rank and action."""

import pytest

from accelwatch.readings.health import RecoveryAction
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy import loader

TAXONOMY = loader.load()


@pytest.mark.parametrize(
    ("family", "code", "class_", "severity"),
    [
        ("xid", "48", "mem_uncorrectable", "run_ending"),
        ("xid", "94", "mem_uncorrectable", "run_ending"),
        ("xid", "95", "mem_uncorrectable", "run_ending"),
        ("xid", "64", "mem_uncorrectable", "degrading"),
        ("xid", "63", "mem_repair", "degrading"),
        ("xid", "92", "mem_correctable", "degrading"),
        ("xid", "171", "mem_uncorrectable", "informational"),
        ("xid", "172", "mem_uncorrectable", "informational"),
        ("xid", "140", "onchip_sram", "run_ending"),
        ("xid", "62", "compute_engine", "run_ending"),
        ("xid", "69", "compute_engine", "run_ending"),
        ("xid", "109", "compute_engine", "run_ending"),
        ("xid", "119", "control_processor", "run_ending"),
        ("xid", "120", "control_processor", "run_ending"),
        ("xid", "122", "control_processor", "degrading"),
        ("xid", "61", "control_processor", "degrading"),
        ("xid", "74", "intra_node_link", "run_ending"),
        ("xid", "145", "intra_node_link", "degrading"),
        ("xid", "149", "intra_node_link", "run_ending"),
        ("xid", "79", "device_lost", "run_ending"),
        ("xid", "13", "app_device_exception", "run_ending"),
        ("xid", "31", "app_device_exception", "run_ending"),
        ("xid", "43", "app_device_exception", "run_ending"),
        ("xid", "45", "app_device_exception", "informational"),
        ("xid", "32", "driver_software", "run_ending"),
        ("xid", "44", "driver_software", "degrading"),
        ("xid", "154", "driver_software", "informational"),
        ("sxid", "20034", "fabric_switch", "run_ending"),
        ("sxid", "22013", "fabric_switch", "informational"),
        ("sxid", "10004", "thermal", "degrading"),
        ("ascend", "80E01801", "mem_uncorrectable", "run_ending"),
        ("ascend", "80E01805", "mem_correctable", "informational"),
        ("ascend", "80E18400", "mem_uncorrectable", "degrading"),
        ("ascend", "80E18401", "mem_repair", "degrading"),
        ("ascend", "80E18402", "mem_repair", "run_ending"),
        ("ascend", "80E18005", "mem_uncorrectable", "run_ending"),
        ("ascend", "80CD8008", "onchip_sram", "run_ending"),
        ("ascend", "80C98008", "onchip_sram", "run_ending"),
        ("ascend", "80C98009", "compute_engine", "run_ending"),
        ("ascend", "80CB800A", "compute_engine", "run_ending"),
        ("ascend", "80FA4E00", "control_processor", "run_ending"),
        ("ascend", "819B8003", "intra_node_link", "informational"),
        ("ascend", "81078603", "net_link_down", "degrading"),
        ("ascend", "8C1F8608", "net_errors", "run_ending"),
        ("ascend", "40F84E00", "device_lost", "run_ending"),
        ("ascend", "80E00209", "thermal", "degrading"),
        ("ascend", "80E0020B", "thermal", "run_ending"),
        ("ascend", "80E2120D", "power", "run_ending"),
        ("ascend", "80818C00", "silent_corruption", "run_ending"),
        ("ascend", "8C204E00", "driver_software", "run_ending"),
        ("hccl", "EI0002", "collective_timeout", "run_ending"),
        ("hccl", "EI0006", "collective_timeout", "run_ending"),
        ("hccl", "EI0004", "software_job", "run_ending"),
        ("hccl", "EI0012", "intra_node_link", "run_ending"),
        ("hccl", "EI0013", "net_errors", "run_ending"),
        ("hccl", "EJ0001", "driver_software", "run_ending"),
        ("gpu_probe_lost", None, "device_lost", "run_ending"),
        ("gsp_heartbeat", None, "control_processor", "run_ending"),
        ("aer_corrected", None, "pcie_host_link", "informational"),
        ("aer_nonfatal", None, "pcie_host_link", "degrading"),
        ("aer_fatal", None, "pcie_host_link", "run_ending"),
        ("hung_task", None, "host", "degrading"),
        ("hung_task_driver", None, "driver_software", "degrading"),
        ("hung_task_storage", None, "storage", "degrading"),
        ("panic", None, "host", "run_ending"),
        ("oom_kill", None, "software_job", "run_ending"),
        ("cuda_ecc", None, "mem_uncorrectable", "run_ending"),
        ("hccl_cqe", None, "net_errors", "run_ending"),
        ("nccl_timeout", None, "collective_timeout", "run_ending"),
    ],
)
def test_what_is_published_of_a_code_is_what_it_means(family, code, class_, severity):
    meaning = TAXONOMY.meaning(family, code)
    assert (meaning.class_.name, meaning.severity) == (class_, severity)


def test_roots_are_ranked_as_in_practice():
    steps = [("79",), ("119", "120"), ("95", "48"), ("74", "149"), ("94",), ("31", "13"), ("43", "45")]
    ranks = [{TAXONOMY.meaning("xid", code).rank for code in step} for step in steps]
    assert all(len(same) == 1 for same in ranks)
    assert [max(same) for same in ranks] == sorted((max(same) for same in ranks), reverse=True)
    assert len({max(same) for same in ranks}) == len(steps)


def test_the_line_wins_over_the_table_and_the_table_over_the_class():
    assert TAXONOMY.classes["intra_node_link"].severity is Severity.RUN_ENDING
    assert TAXONOMY.meaning("xid", "145").severity is Severity.DEGRADING
    assert TAXONOMY.meaning("xid", "145", Severity.RUN_ENDING).severity is Severity.RUN_ENDING
    assert TAXONOMY.meaning("xid", "149", Severity.DEGRADING).severity is Severity.DEGRADING


@pytest.mark.parametrize(
    ("family", "code"), [("xid", "4711"), ("sxid", "99999"), ("ascend", "80FFFFFF"), ("hccl", "EI4711"), ("new", None)]
)
def test_an_unknown_code_is_unknown_not_health(family, code):
    meaning = TAXONOMY.meaning(family, code)
    assert meaning.class_.name == "unknown"
    assert meaning.code is None
    assert meaning.severity is Severity.DEGRADING


def test_an_xid_event_without_a_known_number_is_not_dropped():
    meaning = TAXONOMY.meaning("xid", "999")
    assert meaning.class_.name == "unknown"
    assert meaning.code is not None
    assert not meaning.code.ignore


def test_an_event_is_resolved_by_its_kind_code_and_severity():
    event = LogEvent(kind="sxid", vendor="nvidia", code="12345", severity=Severity.RUN_ENDING, text="Fatal, Link 3")
    meaning = TAXONOMY.meaning_of(event)
    assert (meaning.class_.name, meaning.severity) == ("unknown", Severity.RUN_ENDING)


@pytest.mark.parametrize("written", ["80E01801", "80e01801", "0x80e01801", "0X80E01801", " 80E01801 "])
def test_ascend_codes_are_known_in_every_form_that_tools_print(written):
    assert TAXONOMY.meaning("ascend", written).class_.name == "mem_uncorrectable"
    assert TAXONOMY.family_of("ascend", written) == "ascend"


@pytest.mark.parametrize(
    ("vendor", "code", "family"),
    [
        ("nvidia", "79", "xid"),
        ("nvidia", "400", "xid"),
        ("nvidia", "20034", "sxid"),
        ("nvidia", "19999", "sxid"),
        ("nvidia", "gone", None),
        ("ascend", "12345678", "ascend"),
        ("ascend", "200001002", "ascend"),
        ("ascend", "[0x00F1FEF5, 155912, npu, na]", "ascend"),
        ("ascend", "EI0006", "hccl"),
        ("ascend", "EI4711", "hccl"),
        ("ascend", "EE9999", "hccl"),
        ("ascend", "NA", None),
        ("host", "79", None),
    ],
)
def test_the_family_of_a_code_is_found_again(vendor, code, family):
    assert TAXONOMY.family_of(vendor, code) == family


def test_every_code_is_found_again_in_its_family():
    vendors = {"xid": "nvidia", "sxid": "nvidia", "ascend": "ascend", "hccl": "ascend"}
    for family, code in TAXONOMY.codes:
        if code is not None:
            assert TAXONOMY.family_of(vendors[family], code) == family, code
            assert TAXONOMY.code(family, code) is not None


def test_a_switch_event_is_known_however_it_is_spaced():
    assert TAXONOMY.meaning("ascend", "[0x00F1FEF5, 155912, npu, na]").class_.name == "fabric_switch"
    assert TAXONOMY.meaning("ascend", "[0x00f1fef5,155912,L2,na]").class_.name == "fabric_switch"


def test_an_exception_record_means_what_its_code_means_where_that_is_known():
    assert TAXONOMY.meaning("ascend_mntn", "0xa8028802").class_.name == "mem_uncorrectable"
    unknown = TAXONOMY.meaning("ascend_mntn", "0x12345678")
    assert unknown.class_.name == "unknown"
    assert unknown.code is not None


def test_echoes_suspects_and_what_is_no_fault_are_marked():
    def marked(flag):
        return {code for (family, code), entry in TAXONOMY.codes.items() if family == "xid" and getattr(entry, flag)}

    assert {"43", "45", "154"} <= marked("echo")
    assert not marked("echo") & {"13", "31", "48", "63", "79", "94", "95", "119"}
    assert {"13", "31", "32", "43", "45", "69"} <= marked("application_suspect")
    assert not marked("application_suspect") & {"48", "62", "63", "64", "74", "79", "94", "95", "119", "120", "140"}
    for code in ("80C98009", "80C9800A", "80CB8009", "80CB800A", "80C98000"):
        assert TAXONOMY.codes["ascend", code].application_suspect
    for code in ("80C98008", "80CB8008", "80C98001", "80E01801", "81078603", "40F84E00"):
        assert not TAXONOMY.codes["ascend", code].application_suspect
    ignored = {code.name for code in TAXONOMY.codes.values() if code.ignore}
    assert TAXONOMY.codes["mlx5_link_up", None].name in ignored
    assert len(ignored) < 10


def test_nothing_that_is_ignored_ends_a_run():
    for (family, code), entry in TAXONOMY.codes.items():
        if entry.ignore:
            assert TAXONOMY.meaning(family, code).severity is Severity.INFORMATIONAL


def test_an_action_depends_on_history():
    first, after_reset, after_repair = (
        TAXONOMY.action("mem_uncorrectable", "nvidia", history=history)
        for history in ("first", "after_reset", "after_repair")
    )
    assert "nvidia-smi --gpu-reset" in first
    assert "dcgmi diag" in after_reset
    assert "Replace" in after_repair
    assert "npu-smi set -t reset" in TAXONOMY.action("mem_uncorrectable", "ascend")


def test_a_code_asks_for_its_own_action_the_first_time():
    own = TAXONOMY.action("device_lost", "nvidia", code="79")
    assert "power-cycle" in own
    assert own != TAXONOMY.action("device_lost", "nvidia")
    assert TAXONOMY.action("device_lost", "nvidia", code="79", history="after_repair") == TAXONOMY.action(
        "device_lost", "nvidia", history="after_repair"
    )


def test_a_code_of_another_class_gives_the_class_its_own_action():
    """An episode may hold codes of a cascade."""
    assert TAXONOMY.action("mem_uncorrectable", "nvidia", code="79") == TAXONOMY.action("mem_uncorrectable", "nvidia")


def test_a_line_without_a_code_may_ask_for_its_own_action():
    assert "stack" in TAXONOMY.action("host", "nvidia", family="hung_task")


def test_what_only_informs_asks_for_no_reset():
    corrected = TAXONOMY.action("fabric_switch", "nvidia", code="11012")
    assert corrected.startswith("Nothing now")
    assert "reboot" in TAXONOMY.action("fabric_switch", "nvidia", code="11012", severity=Severity.RUN_ENDING)


def test_a_host_without_an_action_of_its_own_is_still_told_something():
    assert TAXONOMY.action("device_lost", "host").endswith(".")


@pytest.mark.parametrize("number", [action.value for action in RecoveryAction if action is not RecoveryAction.NONE])
def test_what_the_driver_asks_for_is_told_in_words(number):
    family = f"recovery_action_{number}"
    meaning = TAXONOMY.meaning(family, None)
    assert meaning.class_.name == "driver_software"
    action = TAXONOMY.action("driver_software", "nvidia", family=family)
    assert action != TAXONOMY.action("driver_software", "nvidia")
    assert ("reset" in action) == ("RESET" in RecoveryAction(number).name)

"""The tables against the published lists, where they lie beside the project."""

import csv

import pytest

from accelwatch.readings.severity import Severity
from accelwatch.taxonomy import loader
from accelwatch.taxonomy.lookup import native
from support import CORPUS

TAXONOMY = loader.load()
PUBLISHED = {"info": "informational", "degraded": "degrading", "fatal_to_run": "run_ending"}

# Where effect and list differ, with the reason in the tables' comments: Xid 12 is a driver error of old, 154 only echoes,
# 999 is an Xid of unknown number; a switch that shuts down from heat takes its links along, one that cooled is no fault.
OTHER_SEVERITY = {"12", "154", "999", "10006", "28002", "28004"}


def reference(name):
    path = CORPUS.parent / "reference" / name
    if not path.exists():
        pytest.skip(f"the published list is not here ({name})")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def codes(family):
    return {code for other, code in TAXONOMY.codes if other == family}


@pytest.mark.parametrize(("family", "file"), [("xid", "nvidia_xids.csv"), ("sxid", "nvidia_sxids.csv")])
def test_every_published_number_is_there_once_and_no_other(family, file):
    published = [row[family] for row in reference(file)]
    assert len(published) == len(set(published)) >= 177
    assert codes(family) == set(published)


def test_every_published_ascend_code_is_there_once_and_no_other():
    rows = reference("ascend_fault_codes.csv")
    published = {native("ascend", row["code"]) for row in rows}
    assert len(rows) == 906
    assert len(published) == 905, "A2301001 is published twice"
    assert codes("ascend") == published


@pytest.mark.parametrize(("family", "file"), [("xid", "nvidia_xids.csv"), ("sxid", "nvidia_sxids.csv")])
def test_severities_are_the_published_ones_but_for_those_with_a_reason(family, file):
    differing = {
        row[family]
        for row in reference(file)
        if TAXONOMY.meaning(family, row[family]).severity != PUBLISHED[row["severity"]]
    }
    assert differing <= OTHER_SEVERITY
    assert differing == {code for code in OTHER_SEVERITY if code in codes(family)}


@pytest.mark.parametrize(
    ("cause", "classes"),
    [
        ("app", {"app_device_exception", "driver_software", "compute_engine"}),
        ("fabric", {"intra_node_link"}),
        ("hw", set(loader.CLASSES) - {"app_device_exception", "software_job", "driver_software", "unknown"}),
        (
            "driver",
            {"driver_software", "control_processor", "compute_engine", "device_lost", "app_device_exception"},
        ),
    ],
)
def test_an_xids_class_fits_its_published_cause(cause, classes):
    for row in reference("nvidia_xids.csv"):
        if row["cause_class"] == cause:
            assert TAXONOMY.meaning("xid", row["xid"]).class_.name in classes, row["xid"]


def test_an_sxids_class_fits_its_published_cause():
    expected = {"fabric": "fabric_switch", "thermal": "thermal"}
    for row in reference("nvidia_sxids.csv"):
        assert TAXONOMY.meaning("sxid", row["sxid"]).class_.name == expected[row["cause_class"]], row["sxid"]


def test_the_driver_is_quoted_in_its_own_words_for_names_only():
    for row in reference("nvidia_xids.csv"):
        code = TAXONOMY.codes["xid", row["xid"]]
        assert code.name in (row["name"], "unknown Xid")
        assert code.meaning, row["xid"]


def test_what_the_vendor_restarts_or_isolates_at_once_ends_a_run_and_what_it_calls_sub_healthy_does_not():
    """But media engines, which a run may live without, where only the request is to be repeated."""
    media = ("VPC", "JPEG", "VDEC", "VENC")
    ends = ("RestartRequest", "RestartBusiness", "RestartNPU", "SeparateNPU", "SeparateFault")
    lives = ("SubHealth", "FreeRestartNPU", "PreSeparateNPU")
    for row in reference("ascend_fault_codes.csv"):
        severity = TAXONOMY.meaning("ascend", row["code"]).severity
        handling = row["severity_class"]
        if handling.startswith(ends):
            request_of_media = handling.startswith("RestartRequest") and row["component"].startswith(media)
            assert severity is (Severity.DEGRADING if request_of_media else Severity.RUN_ENDING), row["code"]
        elif handling.startswith(lives):
            assert severity is Severity.DEGRADING, row["code"]


def test_what_the_vendor_only_records_ends_a_run_only_for_the_ports_time_outs():
    ending = {
        native("ascend", row["code"])
        for row in reference("ascend_fault_codes.csv")
        if row["severity_class"].startswith("NotHandle")
        and TAXONOMY.meaning("ascend", row["code"]).severity is Severity.RUN_ENDING
    }
    assert ending == {"8C1F8608", "4C1F8608", "8C1F860B"}

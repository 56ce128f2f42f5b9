"""Which fault ended a run: design.md, "the cause window"."""

from __future__ import annotations

import msgspec
import pytest

from accelwatch.faults.episode import Condition, Episode
from accelwatch.readings.severity import Severity
from accelwatch.runs.cause import judge
from accelwatch.runs.model import Outcome, RunDevice, RunRecord, Suspect
from accelwatch.taxonomy.model import Kind, Notify

EPOCH = 1_790_000_000.0
END = 10_000.0
KINDS = {
    "device_lost": Kind.CAUSE, "mem_uncorrectable": Kind.CAUSE, "intra_node_link": Kind.CAUSE, "net_link_down": Kind.CAUSE,
    "host": Kind.CAUSE, "thermal": Kind.CAUSE, "mem_repair": Kind.CAUSE, "unknown": Kind.CAUSE,
    "app_device_exception": Kind.APPLICATION, "software_job": Kind.APPLICATION,
    "collective_timeout": Kind.SYMPTOM, "hang_no_error": Kind.SYMPTOM, "fail_slow": Kind.SYMPTOM,
}  # fmt: skip
RANKS = {
    "device_lost": 100,
    "host": 95,
    "mem_uncorrectable": 80,
    "intra_node_link": 70,
    "net_link_down": 68,
    "thermal": 36,
}


def run(**more: object) -> RunRecord:
    """Two devices, two hours, no progress known, failed."""
    record = RunRecord(
        run_id="4711", attempt="0", started=EPOCH + END - 7200, started_at=END - 7200, ended=EPOCH + END, ended_at=END,
        ended_by_at=END, outcome=Outcome.FAILED, detail="rank 1 (pid 9): exit status 1",
        devices=(RunDevice(vendor="nvidia", device="3", model="H100"), RunDevice(vendor="nvidia", device="4", model="H100")),
    )  # fmt: skip
    return msgspec.structs.replace(record, **more)


def episode(class_: str, at: float, device: str | None = "3", severity: str = "run_ending", **more: object) -> Episode:
    """`at`: seconds before (negative) or after the end."""
    made = Episode(
        id=1, class_=class_, severity=Severity(severity), notify=Notify.PAGE, vendor="nvidia", device=device, code="48",
        incident="i", rank=RANKS.get(class_, 10), message="", action="", first_at=END + at, last_at=END + at,
        first_wall=EPOCH + END + at, last_wall=EPOCH + END + at,
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


def cause(record: RunRecord, *episodes: Episode, after: float = 301.0) -> str | None:
    return judge(record, episodes, KINDS, END + after).cause


# --- the window


@pytest.mark.parametrize(
    ("at", "found"),
    [(-901, False), (-899, True), (-1, True), (0, True), (59, True), (61, False)],
)
def test_without_an_onset_the_window_is_around_the_end(at: float, found: bool) -> None:
    """From 15 minutes before to 60 seconds after."""
    assert cause(run(), episode("mem_uncorrectable", at)) == ("mem_uncorrectable" if found else "unknown")


def test_the_window_is_anchored_at_the_last_progress() -> None:
    """A link drop ends the run half an hour later, when HCCL gives up."""
    drop = episode("net_link_down", -1836)
    assert cause(run(), drop) == "unknown"
    assert cause(run(onset_at=END - 1836), drop) == "net_link_down"
    assert cause(run(onset_at=END - 1836), episode("net_link_down", -1836 - 899)) == "net_link_down"
    assert cause(run(onset_at=END - 1836), episode("net_link_down", -1836 - 901)) == "unknown"


def test_where_no_progress_is_known_the_symptoms_own_time_out_tells_the_onset() -> None:
    timeout = episode("collective_timeout", -1, run_id="4711", attempt="0", onset_at=END - 1837)
    assert cause(run(), episode("net_link_down", -2000), timeout) == "net_link_down"
    assert cause(run(onset_at=END - 5), episode("net_link_down", -2000), timeout) == "collective_timeout"


def test_a_time_out_that_prints_more_than_the_run_lasted_reaches_back_to_its_start_only() -> None:
    timeout = episode("collective_timeout", -1, run_id="4711", attempt="0", onset_at=END - 99_999)
    assert cause(run(), episode("mem_uncorrectable", -7200 - 901), timeout) == "collective_timeout"


def test_an_end_that_was_seen_late_has_a_window_up_to_when_it_was_seen() -> None:
    """The host went down and came back: its fault is dated to the boot."""
    reboot = episode("host", 580, device=None)
    assert cause(run(), reboot, after=1000) == "unknown"
    assert cause(run(ended_by_at=END + 600), reboot, after=1000) == "host"


def test_what_struck_before_the_run_began_counts_only_while_it_lasts() -> None:
    """The device that ended the attempt before is still broken; an event is not this run's."""
    young = run(started_at=END - 60, started=EPOCH + END - 60)
    event = episode("mem_uncorrectable", -120, conditions={"xid 48": Condition(lasting=False, last_at=END - 120)})
    assert cause(young, event) == "unknown"
    lasting = {"xid 79": Condition(lasting=True, last_at=END - 1)}
    assert cause(young, episode("device_lost", -120, conditions=lasting)) == "device_lost"
    cleared = episode("device_lost", -120, conditions=lasting, active=False, cleared_at=END - 90)
    assert cause(young, cleared) == "unknown"


def test_a_fault_that_has_lasted_for_hours_did_not_end_it_but_its_next_strike_did() -> None:
    lasting = {"state": Condition(lasting=True, last_at=END)}
    assert cause(run(), episode("mem_uncorrectable", -5000, conditions=lasting)) == "unknown"
    again = {**lasting, "xid 48": Condition(lasting=False, last_at=END - 2)}
    assert cause(run(), episode("mem_uncorrectable", -5000, conditions=again)) == "mem_uncorrectable"


# --- which of several


def test_the_cause_is_the_one_nearest_to_the_root_then_to_the_onset() -> None:
    onset = run(onset_at=END - 600)
    both = episode("intra_node_link", -600), episode("mem_uncorrectable", -300)
    assert cause(onset, *both) == "mem_uncorrectable"
    far, near = episode("mem_uncorrectable", -900, device="4"), episode("mem_uncorrectable", -590, device="3")
    assert judge(onset, [far, near], KINDS, END + 400).cause_device == "3"


def test_the_cause_is_told_with_vendor_device_code_and_time() -> None:
    judged = judge(run(), [episode("mem_uncorrectable", -3)], KINDS, END + 1)
    assert (judged.cause, judged.cause_vendor, judged.cause_device, judged.cause_code, judged.cause_wall) == (
        "mem_uncorrectable", "nvidia", "3", "48", EPOCH + END - 3,
    )  # fmt: skip


def test_only_faults_of_its_own_devices_and_of_the_host_count() -> None:
    assert cause(run(), episode("device_lost", -3, device="5")) == "unknown"
    assert cause(run(), episode("device_lost", -3, device="3", vendor="ascend")) == "unknown"
    assert cause(run(), episode("host", -3, device=None)) == "host"
    assert cause(run(), episode("device_lost", -3, device=None, place="0000:3b:00")) == "device_lost"


def test_what_is_said_of_another_run_is_not_this_ones() -> None:
    """A host-level record that names a run; on a device of both, where it struck decides."""
    other = episode("software_job", -3, device=None, run_id="9", attempt="0")
    assert cause(run(), other) == "unknown"
    assert cause(run(), episode("software_job", -3, device=None, run_id="4711", attempt="1")) == "unknown"
    assert (
        cause(run(), episode("hang_no_error", -3, device=None, place="run 9 0", run_id="9", attempt="0")) == "unknown"
    )
    assert cause(run(), episode("software_job", -3, device=None, run_id="4711", attempt="0")) == "software_job"
    assert cause(run(), episode("device_lost", -3, run_id="9", attempt="0")) == "device_lost"


@pytest.mark.parametrize("odd", [{"historical": True}, {"drill": True}, {"echo": True}])
def test_history_drills_and_echoes_end_no_run(odd: dict[str, bool]) -> None:
    assert cause(run(), episode("mem_uncorrectable", -3, **odd)) == "unknown"


def test_an_unknown_code_is_no_cause() -> None:
    judged = judge(run(), [episode("unknown", -3)], KINDS, END + 400)
    assert (judged.cause, judged.cause_device) == ("unknown", None)


# --- suspects, applications, symptoms


def test_degrading_faults_are_suspects_while_the_cause_is_unknown() -> None:
    degrading = [episode("mem_repair", -30, severity="degrading"), episode("thermal", -60, severity="degrading")]
    judged = judge(
        run(), [*degrading, degrading[0], episode("mem_repair", -3, severity="informational")], KINDS, END + 400
    )
    assert judged.cause == "unknown"
    assert judged.suspects == (
        Suspect(class_="thermal", vendor="nvidia", device="3", code="48"),
        Suspect(class_="mem_repair", vendor="nvidia", device="3", code="48"),
    )
    assert judge(run(), [*degrading, episode("device_lost", -3)], KINDS, END + 400).suspects == ()


def test_a_suspect_that_escalates_is_the_cause() -> None:
    """A link is down for a moment, then for longer than 20 seconds."""
    assert cause(run(), episode("net_link_down", -60, severity="degrading")) == "unknown"
    assert cause(run(), episode("net_link_down", -60)) == "net_link_down"


def test_an_application_error_is_the_cause_where_no_hardware_failed() -> None:
    error = episode("app_device_exception", -2)
    assert cause(run(), error) == "app_device_exception"
    assert cause(run(), error, episode("mem_uncorrectable", -500)) == "mem_uncorrectable"
    everywhere = episode("mem_uncorrectable", -2, application=True)  # on all devices of the run at once
    assert cause(run(), everywhere) == "mem_uncorrectable"
    assert cause(run(), everywhere, episode("intra_node_link", -2)) == "intra_node_link"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("rank 1 (pid 9): SIGSEGV, core dumped", "software_job"),
        ("rank 1 (pid 9): SIGABRT", "software_job"),
        ("rank 1 (pid 9): exit status 1", "unknown"),
    ],
)
def test_an_abort_without_a_fault_is_the_jobs_own(detail: str, expected: str) -> None:
    assert cause(run(detail=detail)) == expected
    assert cause(run(detail=detail), episode("device_lost", -3)) == "device_lost"


def test_out_of_memory_is_the_jobs_own() -> None:
    """The kernel killed it: its record is an episode of the host, the outcome alone would tell nothing."""
    killed = run(outcome=Outcome.KILLED, detail="rank 1 (pid 9): SIGKILL")
    assert cause(killed) == "unknown"
    assert cause(killed, episode("software_job", -1, device=None)) == "software_job"


def test_a_symptom_stands_for_the_cause_only_where_there_is_none() -> None:
    timeout = episode("collective_timeout", -1, run_id="4711", attempt="0")
    aborted = run(detail="rank 1 (pid 9): SIGABRT, core dumped")
    assert cause(aborted, timeout) == "collective_timeout"
    assert cause(aborted, timeout, episode("app_device_exception", -500)) == "app_device_exception"
    assert cause(aborted, timeout, episode("net_link_down", -500)) == "net_link_down"
    assert cause(run(), episode("fail_slow", -1, severity="degrading")) == "unknown"


def test_a_run_that_hung_without_a_word_is_a_hang_without_error() -> None:
    assert cause(run(outcome=Outcome.HUNG, detail="rank 1 (pid 9): SIGABRT")) == "hang_no_error"


def test_operator_needs_evidence() -> None:
    killed = run(outcome=Outcome.KILLED, detail="rank 0 (pid 9): SIGTERM")
    assert cause(killed) == "unknown"
    assert judge(killed, [], KINDS, END + 1, operator=True).cause == "operator"
    assert judge(killed, [episode("device_lost", -3)], KINDS, END + 1, operator=True).cause == "device_lost"


# --- when


def test_a_fault_is_named_at_once_and_the_lack_of_one_after_five_minutes() -> None:
    """A fault may be read after the end; the cause is final five minutes after it."""
    assert cause(run(), after=1) is None
    judged = judge(run(), [episode("intra_node_link", -3)], KINDS, END + 1)
    assert (judged.cause, judged.cause_final) == ("intra_node_link", False)
    later = judge(judged, [episode("intra_node_link", -3), episode("device_lost", 40)], KINDS, END + 299)
    assert (later.cause, later.cause_final) == ("device_lost", False)
    assert judge(later, [], KINDS, END + 300).cause_final
    late = judge(run(ended_by_at=END + 600), [], KINDS, END + 600)
    assert (late.cause, late.cause_final) == (None, False)


def test_an_unknown_cause_is_dated_to_the_end() -> None:
    assert judge(run(), [], KINDS, END + 400).cause_wall == EPOCH + END


def test_a_completed_run_has_no_cause_and_lost_nothing() -> None:
    judged = judge(run(outcome=Outcome.COMPLETED, onset_at=END - 30), [episode("device_lost", -3)], KINDS, END + 1)
    assert (judged.cause, judged.cause_final, judged.lost_device_seconds) == (None, True, None)


def test_lost_device_seconds_are_devices_times_the_wait_since_the_last_progress() -> None:
    assert judge(run(onset_at=END - 600), [], KINDS, END + 1).lost_device_seconds == 1200.0
    assert judge(run(), [], KINDS, END + 1).lost_device_seconds is None


def test_a_run_that_goes_on_is_not_judged() -> None:
    with pytest.raises(ValueError, match="run 4711 attempt 0 has not ended"):
        judge(run(ended=None, ended_at=None), [], KINDS, END)

"""The table that a tired person reads."""

from typing import Any

import pytest

from accelwatch.commands.check_table import render
from accelwatch.taxonomy.loader import load


def device(name: str = "0", health: str = "ok", **values: Any) -> dict[str, Any]:
    return {
        "vendor": "ascend", "device": name, "model": "910B2C", "health": health, "temperature_celsius": 41.0,
        "power_watts": None, "utilization_ratio": 0.0, "memory_used_bytes": 1 << 30, "memory_total_bytes": 64 << 30,
        "ecc": {"corrected": 0, "uncorrected": None}, "error_codes": [], "links": [], "processes": None,
    } | values  # fmt: skip


def fault(class_: str, severity: str = "run_ending", **values: Any) -> dict[str, Any]:
    return {
        "class": class_, "severity": severity, "vendor": "ascend", "device": "3", "code": "81078603",
        "codes": ["81078603"], "incident": "node/n", "echo": False, "message": "a network port lost its link",
        "action": "check the cable", "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:01:00Z",
        "count": 1, "run_id": None,
    } | values  # fmt: skip


def table(devices: list[dict[str, Any]], faults: list[dict[str, Any]], **values: Any) -> list[str]:
    source = {"source": "npu_smi", "up": True, "seconds": 0.21, "error": None}
    document = {"node": "n", "devices": devices, "faults": faults, "sources": [source]} | values
    return render(document, colour=False).splitlines()


@pytest.mark.parametrize("severity", ["run_ending", "degrading", "of a later version"])
@pytest.mark.parametrize("class_", sorted(load().classes))
def test_the_headline_never_says_healthy_beside_an_active_fault(class_: str, severity: str) -> None:
    """Of whatever class, on a device, on the node as a whole or beside it; the devices' own health may say ok."""
    for place in ("0", "3", None):
        headline = table([device("0"), device("3")], [fault(class_, severity, device=place)])[0]
        assert "healthy" not in headline
        assert class_ in headline


def test_healthy_is_said_of_healthy_devices_alone() -> None:
    """Also beside what is only for the record; a silent source or an unread health takes the word away or adds to it."""
    assert table([device("0"), device("1")], [])[0] == "n: 2 devices, all healthy"
    assert table([device("0"), device("1")], [fault("unknown", "informational")])[0] == "n: 2 devices, all healthy"
    assert table([device("0"), device("1", "unknown")], [])[0] == "n: health not known of 1 of 2: ascend 1"
    silent = [{"source": "npu_smi", "up": False, "seconds": 5.0, "error": "killed after 5 s"}]
    assert table([device("0", "unknown")], [], sources=silent)[0].endswith("no answer from npu_smi")


def test_the_worst_fault_stands_on_top_with_what_to_do() -> None:
    """Its codes, place, time and run are in it; what follows from another fault comes last and says so."""
    lines = table(
        [device()],
        [
            fault("device_reset", echo=True),
            fault("thermal_throttle", "degrading", device=None, code=None, codes=[]),
            fault("net_link_down", count=4, codes=["81078603", "8107860D"], run_id="slurm-7"),
        ],
    )
    heads = [line for line in lines if line.startswith(("RUN_ENDING", "DEGRADING"))]
    assert heads == [
        "RUN_ENDING net_link_down [81078603 8107860D] on ascend 3",
        "DEGRADING thermal_throttle on ascend, the node as a whole",
        "RUN_ENDING device_reset [81078603] on ascend 3 (follows from another fault)",
    ]
    after = lines[lines.index(heads[0]) + 1 :]
    assert after[:3] == [
        "  a network port lost its link",
        "  since 2026-01-01T00:00:00Z, 4 times, last 2026-01-01T00:01:00Z, run slurm-7",
        "  do: check the cable",
    ]


def test_a_value_that_was_not_read_is_a_dash() -> None:
    """Never 0."""
    (row,) = [line for line in table([device()], []) if line.startswith("ascend 0")]
    assert row.split() == ["ascend", "0", "910B2C", "ok", "41", "C", "-", "0%", "1024/65536", "MiB", "0/-", "-", "-"]


def test_a_source_that_was_not_asked_yet_has_not_failed() -> None:
    """Right after the agent's start."""
    fresh = [{"source": "hccn_tool", "up": False, "seconds": None, "error": None}]
    assert table([device()], [], sources=fresh)[-1] == "source hccn_tool    no answer yet"


def test_planned_work_and_drills_are_told_apart_from_faults() -> None:
    """Below the headline, before everything that somebody might act upon."""
    planned = {"since": "a", "until": "2026-01-01T12:00:00Z", "reason": "board swap", "by": ""}
    lines = table([device()], [fault("device_lost", drill=True)], maintenance=planned)
    assert lines[0] == "n: 1 device, healthy"
    assert lines[1] == "MAINTENANCE until 2026-01-01T12:00:00Z: board swap; nothing pages"
    assert any("RUN_ENDING device_lost" in line and "(a DRILL, no fault)" in line for line in lines)
    assert not any("MAINTENANCE" in line for line in table([device()], []))

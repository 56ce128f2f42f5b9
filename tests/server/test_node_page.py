"""What the node page says, and that it never says more than is known."""

from typing import Any

import pytest

from accelwatch.headline import headline
from accelwatch.server import node_page

AGENT = {"simulated": False, "labels": {}, "reload_successful": True, "journal_degraded": False}


def device(name: str = "0", health: str = "ok", **values: Any) -> dict[str, Any]:
    return {
        "vendor": "nvidia", "device": name, "model": "H100", "health": health, "temperature_celsius": None,
        "power_watts": None, "utilization_ratio": None, "memory_used_bytes": None, "memory_total_bytes": None,
        "ecc": {"corrected": None, "uncorrected": None}, "error_codes": None, "links": [], "processes": None,
    } | values  # fmt: skip


def fault(class_: str = "device_lost", severity: str = "run_ending", **values: Any) -> dict[str, Any]:
    return {
        "class": class_, "severity": severity, "vendor": "nvidia", "device": "3", "code": "79", "codes": ["79"],
        "incident": "node/n", "echo": False, "message": "fell off the bus", "action": "drain the node",
        "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:01:00Z", "count": 1, "run_id": None,
    } | values  # fmt: skip


def page(
    devices: list[dict[str, Any]],
    faults: list[dict[str, Any]] | None = None,
    sources: list[dict[str, Any]] | None = None,
) -> str:
    report = {"devices": devices, "faults": faults or [], "sources": sources or []}
    return node_page.render(report, version="1", node="n", agent=AGENT).decode()


@pytest.mark.parametrize(
    ("devices", "faults", "words"),
    [
        ([device("0"), device("1")], [], "2 devices, all healthy"),
        ([device("0")], [], "1 device, healthy"),
        ([], [], "no device is known"),
        ([device("0"), device("3", "critical")], [fault()], "device nvidia 3 is lost, 2 devices known"),
        ([device("0"), device("3", "alarm")], [], "1 of 2 devices not healthy: nvidia 3 alarm"),
        ([device("0"), device("1", "unknown")], [], "health not known of 1 of 2: nvidia 1"),
    ],
)
def test_the_headline_in_plain_words(devices: list[dict[str, Any]], faults: list[dict[str, Any]], words: str) -> None:
    """One line for a tired person; unknown is neither healthy nor sick."""
    assert headline(devices, faults, []) == words


def test_nothing_is_called_healthy_beside_an_active_fault() -> None:
    """A fault that no device's health shows is in the headline; one for the record is not."""
    told = headline([device("0")], [fault("net_link_down", device=None)], [])
    assert "healthy" not in told
    assert "1 fault active: net_link_down" in told
    assert headline([device("0")], [fault(severity="informational")], []) == "1 device, healthy"


def test_a_source_that_was_not_asked_yet_has_not_failed() -> None:
    """Right after the start nothing is known, which is no failure."""
    fresh = {"source": "nvml", "up": False, "seconds": None, "error": None}
    broken = {"source": "npu_smi", "up": False, "seconds": 5.0, "error": "killed"}
    assert headline([device()], [], [fresh]) == "1 device, healthy"
    assert headline([device()], [], [broken]).endswith("no answer from npu_smi")
    text = page([], sources=[fresh])
    assert "no answer yet" in text
    assert "failed" not in text


def test_faults_stand_first_and_the_worst_of_them_on_top() -> None:
    """Severity, then time; what only follows from another fault comes last."""
    faults = [
        fault("echo_of_it", echo=True),
        fault("for_the_record", "informational"),
        fault("slower", "degrading", run_id="slurm-1"),
        fault("ended", device=None),
    ]
    text = page([device("0")], faults)
    body = text[text.index("</h1>") :]
    order = [body.index(word) for word in ("ended", "slower", "for_the_record", "echo_of_it", "Devices")]
    assert order == sorted(order)
    assert "the node as a whole" in body
    assert "nvidia 3, code 79" in body
    assert "run slurm-1" in body
    assert "drain the node" in body


def test_what_is_not_reported_is_a_dash_and_never_zero() -> None:
    """No error codes told is a dash, none present says so."""
    row = page([device()]).partition("<tbody>")[2].partition("</tbody>")[0].removeprefix("<tr><td>nvidia 0</td>")
    assert "0" not in row.replace("H100", "")
    assert row.count("not reported") == 9
    assert "<td>none</td>" in page([device(error_codes=[])])


def test_the_utilization_bar_is_as_long_as_the_number_says() -> None:
    """The number stands beside it for browsers without CSS; the bar stays inside its frame."""
    assert 'width:87%"></i></span>87%' in page([device(utilization_ratio=0.87)])
    assert 'width:100%"></i></span>104%' in page([device(utilization_ratio=1.04)])
    assert 'width:0%"></i></span>0%' in page([device(utilization_ratio=0.0)])


def test_the_page_needs_no_other_file() -> None:
    """No script, no sheet, no image, no address outside this node."""
    text = page([device()], [fault()])
    for asset in ("<script", "<link", "<img", "http://", "https://", "url("):
        assert asset not in text


def test_planned_work_and_drills_are_told() -> None:
    """Escaped like everything that people typed."""
    planned = {"since": "a", "until": "2026-01-01T12:00:00Z", "reason": "<swap>", "by": "anna"}
    report = {"devices": [device("0")], "faults": [fault(drill=True)], "sources": [], "maintenance": planned}
    text = node_page.render(report, version="1", node="n", agent=AGENT).decode()
    assert "maintenance until 2026-01-01T12:00:00Z, by anna: &lt;swap&gt;" in text
    assert "(a drill, no fault)" in text
    assert "1 device, healthy" in text
    assert "maintenance" not in page([device()])

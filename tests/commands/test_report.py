"""`accelwatch report`, of a file of counts and of a Prometheus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelwatch.cli import main
from accelwatch.commands.report_text import text
from accelwatch.reliability.cells import Cell, Inputs
from accelwatch.reliability.document import document
from prometheus_history import needs_prometheus
from reliability import recorded_history

COUNTS = """study,cluster,vendor,device_model,devices,duration_hours,fault_class,count
q1,c1,nvidia,H100,512,2160,device_lost,24
q1,c1,ascend,910B,384,2160,device_lost,0
q1,c1,ascend,910B,384,2160,MTBF_claim,
"""


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    path = tmp_path / "counts.csv"
    path.write_text(COUNTS)
    return path


def test_tables_for_a_terminal(counts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No event is a bound, a claim is a claim, and few events are not called different."""
    assert main(["report", "--counts", str(counts)]) == 0
    out = capsys.readouterr().out
    assert "> 224,849" in out
    assert "no upper bound without an event" in out
    assert "46,080" in out  # 512 x 2160 / 24
    assert "fewer than 5 events on a side" in out
    assert ["q1", "c1", "910B", "MTBF_claim", "claim", "-"] in [line.split() for line in out.splitlines()]


def test_the_document(counts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its keys are a contract; no value that JSON does not know."""
    assert main(["report", "--counts", str(counts), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {"rates", "ratios", "interruptions", "availability", "notes"} <= set(found)
    assert {
        "group", "vendor", "model", "class", "count", "device_hours", "rate_per_device_hour", "rate_low", "rate_high",
        "mtbf_hours", "mtbf_low", "mtbf_high", "confidence", "observable",
    } <= set(found["rates"][0])  # fmt: skip
    assert {"class", "a", "b", "ratio", "low", "high", "p_value"} <= set(found["ratios"][0])
    assert (found["ratios"][0]["a"], found["ratios"][0]["b"]) == ("q1 c1 910B", "q1 c1 H100")


def test_a_wrong_file_is_told_and_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 3: cannot tell."""
    path = tmp_path / "counts.csv"
    path.write_text(COUNTS.replace(",24", ",many"))
    assert main(["report", "--counts", str(path)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{path}:2: column count: 'many'" in err
    assert main(["report", "--counts", str(tmp_path / "none.csv")]) == 3
    assert "none.csv" in capsys.readouterr().err


@needs_prometheus
def test_a_fleet_from_its_prometheus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document, the page beside it, and tables that begin with the answer."""
    page = tmp_path / "report.html"
    with recorded_history.served(recorded_history.fleet(), tmp_path) as url:
        asked = [
            "report",
            "--prometheus",
            url,
            "--window",
            f"{recorded_history.DAYS}d",
            "--end",
            str(recorded_history.END),
        ]
        assert main([*asked, "--json", "--out", str(page)]) == 0
        out, err = capsys.readouterr()
        found = json.loads(out, parse_constant=pytest.fail)
        assert main([*asked, "--match", "model=H100"]) == 0
        table = capsys.readouterr().out
    assert err == f"accelwatch report: {page} is written\n"  # no progress where nobody watches
    assert "NVIDIA" in page.read_text()
    counts = {(one["group"], one["class"]): one["count"] for one in found["rates"] if one["count"]}
    assert counts == {("910C", "mem_uncorrectable"): 7, ("H100", "device_lost"): 1, ("H100", "host"): 2}
    assert {one["vendor"] for one in found["vendors"]["sums"]} == {"nvidia", "ascend"}
    assert table.splitlines()[2].startswith("NVIDIA: 3 hardware faults that end runs in ")
    assert "Runs that were interrupted, by cause" in table
    assert "910C" not in table.split("Notes")[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prometheus", "http://127.0.0.1:9"], "Connection refused"),
        (["--prometheus", "127.0.0.1"], "expected the base URL of a Prometheus"),
        (["--prometheus", "http://127.0.0.1:9", "--window", "a quarter"], "--window: expected a length such as 90d"),
        (["--prometheus", "http://127.0.0.1:9", "--window", "0d"], "--window: expected a length such as 90d"),
        (["--prometheus", "http://127.0.0.1:9", "--end", "yesterday"], "--end: expected a time"),
        (["--prometheus", "http://127.0.0.1:9", "--match", "rack=1"], "--match: expected LABEL=VALUE"),
        (["--counts", "counts.csv", "--window", "30d"], "--window is of --prometheus"),
    ],
)
def test_what_cannot_be_asked_is_said(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *options]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_no_name_reaches_the_terminal_as_an_order() -> None:
    """A cluster may be called anything."""
    name = "H100\x1b[2J"
    cells = [
        Cell(group=group, vendor="nvidia", model=group, class_="device_lost", count=6, hours=1000.0)
        for group in (name, "910B")
    ]
    inputs = Inputs(title=name, produced="now", origin="test", window=("a", "b"), cells=cells, notes=[name])
    shown = text(document(inputs))
    assert "\x1b" not in shown
    assert shown.count("H100?[2J") >= 4

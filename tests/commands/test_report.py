"""`accelwatch report --counts`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelwatch.cli import main

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

"""Counts from a file: what is read, what is only shown, and how a wrong line is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelwatch.reliability.cells import Standing
from accelwatch.reliability.counts import CountsError, read
from accelwatch.reliability.document import document
from support import CORPUS

HEADER = "study,cluster,vendor,device_model,devices,duration_hours,device_hours,fault_class,count,source\n"


def file(directory: Path, *lines: str, header: str = HEADER) -> Path:
    path = directory / "counts.csv"
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_exposure_is_given_or_made_of_devices_and_hours(tmp_path: Path) -> None:
    """Device-hours; else devices times hours."""
    found = read(
        file(tmp_path, "q1,c1,nvidia,H100,16,100,,device_lost,2,", "q1,c2,nvidia,H100,,,500,device_lost,0,ticket 3")
    )
    assert [(cell.group, cell.count, cell.hours) for cell in found.cells] == [("q1 c1", 2, 1600.0), ("q1 c2", 0, 500.0)]


def test_a_cluster_of_two_vendors_has_a_group_for_each(tmp_path: Path) -> None:
    """Else they could not be compared."""
    found = read(file(tmp_path, "q1,c1,nvidia,H100,,,9,device_lost,2,", "q1,c1,ascend,910B,,,9,device_lost,1,"))
    assert [cell.group for cell in found.cells] == ["q1 c1 H100", "q1 c1 910B"]


def test_lines_of_one_class_add_up_over_one_exposure(tmp_path: Path) -> None:
    """Causes apart, as published tables have them; it is said that they were added."""
    found = read(file(tmp_path, "a,b,nvidia,H100,,,9,host,2,chassis", "a,b,nvidia,H100,,,9,host,3,CPU"))
    assert [(cell.count, cell.hours) for cell in found.cells] == [(5, 9.0)]
    assert any("lines 2, 3 are one class" in note for note in found.notes)
    with pytest.raises(CountsError, match=r"counts\.csv:3: a b, class host: 8 device-hours .* line 2 has 9"):
        read(file(tmp_path, "a,b,nvidia,H100,,,9,host,2,", "a,b,nvidia,H100,,,8,host,3,"))


def test_what_has_no_count_or_no_exposure_is_only_shown(tmp_path: Path) -> None:
    """Shares, counts without exposure, and claims, whatever they claim."""
    found = read(
        file(
            tmp_path, "a,b,nvidia,H100,,,9,host,,38 %", "a,b,nvidia,H100,,,,power,4,",
            "h,c,ascend,910C,10,240,2400,MTBF_claim,1,", "h,c,ascend,910C,10,240,2400,device_lost,,a claim of the vendor",
        )
    )  # fmt: skip
    assert not found.cells
    assert [one.standing for one in found.published] == [
        Standing.FIGURE, Standing.COUNT, Standing.CLAIM, Standing.CLAIM,
    ]  # fmt: skip


def test_a_class_that_a_vendor_cannot_report_has_no_rate(tmp_path: Path) -> None:
    """Unless somebody else counted it; a class of nobody's is kept, and named."""
    found = read(
        file(
            tmp_path, "a,b,nvidia,H100,,,9,silent_corruption,0,", "c,d,nvidia,H100,,,9,silent_corruption,3,",
            "c,d,nvidia,H100,,,9,ALL,3,",
        )
    )  # fmt: skip
    assert [cell.observable for cell in found.cells] == [False, False, True]
    assert any("ALL" in note for note in found.notes)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a,b,nvidia,H100,,,9,host,-1,", "counts.csv:2: column count: '-1'; expected a whole number"),
        ("a,b,nvidia,H100,,,9,host,1.5,", "column count: '1.5'"),
        ("a,b,nvidia,H100,,,0,host,1,", "column device_hours: '0'; expected a number above 0"),
        ("a,b,nvidia,H100,,,nan,host,1,", "column device_hours: 'nan'"),
        ("a,b,nvidia,H100,x,,9,host,1,", "column devices: 'x'"),
        ("a,b,,H100,,,9,host,1,", "column vendor: empty"),
        ("a,b,nvidia,H100,,,9,host", "counts.csv:2: more or fewer fields"),
        ("a,b,nvidia,H100,,,9,host,1,x,y", "more or fewer fields"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(tmp_path: Path, line: str, told: str) -> None:
    """File, line, column, what stands there, what was expected."""
    with pytest.raises(CountsError) as error:
        read(file(tmp_path, line))
    assert told in str(error.value)


def test_a_file_without_its_columns_or_lines_is_told(tmp_path: Path) -> None:
    """Named: those that are missing."""
    with pytest.raises(CountsError, match=r"counts\.csv:1: no column fault_class, count; expected study"):
        read(file(tmp_path, header="study,cluster,vendor,device_model\n"))
    with pytest.raises(CountsError, match="no line with counts"):
        read(file(tmp_path))
    (tmp_path / "counts.csv").write_bytes(HEADER.encode() + b"a,b,nvidia,\xff\n")
    with pytest.raises(CountsError, match="not UTF-8"):
        read(tmp_path / "counts.csv")
    with pytest.raises(CountsError, match=r"column confidence: 95; expected between 0 and 1"):
        read(file(tmp_path, "a,b,nvidia,H100,9,host,1,95", header=",".join(
            ("study", "cluster", "vendor", "device_model", "device_hours", "fault_class", "count", "confidence\n"))))  # fmt: skip


def test_the_published_figures_come_out_as_recomputed() -> None:
    """MTBF per device in hours: reference/reliability.md, 1.1."""
    path = CORPUS.parent / "reference" / "published_reliability.csv"
    if not path.exists():
        pytest.skip("the published figures are not here")
    rates = {(one["group"], one["class"]): one for one in document(read(path))["rates"]}

    def mtbf(group: str, class_: str) -> tuple[float, ...]:
        one = rates[group, class_]
        return tuple(round(one[key]) for key in ("mtbf_hours", "mtbf_low", "mtbf_high"))

    assert mtbf("llama3 Meta 16K H100", "ALL_unexpected") == (50_677, 46_049, 55_902)
    assert mtbf("llama3 Meta 16K H100", "mem_uncorrectable") == (294_912, 234_181, 376_914)
    assert mtbf("titan OLCF Titan old batch", "GPU_dead")[0] == 131_993
    assert round(mtbf("titan OLCF Titan new batch", "GPU_dead")[0], -4) == 3_550_000
    assert mtbf("ft_hsdp Meta 32K H100", "ALL_unexpected")[0] == 83_515
    assert mtbf("delta_v4 NCSA Delta", "UNCORR_ECC_total") == (283_031, 202_541, 408_691)
    assert mtbf("delta_v4 NCSA DeltaAI", "UNCORR_ECC_total") == (88_768, 59_659, 138_544)

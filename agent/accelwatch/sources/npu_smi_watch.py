"""Reads the lines of `npu-smi info watch`, one per chip and period (reference/ascend.md section 2.2)."""

from __future__ import annotations

import re

import msgspec

from accelwatch.sources.npu_smi_values import decimal, integer

# A column's title ends with its unit; `AI Core(%)` has a blank inside. `-s` leaves columns out.
_TITLE = re.compile(r"\S[^()]*\((?:Idx|W|C|%)\)")


class WatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line; `values` by the column's own title, such as `Pwr(W)`, `None` for NA and `-`."""

    npu_id: int
    chip_id: int | None  # 950 has none
    values: dict[str, float | None]


def parse_watch(output: str) -> list[WatchRow]:
    """All whole lines below a header; a line with more or fewer cells than it has columns is left out."""
    titles: list[str] = []
    rows: list[WatchRow] = []
    for line in output.splitlines():
        if "NpuID(Idx)" in line:
            titles = _TITLE.findall(line)
            continue
        cells = line.split()
        if not titles or len(cells) != len(titles):
            continue
        row = dict(zip(titles, cells, strict=True))
        npu, chip = integer(row.pop("NpuID(Idx)", None)), row.pop("ChipId(Idx)", None)
        if npu is None or (chip is not None and integer(chip) is None):
            continue
        rows.append(
            WatchRow(
                npu_id=npu,
                chip_id=integer(chip),
                values={title: decimal(cell) for title, cell in row.items()},
            )
        )
    return rows

"""Which NPU a chip without a first line is: the tool leaves that line out when the chip's health is outside 0..4."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.sources.npu_smi_info import ChipRow, Info


def named(
    info: Info, known: Sequence[ChipRow], mapped: Sequence[tuple[int, int, int | None]]
) -> tuple[list[ChipRow], list[str]]:
    """Rows with an NPU id, in the table's order, and a problem for each row that cannot be told from the others.

    The tool leaves a chip's first line, which holds that id, out when its health is outside 0..4: just the chip that
    matters. `known`: the chips of earlier tables; `mapped`: NPU, chip and physical id of each chip of `-m`.
    """
    rows: list[ChipRow] = []
    problems: list[str] = []
    told = {(row.npu_id, row.chip_id or 0) for row in info.chips if row.npu_id is not None}
    left = [entry for entry in mapped if entry[:2] not in told]
    headless = [row for row in info.chips if row.npu_id is None]
    # Both outputs list the cards in one order: where -m has just the chips that miss their first line, they pair up.
    paired = [chip for _, chip, _ in left] == [row.chip_id or 0 for row in headless]
    for row in info.chips:
        if row.npu_id is not None:
            rows.append(row)
            continue
        old = next((old for old in known if _same(old, row)), None)
        entry = next((entry for entry in mapped if row.phy_id is not None and entry[2] == row.phy_id), None)
        if entry is None and paired:
            entry = left[next(place for place, other in enumerate(headless) if other is row)]
        npu = old.npu_id if old else entry[0] if entry else _between(info, row)
        if npu is None or (npu, row.chip_id or 0) in told:
            problems.append(f"npu-smi info: the chip at {row.bus_id or '?'} cannot be told from the others; left out")
            continue
        told.add((npu, row.chip_id or 0))
        model = old.name if old else next((r.name for r in rows + list(known) if r.npu_id == npu), None)
        rows.append(msgspec.structs.replace(row, npu_id=npu, name=model))
    return rows, problems


def _same(old: ChipRow, new: ChipRow) -> bool:
    """The same chip by its address or physical id; chip ids alone are the same on every card."""
    if new.phy_id is not None and old.phy_id is not None:
        return new.phy_id == old.phy_id
    return new.bus_id is not None and new.bus_id == old.bus_id


def _between(info: Info, row: ChipRow) -> int | None:
    """The NPU id that the row's neighbours leave it: its card's other chip, or the only one that fits between."""
    place = next(place for place, other in enumerate(info.chips) if other is row)
    chip = row.chip_id or 0
    before = info.chips[place - 1] if place else None
    after = info.chips[place + 1] if place + 1 < len(info.chips) else None
    if before is not None and chip and (before.chip_id or 0) == chip - 1:
        return before.npu_id
    if after is not None and (after.chip_id or 0) == chip + 1:
        return after.npu_id
    if chip or before is None or after is None or before.npu_id is None or after.npu_id is None:
        return None
    return before.npu_id + 1 if after.npu_id - before.npu_id == 2 else None

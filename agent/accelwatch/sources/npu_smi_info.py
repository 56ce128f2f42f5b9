"""Reads the table of `npu-smi info`, in every layout since 21.0 (reference/ascend.md section 2.1).

Columns are told by their header's words, cells by the bars between them: widths differ between versions and
boards, and values may touch the slash or stick out of their column.
"""

from __future__ import annotations

import re

import msgspec

from accelwatch.readings.health import Level
from accelwatch.readings.process import DeviceProcess
from accelwatch.sources.base import SourceError
from accelwatch.sources.npu_smi_errors import explain
from accelwatch.sources.npu_smi_values import decimal, integer

MIB = 1 << 20

_BANNER = re.compile(r"npu-smi\s+(\S+)\s+Version:\s*(\S+)")
_PAIR = re.compile(r"(\d+|NA|-)\s*/\s*(\d+|NA|-)", re.ASCII)
_BUS_ID = re.compile(r"^(?:[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]|NA|-|)$")
_PROCESS_COLUMNS = 4  # ids, pid, name, memory; some versions have more
_IDLE = re.compile(r"No running processes found in NPU\s+(\d{1,6})\b", re.ASCII)

HEALTH_WORDS = {"OK": Level.OK, "WARNING": Level.WARNING, "ALARM": Level.ALARM, "CRITICAL": Level.CRITICAL}


class ChipRow(msgspec.Struct, frozen=True, kw_only=True):
    """One chip of the table. `npu_id` is `None` when the tool left out its first line (health outside 0..4)."""

    npu_id: int | None
    chip_id: int | None  # 950 has none
    name: str | None = None
    level: Level | None = None  # `None`: UNKNOWN, a word that we do not know, or no first line
    phy_id: int | None = None
    logic_id: int | None = None
    bus_id: str | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    utilization_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None


class ProcessRow(msgspec.Struct, frozen=True):
    """One row of the process table; `chip_id` is `None` on 950."""

    npu_id: int
    chip_id: int | None
    process: DeviceProcess


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """The whole output."""

    tool_version: str | None
    driver_version: str | None
    chips: tuple[ChipRow, ...]
    processes: tuple[ProcessRow, ...]
    idle_npus: frozenset[int]
    has_process_table: bool
    processes_complete: bool = False  # the process table ends with a rule: a chip that is not in it has none
    is_950: bool
    complete: bool = True  # False: it was cut, or a row could not be read; chips may be missing from it
    problems: tuple[str, ...] = ()

    @property
    def every_npu_named(self) -> bool:
        """Whether the process table has a row or an idle line of every NPU: some versions leave idle ones out."""
        return {row.npu_id for row in self.chips} <= {row.npu_id for row in self.processes} | self.idle_npus


def parse_info(output: str) -> Info:
    """Raises `SourceError` when there is no table, or a table without a single whole chip."""
    table = _Table()
    for line in output.splitlines():
        table.take(line.strip())
    return table.finish(output)


class _Table:
    """Takes line after line; knows which table and which half of a chip comes next."""

    def __init__(self) -> None:
        self.versions: tuple[str | None, str | None] = (None, None)
        self.is_950 = False
        self._columns: list[str] = []  # words of the second header's last cell
        self._second_word: str | None = None  # what stands beside the chip id: phy-id, device, or nothing
        self._process_columns = 0
        self._first: list[str] | None = None  # a chip's first line that waits for its second
        self._open = False  # rows since the last rule
        self.chips: list[ChipRow] = []
        self.processes: list[ProcessRow] = []
        self.idle: set[int] = set()
        self.problems: list[str] = []
        self.incomplete = False
        self._processes_unread = False
        self._process_open = True  # until a rule ends what stands under the header

    def take(self, line: str) -> None:
        if line.startswith("+"):
            self._open = not line.endswith("+") or len(line) < 2
            self._process_open = self._open or not (self.processes or self.idle)
            return
        if not line.startswith("|"):
            return
        if not line.endswith("|") or len(line) < 2:
            self._open = True  # cut in the middle of a row
            return
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        if banner := _BANNER.search(line):
            self.versions = (banner[1], banner[2])
        elif "Process id" in line and "Process name" in line:
            self._process_columns = len(cells)
            if len(cells) < _PROCESS_COLUMNS:
                self._unread_process(cells)
        elif "Health" in line and "Name" in line:
            self.is_950 = len(cells) == 4
        elif "Bus-Id" in line:
            self._columns = cells[-1].split()
            beside = cells[0].lower().split()
            self._second_word = beside[1] if len(beside) > 1 else None
        elif self._process_columns:
            self._process_open = True
            self._process(cells)
        elif self._columns:
            self._open = True
            self._chip(cells)

    def finish(self, output: str) -> Info:
        if not self._columns:
            raise SourceError(explain("npu-smi info", output), output)
        if self._first is not None:
            self._half_chip()
        if self._open:
            self.incomplete = True
            self.problems.append("npu-smi info: the output ends in the middle of the table")
        if not self.chips:
            raise SourceError("npu-smi info: a table without a chip; expected two lines for each", output)
        return Info(
            tool_version=self.versions[0],
            driver_version=self.versions[1],
            chips=tuple(self.chips),
            processes=tuple(self.processes),
            idle_npus=frozenset(self.idle),
            has_process_table=self._process_columns > 0,
            processes_complete=self._process_columns > 0
            and not (self._process_open or self._processes_unread or self.incomplete),
            is_950=self.is_950,
            complete=not self.incomplete,
            problems=tuple(self.problems),
        )

    def _chip(self, cells: list[str]) -> None:
        if len(cells) != (4 if self.is_950 else 3):
            self.incomplete = True
            self.problems.append(f"npu-smi info: a row of {len(cells)} cells: {' | '.join(cells)[:80]}")
            return
        if not _BUS_ID.match(cells[-2]):
            if self._first is not None:
                self._half_chip()
            self._first = cells
            return
        first, self._first = self._first, None
        if first is None:
            self.problems.append(
                f"npu-smi info: chip {cells[0] or '?'} at {cells[-2]} has no first line: its health is outside the "
                "known range and its power and temperature are not told"
            )
        row = self._row(first, cells)
        if row is None:
            self.incomplete = True
        else:
            self.chips.append(row)

    def _row(self, first: list[str] | None, second: list[str]) -> ChipRow | None:
        pairs = [(integer(used), integer(total)) for used, total in _PAIR.findall(second[-1])]
        rest = _PAIR.sub(" ", second[-1]).split()
        ids = second[0].split()
        usages = [column for column in self._columns if "Usage" in column]
        chip = integer(ids[0]) if ids and not self.is_950 else None
        if len(pairs) != len(usages) or len(rest) != 1 or (chip is None and not self.is_950):
            self.problems.append(
                f"npu-smi info: a second line that does not fit its header: {' | '.join(second)[:100]}"
            )
            return None
        used, total = _memory(dict(zip(usages, pairs, strict=True)))
        beside = integer(ids[1]) if len(ids) > 1 else None
        utilization = _measured(rest[0])
        row = ChipRow(
            npu_id=None,
            chip_id=chip,
            phy_id=beside if self._second_word == "phy-id" else None,
            logic_id=beside if self._second_word == "device" else None,
            bus_id=second[-2] if ":" in second[-2] else None,
            utilization_ratio=None if utilization is None else utilization / 100,
            memory_used_bytes=used,
            memory_total_bytes=total,
        )
        return row if first is None else self._with_first(row, first)

    def _with_first(self, row: ChipRow, first: list[str]) -> ChipRow | None:
        npu, _, name = first[0].partition(" ") if not self.is_950 else (first[0], "", first[1])
        values = _PAIR.sub(" ", first[-1]).split()
        if integer(npu) is None or len(values) < 2:
            self.problems.append(f"npu-smi info: a first line that does not fit its header: {' | '.join(first)[:100]}")
            return None
        return msgspec.structs.replace(
            row,
            npu_id=integer(npu),
            name=name.strip() or None,
            level=HEALTH_WORDS.get(first[-2].upper()),
            power_watts=_measured(values[0]),
            temperature_celsius=_measured(values[1]),
        )

    def _half_chip(self) -> None:
        assert self._first is not None  # noqa: S101 - its callers looked
        self.incomplete = True
        self.problems.append(f"npu-smi info: chip '{self._first[0]}' has no second line")
        self._first = None

    def _process(self, cells: list[str]) -> None:
        if idle := _IDLE.search(cells[0]):
            self.idle.add(int(idle[1]))
            return
        if len(cells) < self._process_columns or self._process_columns < _PROCESS_COLUMNS:
            self._unread_process(cells)
            return
        # A process name may hold a bar: what is too many belongs to it.
        after = self._process_columns - 3
        name = " | ".join(cells[2 : len(cells) - after])
        ids = cells[0].split()
        numbers = [integer(part) for part in ids]
        pid = integer(cells[1])
        if not numbers or numbers[0] is None or None in numbers or pid is None:
            self._unread_process(cells)
            return
        memory = integer(cells[len(cells) - after])
        process = DeviceProcess(pid=pid, name=name or None, memory_bytes=None if memory is None else memory * MIB)
        self.processes.append(ProcessRow(numbers[0], numbers[1] if len(numbers) > 1 else None, process))

    def _unread_process(self, cells: list[str]) -> None:
        """A chip of which no other row is there need not be idle."""
        self._processes_unread = True
        self.problems.append(f"npu-smi info: a line of the process table that does not fit: {' | '.join(cells)[:80]}")


def _memory(usages: dict[str, tuple[int | None, int | None]]) -> tuple[int | None, int | None]:
    """HBM where the chip has it, else its DDR; in bytes (the tool's MB are MiB)."""
    used, total = None, None
    for column in ("Memory-Usage(MB)", "HBM-Usage(MB)"):
        pair = usages.get(column)
        if pair is not None and pair[1]:
            used, total = pair
    return (None if used is None else used * MIB), (None if total is None else total * MIB)


def _measured(text: str) -> float | None:
    value = decimal(text)
    return value if value is not None and -1000.0 < value < 1e6 else None

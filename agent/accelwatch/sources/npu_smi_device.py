"""Joins a chip's row of `npu-smi info` with the answers of the slow queries that still hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from accelwatch.readings.health import FaultEvent, Health
from accelwatch.readings.identity import DeviceKey, Identity, Vendor, normalise_pci
from accelwatch.readings.link import Link
from accelwatch.readings.process import DeviceProcess
from accelwatch.readings.sensors import Clock as DeviceClock
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.snapshot import Device
from accelwatch.sources import npu_smi_queries as queries
from accelwatch.sources.kept_answer import Read
from accelwatch.sources.npu_smi_faults import parse_fault_events
from accelwatch.sources.npu_smi_info import ChipRow, Info
from accelwatch.sources.npu_smi_schedule import SIXTY, Query, Schedule

MAP = Query("-m", period=SIXTY)
LIST = Query("-l", period=SIXTY)


class Chips:
    """All chips of one table, with the last answers of slow queries from `schedule`, while they hold.

    `known`: NPU and chip id of all chips of the node, those too that this table has not.
    """

    def __init__(
        self,
        info: Info,
        rows: Sequence[ChipRow],
        known: Collection[tuple[int, int]],
        schedule: Schedule,
    ) -> None:
        self._info = info
        self._rows = rows
        self._known = known
        self._fresh, self._read = schedule.fresh, schedule.read
        self._map = self._read(MAP, queries.parse_map) or []

    def devices(self) -> tuple[Device, ...]:
        """In the table's order."""
        return tuple(self._device(row) for row in self._rows)

    def _block(self, query: Query, chip: int) -> queries.Block:
        return (self._read(query, queries.blocks) or {}).get(chip, {})

    def _own(self, kind: str, npu: int, chip: int, parse: Callable[[queries.Block], Read | None]) -> Read | None:
        """What `parse` makes of this chip's own block: an answer without chip ids is of the only chip there is.

        A card that has lost a chip can answer as one with a single chip does.
        """
        answer = self._fresh(Query(kind, npu))
        if answer is None:
            return None
        if answer.read(queries.numbered):
            return answer.read_part(queries.blocks, chip, parse)
        there = [row.chip_id or 0 for row in self._rows if (row.npu_id or 0) == npu]
        return answer.read_part(queries.blocks, 0 if there == [chip] else None, parse)

    def _of_chip(
        self, kind: str, npu: int, chip: int, parse: Callable[[queries.Block, DeviceKey], Read | None], key: DeviceKey
    ) -> Read | None:
        """The answer of a query that needs its chip named, except on 950; it may repeat the chip's id or not."""
        for query in (Query(kind, npu, chip), Query(kind, npu)):
            answer = self._fresh(query)
            if answer is not None:
                blocks = answer.read(queries.blocks)
                for number in (chip, 0):
                    if blocks.get(number):
                        return answer.read_part(queries.blocks, number, parse, key)
        return None

    def _device(self, row: ChipRow) -> Device:
        npu, chip = row.npu_id or 0, row.chip_id or 0
        key = DeviceKey(Vendor.ASCEND, f"npu{npu}/chip{chip}")
        ecc = self._own("ecc", npu, chip, queries.parse_ecc)
        return Device(
            identity=self._identity(key, row),
            sensors=self._sensors(row),
            health=self._health(row),
            ecc=None if ecc is None else ecc[0],
            repairs=None if ecc is None else ecc[1],
            links=self._links(key, npu, chip),
            processes=self._processes(row),
        )

    def _health(self, row: ChipRow) -> Health:
        npu, chip = row.npu_id or 0, row.chip_id or 0
        health = self._own("health", npu, chip, queries.parse_health)
        events = self._events(npu, chip)
        codes = None if events is None else tuple(event.code for event in events)
        return Health(
            level=row.level,
            error_codes=codes if health is None else health.codes,
            error_texts=() if health is None else health.texts,
            events=events,
        )

    def _events(self, npu: int, chip: int) -> tuple[FaultEvent, ...] | None:
        for query in (Query("current-fault-event", npu, chip), Query("current-fault-event", npu)):
            answer = self._read(query, fault_events)
            if answer is not None:
                return answer[0]
        return None

    def _links(self, key: DeviceKey, npu: int, chip: int) -> tuple[Link, ...] | None:
        sio = self._of_chip("sio-info", npu, chip, queries.parse_sio, key)
        links = self._of_chip("hccs", npu, chip, queries.parse_hccs, key) or ()
        return (links if sio is None else (*links, sio)) or None

    def _identity(self, key: DeviceKey, row: ChipRow) -> Identity:
        npu, chip = row.npu_id or 0, row.chip_id or 0
        board_query = Query("board", npu, period=SIXTY)
        board = self._block(board_query, chip) or self._block(board_query, 0)
        listed = (self._read(LIST, queries.parse_list) or {}).get(npu, {})
        mapped = next((c for c in self._map if c.npu_id == npu and c.chip_id == chip), None)
        # A card's own address is that of its only chip; of several chips it would be one address for all.
        alone = sum(other == npu for other, _ in self._known) == 1
        own_board = board if alone else self._block(board_query, chip) if chip else {}
        logic = mapped.logic_id if mapped and mapped.logic_id is not None else row.logic_id
        if logic is None and self._info.is_950:
            # 950's `-m` has no such column: "Logical ID of the software", which hccn_tool takes, is there the NPU ID
            # that `npu-smi info` shows (hicann/driver, Ascend_950_HCCN_Tool, parameter -i of every command).
            logic = row.npu_id
        return Identity(
            key=key,
            model=row.name,
            serial=queries.text(board, "Serial Number") or queries.text(listed, "Serial Number"),
            pci=_pci(row.bus_id or queries.text(own_board, "PCIe Bus Info")),
            driver=self._info.driver_version or queries.text(board, "Software Version"),
            firmware=queries.text(board, "Firmware Version"),
            library=self._info.tool_version,
            npu_id=npu,
            chip_id=row.chip_id,
            phy_id=row.phy_id if row.phy_id is not None else (mapped.phy_id if mapped else None),
            logic_id=logic,
        )

    def _sensors(self, row: ChipRow) -> Sensors:
        npu, chip = row.npu_id or 0, row.chip_id or 0
        common = self._block(Query("common", npu), chip)
        memory = self._block(Query("memory", npu), chip)
        usage = None
        if row.utilization_ratio is None:
            usage = queries.number(common, "Aicore Usage Rate(%)")
            if usage is None:
                usages = self._block(Query("usages", npu), chip)
                usage = queries.number(usages, "NPU Utilization(%)", "Aicore Usage Rate(%)")
        clocks = [
            DeviceClock(domain, megahertz * 1e6)
            for domain, megahertz in (
                ("aicore", queries.number(common, "Aicore curFreq(MHZ)")),
                ("memory", queries.number(memory, "HBM Clock Speed(MHz)")),
            )
            if megahertz is not None
        ]
        # The second die of an A3 tells none: power is the NPU's, shown with its first.
        second_die = chip and row.power_watts is None and row.phy_id is not None
        return Sensors(
            power_watts=None
            if second_die
            else self._first(row.power_watts, common, Query("power", npu), chip, "NPU Real-time Power(W)"),
            temperature_celsius=self._first(
                row.temperature_celsius, common, Query("temp", npu), chip, "Temperature(C)", "NPU Temperature(C)"
            ),
            memory_temperature_celsius=queries.number(memory, "HBM Temperature(C)"),
            utilization_ratio=row.utilization_ratio if usage is None else usage / 100,
            memory_used_bytes=row.memory_used_bytes,
            memory_total_bytes=row.memory_total_bytes,
            clocks=tuple(clocks),
        )

    def _first(self, shown: float | None, common: queries.Block, query: Query, chip: int, *keys: str) -> float | None:
        """The table's value, else `common`'s, else that of the query made for it."""
        if shown is not None:
            return shown
        value = queries.number(common, *keys)
        return value if value is not None else queries.number(self._block(query, chip), *keys)

    def _processes(self, row: ChipRow) -> tuple[DeviceProcess, ...] | None:
        npu, info = row.npu_id or 0, self._info
        own = tuple(p.process for p in info.processes if p.npu_id == npu and p.chip_id in (None, row.chip_id))
        proc_mem = Query("proc-mem", npu)
        if own:
            named = {p.pid: p for p in self._read(proc_mem, queries.parse_processes) or ()}
            return tuple(p if p.name or p.pid not in named else named[p.pid] for p in own)
        if npu in info.idle_npus:
            return ()
        if info.has_process_table:
            return () if info.processes_complete else None
        return (self._read(proc_mem, queries.processes_of_chips) or {}).get(row.chip_id or 0)


def fault_events(output: str) -> tuple[tuple[FaultEvent, ...] | None]:
    """An answer without events is an answer."""
    return (parse_fault_events(output),)


def _pci(address: str | None) -> str | None:
    if address is None:
        return None
    try:
        return normalise_pci(address)
    except ValueError:
        return None

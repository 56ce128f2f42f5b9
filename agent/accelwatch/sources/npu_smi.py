"""Huawei Ascend NPUs through `npu-smi`: one `npu-smi info` per poll, and the slow queries spread out.

Never two calls at once: old manuals say that concurrent use is not supported (reference/ascend.md section 2), and
each call asks every chip over PCIe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import msgspec

from accelwatch.clock import Clock
from accelwatch.readings.health import Health
from accelwatch.readings.identity import DeviceKey, Identity, Vendor, normalise_pci
from accelwatch.readings.process import DeviceProcess
from accelwatch.readings.sensors import Clock as DeviceClock
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.sources import npu_smi_queries as queries
from accelwatch.sources.base import Presence, SourceError
from accelwatch.sources.commands import Runner, find_tool
from accelwatch.sources.npu_smi_errors import explain, unsupported
from accelwatch.sources.npu_smi_info import ChipRow, Info, named, parse_info

INSTALLED = ("/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi")

# Polls between two readings (design.md, Configuration).
SIX, SIXTY = 6, 60
# A slow value outlives its period by this much before it counts as not known any more.
LIFETIME_PERIODS = 2.5
# The slow queries of one poll, as a share of the interval: the source's quarter of the wall time.
BUDGET_SHARE = 0.25
# A person waits for `check`; what is not read by then stays unknown.
EVERYTHING_SECONDS = 45.0
# How much more often than others these come where the tool is too slow for all: error codes are what ends a run.
_URGENCY = {"health": 4, "ecc": 2}
# `-t hccs` is for A2 and A3; older chips have PCIe between cards, 950 has UB ports (hccn_tool).
_HCCS_NAMES = ("910B1", "910B2", "910B3", "910B4", "Ascend910", "910_93", "910C")


class Query(msgspec.Struct, frozen=True):
    """One slow query; `chip` only where the query needs it."""

    type: str
    npu: int | None = None
    chip: int | None = None
    period: int = SIX  # polls


_MAP = Query("-m", period=SIXTY)


class Answer(msgspec.Struct, frozen=True):
    """The last good answer of a query, and when it came (monotonic seconds)."""

    output: str
    at: float


class NpuSmi:
    """See the module."""

    name = "npu_smi"

    def __init__(self, *, command: str | None, timeout: float, interval: float, runner: Runner, clock: Clock) -> None:
        self._configured = command
        self._timeout = timeout
        self._interval = interval
        self._runner = runner
        self._clock = clock
        self._polls = 0
        self._answers: dict[Query, Answer] = {}
        self._asked: dict[Query, int] = {}  # the poll in which it was last asked
        self._unsupported: dict[Query, int] = {}
        self._chips: dict[tuple[int, int], ChipRow] = {}  # as last seen whole, for chips without a first line
        self._info: Info | None = None

    def presence(self) -> Presence:
        """The tool is configured, on PATH, or where the driver installs it."""
        return Presence.PRESENT if find_tool("npu-smi", self._configured, INSTALLED) else Presence.ABSENT

    def poll(self, everything: bool = False) -> Snapshot:
        """One table and a few slow queries; see `sources.base.Source`."""
        started = self._clock.monotonic()
        self._polls += 1
        info = parse_info(self._run(["info"]))
        if self._info is not None and self._info.has_process_table and not info.has_process_table:
            info = msgspec.structs.replace(
                info, complete=False, problems=(*info.problems, "npu-smi info: the process table is missing: cut?")
            )
        problems: list[str] = []
        if any(row.npu_id is None for row in info.chips) and self._fresh(_MAP) is None:
            problems += self._ask(_MAP)
        rows, unnamed = named(info, list(self._chips.values()), [(c.npu_id, c.chip_id, c.phy_id) for c in self._map()])
        problems += unnamed
        complete = info.complete and len(rows) == len(info.chips)
        if info.complete:
            self._info = info
        seen = {(row.npu_id or 0, row.chip_id or 0): row for row in rows}
        changed = not seen.keys() <= self._chips.keys() or (complete and len(seen) < len(self._chips))
        self._chips = seen if complete else self._chips | seen
        first = self._polls == 1 or everything
        budget = EVERYTHING_SECONDS if everything else max(self._interval * BUDGET_SHARE, 0.0)
        if changed and self._asked.get(_MAP) != self._polls:
            self._answers.pop(_MAP, None)  # logic ids move when a chip comes or goes
            problems += self._ask(_MAP)
        for number, query in enumerate(self._due(everything or first)):
            if number and self._clock.monotonic() - started >= budget:
                break
            problems += self._ask(query)
            if first:  # from here on each comes at its own poll
                self._asked[query] -= number % query.period
        devices = tuple(self._device(row, info) for row in rows)
        return Snapshot(devices=devices, complete=complete, problems=(*info.problems, *problems))

    def close(self) -> None:
        """Nothing is held between polls."""

    # --- asking

    def _run(self, arguments: list[str]) -> str:
        tool = find_tool("npu-smi", self._configured, INSTALLED)
        if tool is None:
            raise SourceError(
                "npu-smi: not found on PATH nor in /usr/local; install the driver or set sources.npu_smi.command"
            )
        output = self._runner.run([tool, *arguments], self._timeout)
        if output.status != 0:
            command = " ".join(["npu-smi", *arguments])
            raise _Failed(explain(command, output.stdout + output.stderr, output.status), output.stdout, output.status)
        return output.stdout

    def _ask(self, query: Query) -> list[str]:
        """Runs a slow query and keeps its answer; gives the problem it had."""
        self._asked[query] = self._polls
        if query.npu is None:
            arguments = ["info", query.type]
        else:
            arguments = ["info", "-t", query.type, "-i", str(query.npu)]
            if query.chip is not None:
                arguments += ["-c", str(query.chip)]
        try:
            output = self._run(arguments)
        except _Failed as error:
            if unsupported(error.sample or "", error.status):
                self._unsupported[query] = self._polls
                return []
            return [str(error)]
        except SourceError as error:
            return [str(error)]
        if unsupported(output, 0):
            self._unsupported[query] = self._polls
            return []
        if not _answers(query, output):
            return [f"{explain(' '.join(['npu-smi', *arguments]), output)}: {output.strip()[:100]!r}"]
        self._unsupported.pop(query, None)
        self._answers[query] = Answer(output, self._clock.monotonic())
        return []

    def _due(self, all_of_them: bool) -> Iterator[Query]:
        """Slow queries whose period is over, in the order of need."""
        candidates = list(self._queries())
        for query in list(self._answers):
            if query not in candidates:
                del self._answers[query]
        candidates = [query for query in candidates if self._asked.get(query) != self._polls]
        if all_of_them:
            yield from candidates
            return
        due = [query for query in candidates if self._waits(query) >= 1 and not self._resting(query)]
        # Where time is short the one that waits longest by its own period comes first, so that none starves.
        yield from sorted(due, key=lambda query: -self._waits(query) * _URGENCY.get(query.type, 1))

    def _waits(self, query: Query) -> float:
        """How many of its periods ago it was asked."""
        asked = self._asked.get(query)
        return math.inf if asked is None else (self._polls - asked) / query.period

    def _resting(self, query: Query) -> bool:
        since = self._unsupported.get(query)
        return since is not None and self._polls - since < SIXTY

    def _queries(self) -> Iterator[Query]:
        yield _MAP
        npus = sorted({npu for npu, _ in self._chips})
        yield from (Query("health", npu) for npu in npus)
        yield from (Query("ecc", npu) for npu in npus)
        for (npu, chip), row in sorted(self._chips.items()):
            if row.name is not None and row.name.startswith(_HCCS_NAMES):
                yield Query("hccs", npu, chip)
        yield from (Query("board", npu, period=SIXTY) for npu in npus)
        yield Query("-l", period=SIXTY)
        yield from (Query("common", npu) for npu in npus)
        yield from (Query("usages", npu) for npu in npus)
        yield from (Query("memory", npu) for npu in npus)
        yield from self._fallbacks()

    def _fallbacks(self) -> Iterator[Query]:
        """Queries for what the table and `common` did not tell."""
        for (npu, chip), row in sorted(self._chips.items()):
            if chip:
                continue
            common = self._block(Query("common", npu), chip)
            if row.temperature_celsius is None and queries.number(common, "Temperature(C)") is None:
                yield Query("temp", npu)
            if row.power_watts is None and queries.number(common, "NPU Real-time Power(W)") is None:
                yield Query("power", npu)
            info = self._info
            nameless = info is not None and any(p.npu_id == npu and not p.process.name for p in info.processes)
            if info is not None and (not info.has_process_table or nameless):
                yield Query("proc-mem", npu)

    # --- joining

    def _map(self) -> list[queries.Chip]:
        output = self._fresh(_MAP)
        return [] if output is None else queries.parse_map(output)

    def _fresh(self, query: Query) -> str | None:
        answer = self._answers.get(query)
        if answer is None:
            return None
        age = self._clock.monotonic() - answer.at
        return answer.output if age <= LIFETIME_PERIODS * query.period * self._interval + self._timeout else None

    def _block(self, query: Query, chip: int) -> queries.Block:
        output = self._fresh(query)
        return {} if output is None else queries.blocks(output).get(chip, {})

    def _device(self, row: ChipRow, info: Info) -> Device:
        npu, chip = row.npu_id or 0, row.chip_id or 0
        key = DeviceKey(Vendor.ASCEND, f"npu{npu}/chip{chip}")
        health = queries.parse_health(self._block(Query("health", npu), chip))
        ecc = queries.parse_ecc(self._block(Query("ecc", npu), chip))
        hccs = self._block(Query("hccs", npu, chip), chip) or self._block(Query("hccs", npu, chip), 0)
        return Device(
            identity=self._identity(key, row, info),
            sensors=self._sensors(row),
            health=Health(
                level=row.level,
                error_codes=None if health is None else health.codes,
                error_texts=() if health is None else health.texts,
            ),
            ecc=None if ecc is None else ecc[0],
            repairs=None if ecc is None else ecc[1],
            links=queries.parse_hccs(hccs, key) or None,
            processes=self._processes(row, info),
        )

    def _identity(self, key: DeviceKey, row: ChipRow, info: Info) -> Identity:
        npu, chip = row.npu_id or 0, row.chip_id or 0
        board = self._block(Query("board", npu, period=SIXTY), chip) or self._block(
            Query("board", npu, period=SIXTY), 0
        )
        listed_output = self._fresh(Query("-l", period=SIXTY))
        listed = {} if listed_output is None else queries.parse_list(listed_output).get(npu, {})
        mapped = next((c for c in self._map() if c.npu_id == npu and c.chip_id == chip), None)
        # A card's own address is that of its only chip; of several chips it would be one address for all.
        alone = sum(other == npu for other, _ in self._chips) == 1
        own_board = board if alone else self._block(Query("board", npu, period=SIXTY), chip) if chip else {}
        pci = row.bus_id or queries.text(own_board, "PCIe Bus Info")
        return Identity(
            key=key,
            model=row.name,
            serial=queries.text(board, "Serial Number") or queries.text(listed, "Serial Number"),
            pci=_pci(pci),
            driver=info.driver_version or queries.text(board, "Software Version"),
            firmware=queries.text(board, "Firmware Version"),
            library=info.tool_version,
            npu_id=npu,
            chip_id=row.chip_id,
            phy_id=row.phy_id if row.phy_id is not None else (mapped.phy_id if mapped else None),
            logic_id=mapped.logic_id if mapped and mapped.logic_id is not None else row.logic_id,
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
        return Sensors(
            power_watts=None
            if chip and row.power_watts is None and row.phy_id is not None
            else self._first(row.power_watts, common, Query("power", npu), chip, "NPU Real-time Power(W)"),
            temperature_celsius=self._first(
                row.temperature_celsius,
                common,
                Query("temp", npu),
                chip,
                "Temperature(C)",
                "NPU Temperature(C)",
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

    def _processes(self, row: ChipRow, info: Info) -> tuple[DeviceProcess, ...] | None:
        npu = row.npu_id or 0
        own = tuple(p.process for p in info.processes if p.npu_id == npu and p.chip_id in (None, row.chip_id))
        proc_mem = self._fresh(Query("proc-mem", npu))
        if own:
            named = {p.pid: p for p in (queries.parse_processes(proc_mem) or ())} if proc_mem else {}
            return tuple(p if p.name or p.pid not in named else named[p.pid] for p in own)
        if npu in info.idle_npus:
            return ()
        if info.has_process_table:
            return () if info.processes_complete else None
        return None if proc_mem is None else queries.processes_of_chips(proc_mem).get(row.chip_id or 0)


class _Failed(SourceError):
    """A call that ended with a status."""

    def __init__(self, message: str, sample: str, status: int) -> None:
        super().__init__(message, sample)
        self.status = status


_NEEDED: dict[str, Callable[[str], object]] = {
    "-m": queries.parse_map,
    "-l": queries.parse_list,
    "health": lambda output: any(queries.parse_health(block) for block in queries.blocks(output).values()),
    "ecc": lambda output: any(queries.parse_ecc(block) for block in queries.blocks(output).values()),
    "proc-mem": lambda output: queries.parse_processes(output) is not None,
    "board": lambda output: any("PCIe Bus Info" in b or "Chip Name" in b for b in queries.blocks(output).values()),
    "hccs": lambda output: any(key.startswith(("hccs", "xlink")) for b in queries.blocks(output).values() for key in b),
}


def _has_units(output: str) -> bool:
    """A key with its unit, as in `Temperature(C)`."""
    return any("(" in key for block in queries.blocks(output).values() for key in block)


def _answers(query: Query, output: str) -> bool:
    """Whether the fields that the query is for are there: some failures end with status 0."""
    needed = _NEEDED.get(query.type, _has_units)
    return bool(needed(output))


def _pci(address: str | None) -> str | None:
    if address is None:
        return None
    try:
        return normalise_pci(address)
    except ValueError:
        return None

"""Huawei Ascend NPUs through `npu-smi`: one `npu-smi info` per poll, and the slow queries spread out.

Never two calls at once: old manuals say that concurrent use is not supported (reference/ascend.md section 2), and
each call asks every chip over PCIe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from accelwatch.clock import Clock
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources import npu_smi_queries as queries
from accelwatch.sources.base import Presence, SourceError
from accelwatch.sources.commands import Runner, find_tool
from accelwatch.sources.kept_answer import KeptAnswer
from accelwatch.sources.npu_smi_device import LIST, MAP, Chips, fault_events
from accelwatch.sources.npu_smi_errors import explain, unsupported
from accelwatch.sources.npu_smi_host import ChipsOnHost
from accelwatch.sources.npu_smi_info import ChipRow, Info, parse_info
from accelwatch.sources.npu_smi_naming import named
from accelwatch.sources.npu_smi_schedule import SIXTY, Query, Schedule
from accelwatch.sources.npu_smi_values import whole_lines
from accelwatch.sources.patience import Patience, give_up_if_blocked

INSTALLED = ("/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi")

# The slow queries of one poll, as a share of the interval: the source's quarter of the wall time.
BUDGET_SHARE = 0.25
# A person waits for `check`; what is not read by then stays unknown.
EVERYTHING_SECONDS = 45.0
# Chips with two dies, and with links of HCCS; older chips have PCIe between cards, 950 has UB ports (hccn_tool).
_TWO_DIE_NAMES = ("Ascend910", "910_93", "910C")
_HCCS_NAMES = ("910B1", "910B2", "910B3", "910B4", *_TWO_DIE_NAMES)
# The first version of the tool that knows `current-fault-event` (reference/ascend.md section 2.2).
_FAULT_EVENTS_SINCE = (25, 7)


class NpuSmi:
    """See the module."""

    name = "npu_smi"

    def __init__(
        self,
        *,
        command: str | None,
        timeout: float,
        interval: float,
        runner: Runner,
        clock: Clock,
        pci: Path | None = None,
        dev: Path | None = None,
    ) -> None:
        """`pci`, `dev`: the host's /sys/bus/pci/devices and /dev, which show chips that the tool leaves out."""
        self._configured = command
        self._timeout = timeout
        self._interval = interval
        self._runner = Patience(runner, clock)
        self._clock = clock
        self._on_host = ChipsOnHost(pci, dev)
        self._schedule = Schedule(clock, interval, timeout)
        self._chips: dict[tuple[int, int], ChipRow] = {}  # as last seen whole, for chips without a first line
        self._info: Info | None = None
        self._shorter: set[tuple[int, int]] | None = None  # the chips of a table that ended early, as it seemed

    def presence(self) -> Presence:
        """The tool is configured, on PATH, or where the driver installs it."""
        return Presence.PRESENT if find_tool("npu-smi", self._configured, INSTALLED) else Presence.ABSENT

    def poll(self, everything: bool = False) -> Snapshot:
        """One table and a few slow queries; see `sources.base.Source`."""
        started = self._clock.monotonic()
        self._schedule.begin()
        info = parse_info(self._run(["info"]))
        if self._info is not None and self._info.has_process_table and not info.has_process_table:
            info = _cut(info, "npu-smi info: the process table is missing: cut?")
        if self._info is not None and self._info.every_npu_named and not info.every_npu_named:
            info = msgspec.structs.replace(info, processes_complete=False)  # cut behind a rule: unknown, not idle
        problems: list[str] = []
        if any(row.npu_id is None for row in info.chips) and self._schedule.fresh(MAP) is None:
            problems += self._ask(MAP)
        rows, unnamed = named(info, list(self._chips.values()), [(c.npu_id, c.chip_id, c.phy_id) for c in self._map()])
        problems += unnamed
        seen = {(row.npu_id or 0, row.chip_id or 0): row for row in rows}
        complete = info.complete and len(rows) == len(info.chips)
        if not seen.keys() <= self._chips.keys() or (complete and len(seen) < len(self._chips)):
            self._schedule.forget(MAP)  # logic ids move when a chip comes or goes
            self._schedule.forget_refusals()
            if not self._schedule.was_asked(MAP):
                problems += self._ask(MAP)
        if complete and self._ends_early(info, seen.keys()):
            info = _cut(info, "npu-smi info: the table ends before chips that `npu-smi info -m` lists: cut?")
            complete = False
        if info.complete:
            if self._info is not None and self._info.tool_version != info.tool_version:
                self._schedule.forget_refusals()
            self._info = info
        self._chips = seen if complete else self._chips | seen
        problems += self._ask_due(started, everything)
        return Snapshot(
            devices=Chips(info, rows, self._chips.keys(), self._schedule).devices(),
            devices_on_bus=self._on_host.count(),
            complete=complete,
            problems=(*info.problems, *problems),
            blocked=self._runner.blocked,
        )

    def close(self) -> None:
        """Nothing is held between polls."""

    def _ends_early(self, info: Info, seen: Collection[tuple[int, int]]) -> bool:
        """Whether the table seems cut behind a rule, which looks like its end where no process table follows.

        Then `-m`, another call, still lists the chips that are missing, and they are the last of it. The tool can
        also leave out a chip that does not answer: when the next table has the same chips, that is what it has.
        """
        listed = [(chip.npu_id, chip.chip_id) for chip in self._map()]
        missing = [chip for chip in listed if chip not in seen]
        before = self._shorter
        self._shorter = None
        if info.has_process_table or not missing or listed[-len(missing) :] != missing:
            return False
        self._shorter = set(seen)
        return before != self._shorter

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
        self._schedule.asked(query)
        try:
            output = whole_lines(self._run(query.arguments))
        except _Failed as error:
            if unsupported(error.sample or "", error.status):
                self._schedule.refuse(query)
                return []
            return [str(error)]
        except SourceError as error:
            give_up_if_blocked(error)
            return [str(error)]
        if unsupported(output, 0):
            self._schedule.refuse(query)
            return []
        answer = KeptAnswer(output, self._clock.monotonic())
        if not _answers(query, answer):
            return [f"{explain(' '.join(['npu-smi', *query.arguments]), output)}: {output.strip()[:100]!r}"]
        self._schedule.keep(query, answer)
        return []

    def _ask_due(self, started: float, everything: bool) -> list[str]:
        """The slow queries of this poll, as far as its time goes."""
        problems: list[str] = []
        first = self._schedule.polls == 1 or everything
        budget = EVERYTHING_SECONDS if everything else max(self._interval * BUDGET_SHARE, 0.0)
        for number, query in enumerate(self._schedule.due(list(self._queries()), first)):
            if number and self._clock.monotonic() - started >= budget:
                break
            problems += self._ask(query)
            if first:  # from here on each comes at its own poll
                self._schedule.asked(query, earlier=number % query.period)
        return problems

    def _queries(self) -> Iterator[Query]:
        yield MAP
        npus = sorted({npu for npu, _ in self._chips})
        yield from (Query("health", npu) for npu in npus)
        yield from self._fault_events()
        yield from (Query("ecc", npu) for npu in npus)
        for (npu, chip), row in sorted(self._chips.items()):
            name = row.name or ""
            if name.startswith(_HCCS_NAMES):
                yield Query("hccs", npu, chip)
            if row.chip_id is None:
                yield Query("sio-info", npu)
            elif name.startswith(_TWO_DIE_NAMES):
                yield Query("sio-info", npu, chip)
        yield from (Query("board", npu, period=SIXTY) for npu in npus)
        yield LIST
        yield from (Query("common", npu) for npu in npus)
        yield from (Query("memory", npu) for npu in npus)
        yield from self._fallbacks()

    def _fault_events(self) -> Iterator[Query]:
        """950 takes no chip id; an older tool is not asked for what it cannot know."""
        known = _version(self._info.tool_version if self._info else None) >= _FAULT_EVENTS_SINCE
        for (npu, chip), row in sorted(self._chips.items()):
            if row.chip_id is None:
                yield Query("current-fault-event", npu)
            elif known:
                yield Query("current-fault-event", npu, chip)

    def _fallbacks(self) -> Iterator[Query]:
        """Queries for what the table and `common` did not tell."""
        for (npu, chip), row in sorted(self._chips.items()):
            if chip:
                continue
            common = (self._schedule.read(Query("common", npu), queries.blocks) or {}).get(chip, {})
            if row.temperature_celsius is None and queries.number(common, "Temperature(C)") is None:
                yield Query("temp", npu)
            if row.power_watts is None and queries.number(common, "NPU Real-time Power(W)") is None:
                yield Query("power", npu)
            if row.utilization_ratio is None and queries.number(common, "Aicore Usage Rate(%)") is None:
                yield Query("usages", npu)
            info = self._info
            nameless = info is not None and any(p.npu_id == npu and not p.process.name for p in info.processes)
            if info is not None and (not info.has_process_table or nameless):
                yield Query("proc-mem", npu)

    def _map(self) -> list[queries.Chip]:
        return self._schedule.read(MAP, queries.parse_map) or []


class _Failed(SourceError):
    """A call that ended with a status."""

    def __init__(self, message: str, sample: str, status: int) -> None:
        super().__init__(message, sample)
        self.status = status


_NEEDED: dict[str, Callable[[KeptAnswer], object]] = {
    "-m": lambda answer: answer.read(queries.parse_map),
    "-l": lambda answer: answer.read(queries.parse_list),
    "health": lambda answer: any(answer.read_part(queries.blocks, n, queries.parse_health) for n in _chips(answer)),
    "current-fault-event": lambda answer: answer.read(fault_events)[0] is not None,
    "ecc": lambda answer: any(answer.read_part(queries.blocks, n, queries.parse_ecc) for n in _chips(answer)),
    "proc-mem": lambda answer: answer.read(queries.parse_processes) is not None,
    "board": lambda answer: any("PCIe Bus Info" in b or "Chip Name" in b for b in _blocks(answer)),
    "hccs": lambda answer: any(key.startswith(("hccs", "xlink")) for block in _blocks(answer) for key in block),
    "sio-info": lambda answer: any("RX Error Count" in block for block in _blocks(answer)),
}


def _chips(answer: KeptAnswer) -> Collection[int]:
    return answer.read(queries.blocks).keys()


def _blocks(answer: KeptAnswer) -> Collection[queries.Block]:
    return answer.read(queries.blocks).values()


def _has_units(answer: KeptAnswer) -> bool:
    """A key with its unit, as in `Temperature(C)`."""
    return any("(" in key for block in _blocks(answer) for key in block)


def _answers(query: Query, answer: KeptAnswer) -> bool:
    """Whether the fields that the query is for are there: some failures end with status 0."""
    needed = _NEEDED.get(query.type, _has_units)
    return bool(needed(answer))


def _cut(info: Info, problem: str) -> Info:
    return msgspec.structs.replace(info, complete=False, problems=(*info.problems, problem))


def _version(text: str | None) -> tuple[int, ...]:
    """The leading numbers of a version for comparing: 26.0.rc1 is (26, 0), an unknown one ()."""
    match = re.match(r"\d{1,6}(?:\.\d{1,6})*", text or "", re.ASCII)
    return tuple(int(part) for part in match[0].split(".")) if match else ()

"""The network ports of Ascend NPUs through `hccn_tool`: link, its history of drops, health, errors, optics.

One call after the other, as the vendor's own exporter does (reference/ascend.md section 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from accelwatch.clock import Clock
from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources import hccn_outputs as outputs
from accelwatch.sources.base import AscendDevice, Presence, SourceError
from accelwatch.sources.commands import Runner, find_tool
from accelwatch.sources.hccn_950 import Port, parse_ports
from accelwatch.sources.hccn_optics import parse_optical
from accelwatch.sources.hccn_standing import AGREED, PortKey, Standings
from accelwatch.sources.kept_answer import KeptAnswer, Read
from accelwatch.sources.npu_smi_errors import unsupported
from accelwatch.sources.npu_smi_values import whole_lines
from accelwatch.sources.patience import Patience, give_up_if_blocked
from accelwatch.sources.privileged import HCCN_INSTALLED

# Polls between two readings of each query; link and history come with every poll (design.md, Configuration), and tell
# when speed and FEC cannot have changed (`hccn_standing`).
PERIODS = {"net_health": 6, "stat": 6, "speed": 6, "fec": 6, "optical": 60}
# 950's tool has neither of the other two (950 hccn_tool manual, table of contents).
QUERIES_950 = frozenset(("stat", "speed", "fec"))
LIFETIME_PERIODS = 2.5
BUDGET_SHARE = 0.25
EVERYTHING_SECONDS = 45.0
# A query that was refused, and has answered before, is tried again after so many polls; another is not.
RETRY_POLLS = 60

_NO_ANSWER = KeptAnswer("", 0.0)


class HccnTool:
    """See the module."""

    name = "hccn_tool"

    def __init__(
        self,
        *,
        command: str | None,
        timeout: float,
        interval: float,
        runner: Runner,
        clock: Clock,
        devices: Callable[[], Sequence[AscendDevice]],
    ) -> None:
        self._configured = command
        self._timeout = timeout
        self._interval = interval
        self._runner = Patience(runner, clock)
        self._clock = clock
        self._devices = devices
        self._polls = 0
        self._ports: dict[AscendDevice, list[Port]] = {}  # of 950, as last listed
        self._held: dict[tuple[PortKey, str], KeptAnswer] = {}
        self._asked: dict[tuple[PortKey, str], int] = {}
        self._unsupported: dict[tuple[PortKey, str], int] = {}
        self._answered: set[tuple[PortKey, str]] = set()  # ever
        self._standings = Standings()
        self._known: frozenset[AscendDevice] = frozenset()
        self._tool: str | None = None  # as found at the beginning of a poll

    def presence(self) -> Presence:
        """The tool is configured, on PATH, or where the driver installs it."""
        return Presence.PRESENT if find_tool("hccn_tool", self._configured, HCCN_INSTALLED) else Presence.ABSENT

    def poll(self, everything: bool = False) -> Snapshot:
        """Link state and history of every port, and a few slow queries; see `sources.base.Source`."""
        started = self._clock.monotonic()
        self._polls += 1
        self._tool = find_tool("hccn_tool", self._configured, HCCN_INSTALLED)
        devices = self._devices()
        problems: list[str] = []
        links: list[Link] = []
        ports: list[PortKey] = []
        for number, device in enumerate(devices):
            if number and not everything and self._clock.monotonic() - started >= self._interval:
                problems.append(
                    f"hccn_tool: {len(devices) - number} devices not asked: the others took the whole interval"
                )
                break
            found, trouble = self._links_of(device)
            problems += trouble
            for port, link in found:
                ports.append(port)
                links.append(link)
                if link.state is not LinkState.UP:
                    self._forget(port, "net_health")  # the check of a port that was down says nothing of it when up
        if devices and not links:
            raise SourceError(
                f"hccn_tool: no port of {len(devices)} devices answers: {problems[0] if problems else ''}"
            )
        budget = EVERYTHING_SECONDS if everything else self._interval * BUDGET_SHARE
        first = everything or self._polls == 1
        self._keep(frozenset(devices))
        checked = [port for port, link in zip(ports, links, strict=True) if link.state is LinkState.UP]
        for number, (port, query) in enumerate(self._due(ports, checked, first)):
            if number and self._clock.monotonic() - started >= budget:
                break
            problems += self._ask(port, query)
            if first:  # from here on each comes at its own poll
                self._asked[(port, query)] -= number % self._period((port, query))
        return Snapshot(
            links=tuple(self._completed(link, port) for link, port in zip(links, ports, strict=True)),
            problems=tuple(problems),
            blocked=self._runner.blocked,
        )

    def close(self) -> None:
        """Nothing is held between polls."""

    def _run(self, port: PortKey, query: str) -> str:
        if self._tool is None:
            raise SourceError("hccn_tool: not found; install the driver or set sources.hccn_tool.command")
        device, udie, number = port
        if device.generation_950:
            arguments = ["-g", f"-{query}", "-i", str(device.hccn_id)]
            if udie is not None:
                arguments += ["-u", str(udie), "-p", str(number)]
        else:
            arguments = ["-i", str(device.hccn_id), f"-{query}", "-g"]
        output = self._runner.run([self._tool, *arguments], self._timeout)
        if output.status != 0 and not output.stdout.strip():
            words = " ".join((output.stderr or "it printed nothing").split())
            raise SourceError(f"hccn_tool {' '.join(arguments)}: {words[:200]} (exit status {output.status})", words)
        return whole_lines(output.stdout)

    def _links_of(self, device: AscendDevice) -> tuple[list[tuple[PortKey, Link]], list[str]]:
        """State and history of the device's ports: what every poll reads; and what of it failed."""
        problems: list[str] = []
        states: dict[PortKey, LinkState | None] = {}
        try:
            states = self._states_950(device) if device.generation_950 else self._state(device)
        except SourceError as error:
            give_up_if_blocked(error)
            problems.append(str(error))
            # The ports are still there, and their history may answer; on A2 and A3 there is nothing without a state.
            states = {(device, port.udie, port.port): None for port in self._ports.get(device, [])}
        links: list[tuple[PortKey, Link]] = []
        for port, state in states.items():
            try:
                links.append((port, self._with_history(port, state)))
            except SourceError as error:
                give_up_if_blocked(error)
                problems.append(str(error))
                self._standings.untold(port)
                if state is not None:
                    links.append((port, _link(port, state, None)))
        return links, problems

    def _state(self, device: AscendDevice) -> dict[PortKey, LinkState | None]:
        output = self._run((device, None, None), "link")
        state = outputs.parse_link(output)
        if state is None:
            raise SourceError(f"hccn_tool -i {device.hccn_id} -link -g: no `link status` in its output", output)
        return {(device, None, None): state}

    def _states_950(self, device: AscendDevice) -> dict[PortKey, LinkState | None]:
        """One call tells the state of all ports of a 950."""
        output = self._run((device, None, None), "dev_info")
        found = parse_ports(output)
        if not found:
            raise SourceError(f"hccn_tool -g -dev_info -i {device.hccn_id}: no table of ports in its output", output)
        self._ports[device] = found
        return {(device, port.udie, port.port): _state_of(port.up) for port in found}

    def _with_history(self, port: PortKey, state: LinkState | None) -> Link:
        output = self._run(port, "link_stat")
        history = outputs.parse_link_stat(output)
        if history is None:
            raise SourceError(
                f"hccn_tool -link_stat -i {port[0].hccn_id}: neither counts nor records in its output", output
            )
        if state is None:
            last = outputs.parse_last_change(output)
            state = _state_of(last)
        self._standings.told(port, state, history, self._polls)
        return _link(port, state, history)

    def _keep(self, devices: frozenset[AscendDevice]) -> None:
        """Drops what is held of other devices."""
        if devices == self._known:
            return
        self._known = devices
        self._standings.keep(devices)
        known = {*self._held, *self._asked, *self._unsupported}
        for gone in [one for one in known if one[0][0] not in devices]:
            for table in (self._held, self._asked, self._unsupported):
                table.pop(gone, None)
            self._answered.discard(gone)

    def _forget(self, port: PortKey, query: str) -> None:
        """Its last answer does not hold any more, and it is due."""
        self._held.pop((port, query), None)
        self._asked.pop((port, query), None)

    def _due(
        self, ports: Sequence[PortKey], checked: Sequence[PortKey], all_of_them: bool
    ) -> list[tuple[PortKey, str]]:
        """`checked`: ports that are up, whose network check tells something."""
        due: list[tuple[PortKey, str]] = []
        for query in PERIODS:
            candidates = checked if query == "net_health" else ports
            own = [(port, query) for port in candidates if query in QUERIES_950 or not port[0].generation_950]
            if all_of_them:
                due += own
            else:
                due += [one for one in own if not self._resting(one) and self._waits(one) >= 1]
        # Where time is short the query that waits longest by its own period comes first, so that none starves.
        return due if all_of_them else sorted(due, key=lambda one: -self._waits(one))

    def _waits(self, asked: tuple[PortKey, str]) -> float:
        """How many of its periods ago it was asked."""
        last = self._asked.get(asked)
        return math.inf if last is None else (self._polls - last) / self._period(asked)

    def _period(self, asked: tuple[PortKey, str]) -> int:
        usual = PERIODS[asked[1]]
        return self._standings.period(*asked, self._asked.get(asked), usual) if asked[1] in AGREED else usual

    def _resting(self, asked: tuple[PortKey, str]) -> bool:
        since = self._unsupported.get(asked)
        return since is not None and (asked not in self._answered or self._polls - since < RETRY_POLLS)

    def _ask(self, port: PortKey, query: str) -> list[str]:
        self._asked[(port, query)] = self._polls
        try:
            output = self._run(port, query)
        except SourceError as error:
            give_up_if_blocked(error)
            if unsupported(error.sample or "", 0):
                self._unsupported[(port, query)] = self._polls
                return []
            return [str(error)]
        if unsupported(output, 0):
            self._unsupported[(port, query)] = self._polls
        else:
            self._held[(port, query)] = KeptAnswer(output, self._clock.monotonic())
            self._answered.add((port, query))
        return []

    def _read(self, port: PortKey, query: str, parse: Callable[[str], Read]) -> Read:
        """Of its last answer while that holds, else of none."""
        held = self._held.get((port, query))
        if held is None:
            return _NO_ANSWER.read(parse)
        lifetime = LIFETIME_PERIODS * self._period((port, query)) * self._interval + self._timeout
        return (held if self._clock.monotonic() - held.at <= lifetime else _NO_ANSWER).read(parse)

    def _completed(self, link: Link, port: PortKey) -> Link:
        healthy, verdict = self._read(port, "net_health", outputs.parse_net_health)
        errors, packets = self._read(port, "stat", outputs.parse_stat)
        return msgspec.structs.replace(
            link,
            healthy=healthy,
            verdict=verdict,
            errors=errors,
            packets=packets,
            speed_bits_per_second=self._read(port, "speed", outputs.parse_speed),
            fec=self._read(port, "fec", outputs.parse_fec),
            optics=self._read(port, "optical", parse_optical),
        )


def _state_of(up: bool | None) -> LinkState:
    return LinkState.UNKNOWN if up is None else LinkState.UP if up else LinkState.DOWN


def _link(port: PortKey, state: LinkState, history: outputs.LinkHistory | None) -> Link:
    device, udie, number = port
    return Link(
        key=device.key,
        link="roce0" if udie is None else f"ub{udie}-{number}",
        kind=LinkKind.ROCE if udie is None else LinkKind.UB,
        state=state,
        drops=history.drops if history else None,
        ups=history.ups if history else None,
        history=history.changes if history else None,
    )

"""Runs the hardware of a scenario: keeps each node's files true to the present moment."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from accelwatch.clock import Clock
from accelwatch.config import Duration
from accelwatch.server.control import ControlListener
from accelwatch.simulator import nvml_library, tools
from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.host_files import HostFiles
from accelwatch.simulator.scenario import FaultSpec, Scenario
from accelwatch.simulator.state import Node
from accelwatch.simulator.world import World, active, context

TICK_SECONDS = 0.2
FIRST_PORT = 19817
CONTROL_SOCKET = "simulator.sock"


class Hardware:
    """All nodes of a scenario below one directory: `<directory>/<node>/` is a node's host."""

    def __init__(
        self,
        scenario: Scenario,
        directory: Path,
        clock: Clock,
        ports: Sequence[int] | None = None,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        """Writes every node's tools, libraries and an agent configuration; `ports` of the agents in the order of
        nodes, else from 19817 on. Raises `CompilerMissing`, `ValueError` for a fault that does not fit its node.
        """
        self._tick_seconds = tick_seconds
        self._scenario = scenario
        self._clock = clock
        self._began = clock.monotonic()
        self._before = 0.0  # scenario seconds at `_began`, where the speed was last changed
        self._speed = scenario.speed
        self._world = World(scenario, clock.time() if scenario.start is None else scenario.start.timestamp())
        for fault in scenario.faults:
            self._world.node(fault.node, fault.at)  # raises where it does not fit
        self._injected: dict[int, FaultSpec] = {}
        self._next_id = 1
        self._lock = threading.Lock()
        self._said: set[tuple[str, int | str]] = set()
        self._stop = threading.Event()
        self._hosts: dict[str, HostFiles] = {}
        self._states: dict[str, nvml_library.StateFile] = {}
        self._tools: dict[str, tools.Server] = {}
        self._shown: dict[str, Node] = {}
        directory.mkdir(parents=True, exist_ok=True)
        for number, spec in enumerate(scenario.nodes):
            home = directory / spec.name
            home.mkdir(exist_ok=True)
            if spec.vendor == "nvidia":
                nvml_library.install(home)
                self._states[spec.name] = nvml_library.StateFile(home)
            else:
                tools.install(home)
                self._tools[spec.name] = tools.Server(home / tools.SOCKET, partial(self._shown.__getitem__, spec.name))
            self._hosts[spec.name] = HostFiles(home, spec, ports[number] if ports else FIRST_PORT + number)
        self._control = ControlListener(directory / CONTROL_SOCKET, self._answer)
        self._thread = threading.Thread(target=self._run, name="hardware", daemon=True)

    @property
    def now(self) -> float:
        """Scenario seconds."""
        return self._before + (self._clock.monotonic() - self._began) * self._speed

    def start(self) -> None:
        """Begins with every node's state written."""
        self.tick()
        for server in self._tools.values():
            server.start()
        self._control.start()
        self._thread.start()

    def close(self) -> None:
        """Ends within a second."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        for server in self._tools.values():
            server.close()
        self._control.close()

    def tick(self) -> None:
        """Brings every node's files up to the present."""
        with self._lock:
            now = self.now
            injected = dict(self._injected)
            for spec in self._scenario.nodes:
                node = self._world.node(spec.name, now, injected.values())
                if spec.name in self._states:
                    self._states[spec.name].write(node)
                self._shown[spec.name] = node
                host = self._hosts[spec.name]
                host.write(node)
                faults: list[tuple[int | str, FaultSpec]] = [
                    *((f"s{i}", f) for i, f in enumerate(self._scenario.faults)),
                    *injected.items(),
                ]
                for identity, fault in faults:
                    if fault.node == spec.name and fault.at <= now and (spec.name, identity) not in self._said:
                        self._said.add((spec.name, identity))
                        if KINDS[fault.fault].reboots:
                            host.reboot(node)
                        host.kernel_lines(KINDS[fault.fault].lines(context(node, fault, now)), node)

    def inject(self, fault: FaultSpec) -> int:
        """Lets a fault begin now; gives its number. Raises `ValueError`."""
        with self._lock:
            beginning = msgspec.structs.replace(fault, at=Duration(self.now))
            self._world.node(fault.node, self.now, [beginning])  # raises where it does not fit
            identity, self._next_id = self._next_id, self._next_id + 1
            self._injected[identity] = beginning
        self.tick()
        return identity

    def clear(self, identity: int | None) -> int:
        """Ends an injected fault, or all of them; gives how many. The counts that it made stay."""
        with self._lock:
            now = self.now
            wanted = {
                number: f for number, f in self._injected.items() if identity in (None, number) and active(f, now)
            }
            for number, fault in wanted.items():
                self._injected[number] = msgspec.structs.replace(fault, clear_after=Duration(now - fault.at))
        self.tick()
        return len(wanted)

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are present now; those of the scenario have no `id`."""
        with self._lock:
            every: list[tuple[int | None, FaultSpec]] = [
                *((None, fault) for fault in self._scenario.faults),
                *self._injected.items(),
            ]
            return [
                {"id": number, **msgspec.to_builtins(f, enc_hook=float)} for number, f in every if active(f, self.now)
            ]

    def run_at(self, speed: float) -> None:
        """From now on `speed` scenario seconds per second; 0 lets time stand. Raises `ValueError`."""
        if speed < 0:
            raise ValueError(f"speed {speed:g}: time does not run backwards")
        with self._lock:
            self._before, self._began, self._speed = self.now, self._clock.monotonic(), speed

    def skip_to(self, moment: float) -> None:
        """Lets the scenario go on at second `moment`. Raises `ValueError` for one that has passed."""
        with self._lock:
            if moment < self.now:
                raise ValueError(f"second {moment:g} has passed: it is {self.now:g}")
            self._before, self._began = moment, self._clock.monotonic()
        self.tick()

    def kernel_lines(self, name: str, lines: list[str]) -> None:
        """Writes lines of no fault of its own into a node's kernel log. Raises `KeyError`."""
        with self._lock:
            self._hosts[name].kernel_lines(lines, self._world.node(name, self.now, self._injected.values()))

    def tool_server(self, name: str) -> tools.Server:
        """Who has called the vendor tools of an Ascend node. Raises `KeyError`."""
        return self._tools[name]

    def state(self, name: str) -> dict[str, Any]:
        """The node's true state now, as plain JSON types."""
        with self._lock:
            node = self._world.node(name, self.now, self._injected.values())
        result: dict[str, Any] = msgspec.to_builtins(node)
        return result

    def _run(self) -> None:
        while not self._stop.wait(self._tick_seconds):
            self.tick()

    def _answer(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
            command = request.pop("command")
            if command == "inject":
                fault = msgspec.convert(request, FaultSpec)
                answer: dict[str, Any] = {"id": self.inject(fault)}
            elif command == "clear":
                answer = {"cleared": self.clear(request.get("id"))}
            elif command == "list":
                answer = {"faults": self.faults()}
            elif command == "time":
                if "seconds" in request:
                    self.skip_to(float(request["seconds"]))
                answer = {"seconds": self.now, "speed": self._speed}
            elif command == "speed":
                self.run_at(float(request["speed"]))
                answer = {"seconds": self.now, "speed": self._speed}
            elif command == "state":
                answer = {"state": self.state(request["node"])}
            else:
                answer = {"error": f"unknown command {command!r}"}
        except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
            answer = {"error": str(error)}
        return json.dumps(answer).encode()

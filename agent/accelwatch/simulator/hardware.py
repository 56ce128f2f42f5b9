"""Runs the hardware of a scenario: keeps each node's files true to the present moment."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
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
from accelwatch.simulator.world import World, active, context

TICK_SECONDS = 0.2
FIRST_PORT = 19817
CONTROL_SOCKET = "simulator.sock"


class Hardware:
    """All nodes of a scenario below one directory: `<directory>/<node>/` is a node's host."""

    def __init__(self, scenario: Scenario, directory: Path, clock: Clock, ports: Sequence[int] | None = None) -> None:
        """Writes every node's tools, libraries and an agent configuration; `ports` of the agents in the order of
        nodes, else from 19817 on. Raises `CompilerMissing`.
        """
        self._scenario = scenario
        self._clock = clock
        self._began = clock.monotonic()
        self._world = World(scenario, clock.time())
        self._injected: dict[int, FaultSpec] = {}
        self._next_id = 1
        self._lock = threading.Lock()
        self._said: set[tuple[str, int | str]] = set()
        self._stop = threading.Event()
        self._hosts: dict[str, HostFiles] = {}
        self._states: dict[str, nvml_library.StateFile] = {}
        directory.mkdir(parents=True, exist_ok=True)
        for number, spec in enumerate(scenario.nodes):
            home = directory / spec.name
            home.mkdir(exist_ok=True)
            if spec.vendor == "nvidia":
                nvml_library.install(home)
                self._states[spec.name] = nvml_library.StateFile(home)
            else:
                tools.install(home)
            self._hosts[spec.name] = HostFiles(home, spec, ports[number] if ports else FIRST_PORT + number)
        self._control = ControlListener(directory / CONTROL_SOCKET, self._answer)
        self._thread = threading.Thread(target=self._run, name="hardware", daemon=True)

    @property
    def now(self) -> float:
        """Scenario seconds."""
        return (self._clock.monotonic() - self._began) * self._scenario.speed

    def start(self) -> None:
        """Begins with every node's state written."""
        self.tick()
        self._control.start()
        self._thread.start()

    def close(self) -> None:
        """Ends within a second."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
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
                else:
                    tools.write(self._hosts[spec.name].directory, node)
                host = self._hosts[spec.name]
                host.write(node)
                faults: list[tuple[int | str, FaultSpec]] = [
                    *((f"s{i}", f) for i, f in enumerate(self._scenario.faults)),
                    *injected.items(),
                ]
                for identity, fault in faults:
                    if fault.node == spec.name and active(fault, now) and (spec.name, identity) not in self._said:
                        self._said.add((spec.name, identity))
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
        """Ends an injected fault, or all of them; gives how many. Counters do not fall back by it on real hardware:
        a cleared `ecc_*` or `roce_*` fault does take its counts away, as a replaced device does.
        """
        with self._lock:
            ended = [identity] if identity is not None else list(self._injected)
            count = sum(self._injected.pop(number, None) is not None for number in ended)
        self.tick()
        return count

    def state(self, name: str) -> dict[str, Any]:
        """The node's true state now, as plain JSON types."""
        with self._lock:
            node = self._world.node(name, self.now, self._injected.values())
        result: dict[str, Any] = msgspec.to_builtins(node)
        return result

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
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
            elif command == "state":
                answer = {"state": self.state(request["node"])}
            else:
                answer = {"error": f"unknown command {command!r}"}
        except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
            answer = {"error": str(error)}
        return json.dumps(answer).encode()

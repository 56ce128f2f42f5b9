"""What the fleet is told through its Unix socket while it runs; the orders that it shares with simulated nodes too."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from accelwatch.config import Duration
from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.fleet.fleet import Fleet
from accelwatch.simulator.fleet.rates import RATES
from accelwatch.simulator.scenario import FaultSpec

# What a storm of mixed faults is made of: run-ending ones that a device of the vendor can have beside others.
_STORM_REPAIR_SECONDS = 600.0
_WAYS_TO_END = ("completed", "failed", "killed")
Request = dict[str, Any]


class Orders:
    """Answers one line of JSON with one."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._orders: dict[str, Callable[[Request], Request]] = {
            "inject": lambda r: {"id": fleet.inject(msgspec.convert(r, FaultSpec))},
            "clear": lambda r: {"cleared": fleet.clear(r.get("id"))},
            "list": lambda _r: {"faults": fleet.faults()},
            "state": lambda r: {"state": fleet.state(str(r["node"]))},
            "time": self._time,
            "dark": lambda r: self._each(r, fleet.darken),
            "silent": lambda r: self._each(r, fleet.mute),
            "back": lambda r: self._each(r, fleet.light),
            "hang": self._hang,
            "resume": self._resume,
            "end": self._end,
            "storm": self._storm,
            "status": self._status,
        }

    def answer(self, line: bytes) -> bytes:
        """Never raises for what a client can do wrong."""
        try:
            request = json.loads(line)
            name = request.pop("command")
            if name not in self._orders:
                raise ValueError(f"a fleet does not know {name!r}; expected one of {', '.join(self._orders)}")
            answer = self._orders[name](request)
        except (ValueError, KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
            answer = {"error": f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)}
        return json.dumps(answer).encode()

    def _resume(self, request: Request) -> Request:
        self._fleet.resume(str(request["run"]))
        return {"done": True}

    def _each(self, request: Request, order: Callable[[str], None]) -> Request:
        names = [str(name) for name in request["nodes"]]
        for name in names:
            self._fleet.node(name)  # all of them are there, or none is touched
        for name in names:
            order(name)
        return {"done": True}

    def _time(self, request: Request) -> Request:
        if "seconds" in request:
            raise ValueError("the time of a fleet is the real one: its pages are scraped in it")
        return {"seconds": self._fleet.now, "speed": 1.0}

    def _hang(self, request: Request) -> Request:
        culprit = request.get("culprit")
        self._fleet.hang(str(request["run"]), None if culprit is None else (str(culprit[0]), int(culprit[1])))
        return {"done": True}

    def _end(self, request: Request) -> Request:
        how = str(request.get("how", "killed"))
        if how not in _WAYS_TO_END:
            raise ValueError(f"a run does not end {how!r}; expected one of {', '.join(_WAYS_TO_END)}")
        self._fleet.end(str(request["run"]), how, bool(request.get("restart")))
        return {"done": True}

    def _storm(self, request: Request) -> Request:
        """`faults` of the kind `fault`, or of mixed kinds, spread evenly over `seconds`."""
        number, seconds, kind = int(request["faults"]), float(request["seconds"]), request.get("fault")
        if kind is not None and kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; see `accelwatch simulate faults`")
        if number < 1 or seconds < 0:
            raise ValueError(f"{number} faults in {seconds:g} s; expected one or more, in no negative time")
        seed = random.Random(int(request.get("seed", 1)))
        names = [name for name, node in self._fleet.nodes.items() if not node.dark]
        coming = []
        for place in range(number):
            spec = self._fleet.nodes[names[place % len(names)]].placed.spec
            kinds = sorted(RATES[spec.vendor]) if kind is None else [kind]
            fault = FaultSpec(
                fault=seed.choice(kinds),
                node=spec.name,
                device=(place // len(names)) % spec.devices,
                clear_after=Duration(float(request.get("clear_after", _STORM_REPAIR_SECONDS))),
            )
            coming.append((seconds * place / number, fault))
        self._fleet.node(names[0]).host.fits(coming[0][1])
        self._fleet.storm(coming)
        return {"faults": number}

    def _status(self, _request: Request) -> Request:
        fleet = self._fleet
        runs = [
            {
                "run": run.id,
                "attempt": run.attempt,
                "devices": len(run.devices),
                "world": run.size,
                "nodes": run.nodes,
                "state": "ended" if run.restart_at is not None else "hangs" if run.hung_at is not None else "works",
            }
            for run in fleet.work.runs.values()
        ]
        spent = fleet.stepping_seconds / max(1.0, fleet.now)
        return {
            "seconds": fleet.now,
            "nodes": len(fleet.nodes),
            "dark": [name for name, node in fleet.nodes.items() if node.dark],
            "silent": [name for name, node in fleet.nodes.items() if node.silent],
            "vendors": dict(Counter(node.placed.spec.vendor for node in fleet.nodes.values())),
            "runs": runs,
            "faults": len(fleet.faults()),
            "stepping_share": round(spent, 4),
        }

"""`accelwatch simulate`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from accelwatch.clock import SystemClock
from accelwatch.server import control
from accelwatch.server.http import ServerError
from accelwatch.signals import Signals
from accelwatch.simulator import scenario as scenarios
from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.fleet import command as fleet_command
from accelwatch.simulator.hardware import CONTROL_SOCKET, Hardware
from accelwatch.simulator.nvml_library import CompilerMissing


class _Intermixed(argparse.ArgumentParser):
    """Takes NAME=VALUE after options too: `inject DIR FAULT --node N code=16`."""

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Of argparse, which by itself allows no positional arguments behind an option when they may be absent."""
        if self._inside or self._subparsers is not None:  # whose positional arguments are its own
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its own commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Intermixed)
    node = actions.add_parser("node", help="run the hardware of a scenario's nodes until interrupted")
    node.add_argument("scenario", nargs="?", default="one-of-each", help="a file, or a shipped scenario's name")
    node.add_argument("--dir", required=True, help="where the nodes' files go")
    node.add_argument("--node", help="only this node")
    node.add_argument("--speed", type=float, help="scenario seconds per second")
    cluster = actions.add_parser(
        "cluster", help="hardware, agents, Prometheus, Alertmanager, and the pages as they arrive"
    )
    cluster.add_argument("scenario", nargs="?", default="two-vendors")
    cluster.add_argument("--dir", default=".run", help="where everything is kept (default .run)")
    cluster.add_argument("--for", dest="duration", help="end after so long, such as 2m")
    cluster.add_argument("--report-after", default="4m", help="write the first report.html then (default %(default)s)")
    fleet_command.add_fleet(actions.add_parser("fleet", help="the metrics pages of many nodes, in one process"))
    fleet_command.add_steer(actions.add_parser("steer", help="give orders to a running fleet"))
    inject = actions.add_parser("inject", help="let a fault begin on a running simulation")
    inject.add_argument("dir")
    inject.add_argument("fault", choices=sorted(KINDS), metavar="FAULT")
    inject.add_argument("--node", required=True)
    inject.add_argument("--device", type=int)
    inject.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    clear = actions.add_parser("clear", help="end an injected fault, or all")
    clear.add_argument("dir")
    clear.add_argument("id", nargs="?", type=int)
    clear.add_argument("--all", action="store_true", help="what it does without an ID, too")
    present = actions.add_parser("list", help="the faults that are present now")
    present.add_argument("dir")
    moment = actions.add_parser("time", help="the scenario's second and speed; move on to a second, change the speed")
    moment.add_argument("dir")
    moment.add_argument("--to", type=float, metavar="SECOND")
    moment.add_argument("--speed", type=float, help="scenario seconds per second; 0 stands still")
    state = actions.add_parser("state", help="the true state of a node now, as JSON")
    state.add_argument("dir")
    state.add_argument("--node", required=True)
    actions.add_parser("faults", help="the faults that can be injected")


def run(options: argparse.Namespace) -> int:
    """Runs the action; 3 when it cannot."""
    try:
        if options.action == "faults":
            for name, kind in sorted(KINDS.items()):
                print(f"{name:<20} {kind.help}")
            return 0
        if options.action == "node":
            return _node(options)
        if options.action == "cluster":
            from accelwatch.simulator.cluster import run_cluster

            return run_cluster(options.scenario, Path(options.dir), options.duration, options.report_after)
        if options.action == "fleet":
            return fleet_command.run_fleet(options)
        if options.action == "steer":
            return fleet_command.steer(options)
        return _ask(options)
    except (
        ServerError,
        scenarios.ScenarioError,
        CompilerMissing,
        control.ControlUnreachable,
        control.ControlError,
        ValueError,
    ) as error:
        print(f"accelwatch simulate: {error}", file=sys.stderr)
        return 3


def _node(options: argparse.Namespace) -> int:
    scenario = scenarios.load(options.scenario)
    if options.node is not None:
        kept = tuple(node for node in scenario.nodes if node.name == options.node)
        if not kept:
            raise scenarios.ScenarioError(f"{options.scenario}: no node {options.node!r}")
        faults = tuple(fault for fault in scenario.faults if fault.node == options.node)
        scenario = msgspec.structs.replace(scenario, nodes=kept, faults=faults)
    if options.speed is not None:
        scenario = msgspec.structs.replace(scenario, speed=options.speed)
    directory = Path(options.dir).resolve()
    hardware = Hardware(scenario, directory, SystemClock())
    stop = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # hung up: its terminal is gone
    hardware.start()
    print("SIMULATED hardware is running; an agent for each node:", flush=True)
    for node in scenario.nodes:
        print(f"  accelwatch --config {directory / node.name / 'accelwatch.yml'} agent", flush=True)
    stop.wait()
    hardware.close()
    return 0


def _ask(options: argparse.Namespace) -> int:
    path = Path(options.dir).resolve() / CONTROL_SOCKET
    if options.action == "inject":
        odd = next((pair for pair in options.parameters if "=" not in pair), None)
        if odd is not None:
            raise ValueError(f"{odd!r} is not NAME=VALUE")
        parameters = dict(pair.split("=", 1) for pair in options.parameters)
        request = {
            "command": "inject",
            "fault": options.fault,
            "node": options.node,
            "device": options.device,
        }
        print(f"fault {control.ask(path, {**request, 'parameters': parameters}, 5.0)['id']}")
    elif options.action == "clear":
        if options.all and options.id is not None:
            raise ValueError("clear takes an ID or --all, not both")
        print(f"{control.ask(path, {'command': 'clear', 'id': options.id}, 5.0)['cleared']} cleared")
    elif options.action == "list":
        for fault in control.ask(path, {"command": "list"}, 5.0)["faults"]:
            where = fault["node"] if fault["device"] is None else f"{fault['node']} device {fault['device']}"
            details = " ".join(f"{name}={value}" for name, value in fault["parameters"].items())
            print(f"{fault['id'] or '-':>4}  {fault['fault']:<20} {where}  {details}".rstrip())
    elif options.action == "time":
        _time(path, options)
    else:
        print(json.dumps(control.ask(path, {"command": "state", "node": options.node}, 5.0)["state"], indent=2))
    return 0


def _time(path: Path, options: argparse.Namespace) -> None:
    if options.to is not None:
        control.ask(path, {"command": "time", "seconds": options.to}, 5.0)
    if options.speed is not None:
        control.ask(path, {"command": "speed", "speed": options.speed}, 5.0)
    answer = control.ask(path, {"command": "time"}, 5.0)
    print(f"second {answer['seconds']:.1f}, {answer['speed']:g} per second")

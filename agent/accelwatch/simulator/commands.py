"""`accelwatch simulate`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

import msgspec

from accelwatch.clock import SystemClock
from accelwatch.server import control
from accelwatch.simulator import scenario as scenarios
from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.hardware import CONTROL_SOCKET, Hardware
from accelwatch.simulator.nvml_library import CompilerMissing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its own commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
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
    inject = actions.add_parser("inject", help="let a fault begin on a running simulation")
    inject.add_argument("dir")
    inject.add_argument("fault", choices=sorted(KINDS), metavar="FAULT")
    inject.add_argument("--node", required=True)
    inject.add_argument("--device", type=int)
    inject.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    clear = actions.add_parser("clear", help="end an injected fault, or all")
    clear.add_argument("dir")
    clear.add_argument("id", nargs="?", type=int)
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

            return run_cluster(options.scenario, Path(options.dir), options.duration)
        return _ask(options)
    except (
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
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
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
        parameters = dict(pair.split("=", 1) for pair in options.parameters)
        request = {
            "command": "inject",
            "fault": options.fault,
            "node": options.node,
            "device": options.device,
        }
        print(f"fault {control.ask(path, {**request, 'parameters': parameters}, 5.0)['id']}")
    elif options.action == "clear":
        print(f"{control.ask(path, {'command': 'clear', 'id': options.id}, 5.0)['cleared']} cleared")
    else:
        print(json.dumps(control.ask(path, {"command": "state", "node": options.node}, 5.0)["state"], indent=2))
    return 0

"""`accelwatch simulate fleet` and `accelwatch simulate steer`."""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from accelwatch import log
from accelwatch.clock import SystemClock
from accelwatch.config import seconds
from accelwatch.server import control
from accelwatch.signals import Signals
from accelwatch.simulator.fleet.plan import Plan, hand_run
from accelwatch.simulator.hardware import CONTROL_SOCKET

_ASK_SECONDS = 30.0


def add_fleet(parser: argparse.ArgumentParser) -> None:
    """Options of `fleet`."""
    default = Plan()
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--devices", type=int, default=default.devices, help="of each node (default 8)")
    parser.add_argument("--dir", default=".fleet", help="where targets.json and the socket go (default .fleet)")
    parser.add_argument("--listen", default="127.0.0.1:0", help="one address for all pages (default: a free port)")
    parser.add_argument("--cluster", default=default.cluster, help="the label (default simulated)")
    parser.add_argument("--prefix", default=default.prefix, help="what node names begin with (default sim)")
    parser.add_argument("--ascend-share", type=float, default=default.ascend_share, help="of the nodes (default 0.5)")
    parser.add_argument("--rack-nodes", type=int, default=default.rack_nodes, help="nodes of a rack (default 8)")
    parser.add_argument("--seed", type=int, default=default.seed, help="the same seed: the same fleet")
    parser.add_argument("--step", default="5s", help="between two readings of a node; 15s for 1,000 nodes (default 5s)")
    parser.add_argument("--run", action="append", default=[], metavar="ID:nodes=N,world=W,...", help=_RUN_HELP)
    parser.add_argument("--no-workload", action="store_true", help="no runs but those of --run")
    parser.add_argument("--no-faults", action="store_true", help="only the faults that are injected")
    parser.add_argument("--rate", action="append", default=[], metavar="VENDOR/FAULT=N", help="faults per device-hour")
    parser.add_argument("--accelerate", type=float, default=1.0, help=_ACCELERATE_HELP)
    parser.add_argument("--for", dest="duration", help="end after so long, such as 10m")


_RUN_HELP = (
    "a run that goes on until told otherwise: nodes, world, first_rank, launcher, partition, vendor, attempt, master"
)
_ACCELERATE_HELP = "so many times as many faults, and as short runs and repairs; clocks and exposure stay real"


def add_steer(parser: argparse.ArgumentParser) -> None:
    """Options of `steer`."""
    parser.add_argument("dir", help="of the fleet")
    orders = parser.add_subparsers(dest="order", metavar="ORDER", required=True)
    for name, text in (
        ("dark", "hosts are off: nothing answers, their runs wait"),
        ("silent", "agents do not answer, all else goes on"),
        ("back", "dark hosts boot, silent agents answer"),
    ):
        orders.add_parser(name, help=text).add_argument("nodes", nargs="+", metavar="NODE")
    hang = orders.add_parser("hang", help="all ranks of a run wait")
    hang.add_argument("run")
    hang.add_argument("--culprit", metavar="NODE/DEVICE", help="the rank that the others wait for")
    orders.add_parser("resume", help="a run goes on").add_argument("run")
    end = orders.add_parser("end", help="a run ends")
    end.add_argument("run")
    end.add_argument("--how", choices=("completed", "failed", "killed"), default="killed")
    end.add_argument("--restart", action="store_true", help="as the next attempt")
    storm = orders.add_parser("storm", help="many faults in a short time")
    storm.add_argument("--faults", type=int, default=1000)
    storm.add_argument("--over", default="60s", help="spread over so long (default 60s)")
    storm.add_argument("--fault", help="the kind (default: mixed)")
    storm.add_argument("--clear-after", default="10m", help="each is over after so long (default 10m)")
    orders.add_parser("status", help="nodes, runs and what it costs, as JSON")


def run_fleet(options: argparse.Namespace) -> int:
    """Runs until interrupted. Raises `ValueError`, `ServerError`, `OSError`."""
    from accelwatch.simulator.fleet import discovery, pages
    from accelwatch.simulator.fleet.fleet import Fleet
    from accelwatch.simulator.fleet.orders import Orders

    fleet = Fleet(_plan(options), SystemClock())
    directory = Path(options.dir).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / discovery.TARGETS).unlink(missing_ok=True)  # of a fleet before; the new one says that pages are there
    _raise_descriptor_limit()
    stop = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # hung up: its terminal is gone
    server = pages.server(fleet, _report)
    try:
        host, port = server.listen(options.listen)
        server.listen_control(directory / CONTROL_SOCKET, Orders(fleet).answer)
        fleet.begin()
        server.start()
        discovery.write(directory, f"{host}:{port}", fleet.plan.cluster, [node.placed for node in fleet.nodes.values()])
        _tell(fleet, directory, f"http://{host}:{port}")
        until = None if options.duration is None else fleet.now + seconds(options.duration)
        while not stop.wait(fleet.advance()):
            if until is not None and fleet.now >= until:
                break
    finally:
        server.close()
    print("ended; nothing is left running", flush=True)
    return 0


def steer(options: argparse.Namespace) -> int:
    """One order. Raises what `server.control.ask` raises, and `ValueError`."""
    request: dict[str, Any] = {"command": options.order}
    if options.order in ("dark", "silent", "back"):
        request["nodes"] = options.nodes
    elif options.order == "hang":
        request["run"] = options.run
        if options.culprit is not None:
            node, slash, device = options.culprit.rpartition("/")
            if not slash or not device.isdigit():
                raise ValueError(f"{options.culprit!r} is not NODE/DEVICE")
            request["culprit"] = [node, int(device)]
    elif options.order == "resume":
        request["run"] = options.run
    elif options.order == "end":
        request |= {"run": options.run, "how": options.how, "restart": options.restart}
    elif options.order == "storm":
        request |= {"faults": options.faults, "seconds": seconds(options.over), "fault": options.fault}
        request["clear_after"] = seconds(options.clear_after)
    answer = control.ask(Path(options.dir).resolve() / CONTROL_SOCKET, request, _ASK_SECONDS)
    print(json.dumps(answer, indent=2) if options.order == "status" else "done")
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    odd = next((rate for rate in options.rate if "=" not in rate), None)
    if odd is not None:
        raise ValueError(f"rate {odd!r}; expected VENDOR/FAULT=FAULTS_PER_DEVICE_HOUR")
    return Plan(
        nodes=options.nodes,
        devices=options.devices,
        ascend_share=options.ascend_share,
        cluster=options.cluster,
        prefix=options.prefix,
        rack_nodes=options.rack_nodes,
        seed=options.seed,
        step=seconds(options.step),
        accelerate=options.accelerate,
        workload=not options.no_workload,
        faults=not options.no_faults,
        rates={name: float(rate) for name, rate in (pair.split("=", 1) for pair in options.rate)},
        runs=tuple(hand_run(text) for text in options.run),
    )


def _tell(fleet: Any, directory: Path, address: str) -> None:
    program = Path(sys.executable).parent / "accelwatch"
    first = next(iter(fleet.nodes))
    devices = fleet.plan.nodes * fleet.plan.devices
    print(f"SIMULATED fleet: {fleet.plan.nodes} nodes, {devices} devices; none of them is real.", flush=True)
    print(f"  a page        {address}/{first}/metrics")
    print(f"  Prometheus    file_sd_configs of {directory / 'targets.json'}, as in {directory / 'scrape.yml'}")
    print(f"  break         {program} simulate inject {directory} FAULT --node NODE --device N")
    print(f"  steer         {program} simulate steer {directory} status")
    print("  end           Ctrl-C", flush=True)


def _raise_descriptor_limit() -> None:
    """Prometheus keeps a connection to each node."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _report(where: str, error: BaseException) -> None:
    log.get().error("a request could not be answered", where=where, error=str(error), exc_info=error)

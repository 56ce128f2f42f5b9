"""The command line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from accelwatch import __version__

# What `check` means by 3 holds for every command: the question could not be answered.
CANNOT_TELL = 3

# name -> (module below accelwatch, help)
COMMANDS = {
    "agent": ("commands.agent", "the daemon"),
    "check": (
        "commands.check",
        "this node's devices, links and active faults; exit 0 healthy, 1 degraded, 2 run-ending, 3 cannot tell",
    ),
    "scan": ("commands.scan", "the faults in saved logs; exit as `check`, with every fault taken as active"),
    "faults": ("commands.faults", "the faults in this node's journal, newest first"),
    "runs": ("commands.runs", "the runs in this node's journal, with their end and its cause"),
    "why": ("commands.why", "what ended a run or holds it up, by the whole fleet's Prometheus, and what to do"),
    "fleet": ("commands.fleet", "the nodes that are bad now, by the whole fleet's Prometheus, a line each"),
    "bundle": ("commands.bundle", "evidence of a fault on this node for its vendor, in one file without secrets"),
    "clear": ("commands.clear", "tell the running agent that a fault is over, and why"),
    "drill": ("commands.drill", "send a marked fault through the whole chain, to prove that paging works"),
    "remediations": (
        "commands.remediations",
        "what the site's command for run-ending faults did here, or would have done; `reset` closes its breaker",
    ),
    "maintenance": ("commands.maintenance", "planned work on this node: no pages, time counted apart; on, off, status"),
    "inventory": (
        "commands.inventory",
        "the devices that this node has learned; `accept` forgets those that are gone",
    ),
    "metrics": ("commands.metrics", "poll once and print the metrics page"),
    "rules": ("commands.rules", "`rules export DIR`: write the alert rules with the site's names"),
    "dashboards": (
        "commands.dashboards",
        "`dashboards export DIR`, `dashboards push --grafana URL`: the Grafana dashboards as files, or into a Grafana",
    ),
    "report": ("commands.report", "whose hardware fails how often, with intervals, from counts in a file"),
    "config": ("commands.config", "`config check FILE`: say what is wrong in a configuration, and where"),
    "release": ("commands.release", "let the running agent drop NVML for a GPU reset or driver upgrade"),
    "run": (
        "commands.run",
        "the main job end to end: on this host's accelerators, else on a simulated cluster",
    ),
    "simulate": ("simulator.commands", "simulated hardware behind the real interfaces"),
}


class Parser(argparse.ArgumentParser):
    """Wrong usage ends with status 3: a health check must not take it for a fault."""

    def error(self, message: str) -> NoReturn:
        """Prints usage and message."""
        self.print_usage(sys.stderr)
        self.exit(CANNOT_TELL, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; gives its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # One parser for --config before the command, and one of the command's own modules: the others stay unimported.
    parser = Parser(prog="accelwatch", description="Watches NVIDIA GPUs and Huawei Ascend NPUs of this node.")
    parser.add_argument("--version", action="version", version=f"accelwatch {__version__}")
    parser.add_argument("--config", metavar="FILE", help="configuration file")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    named = next((argument for argument in arguments if argument in COMMANDS), None)
    for name, (module, help_) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        subparser.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="configuration file")
        if name == named:
            importlib.import_module(f"accelwatch.{module}").add_arguments(subparser)
    options = parser.parse_args(arguments)
    try:
        status: int = importlib.import_module(f"accelwatch.{COMMANDS[options.command][0]}").run(options)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): not a fault of the node.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status

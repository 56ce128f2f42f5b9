"""`accelwatch check`: what a person types first on a sick node."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from accelwatch import config, log, maintenance, report
from accelwatch.clock import SteadyClock, SystemClock
from accelwatch.commands.check_table import render
from accelwatch.config import Config, ConfigError
from accelwatch.faults.shown import shown
from accelwatch.journal import reading
from accelwatch.journal.rows import JournalError
from accelwatch.once import poll_once
from accelwatch.server import control
from accelwatch.sources.kernel_log import boot_id_path, read_boot_id

# The agent answers from memory; one that takes longer is as good as gone.
AGENT_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--json", action="store_true", help="print the document of the contract instead of a table")


def run(options: argparse.Namespace) -> int:
    """Prints the node's state; gives the exit status of the contract."""
    log.configure()
    try:
        loaded = config.load(config.find(options.config))
    except ConfigError as error:
        print(f"accelwatch check: {error}", file=sys.stderr)
        return report.CANNOT_TELL
    document = _from_agent(loaded) or _polled(loaded)
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        print(render(document, colour=sys.stdout.isatty()))
    return report.exit_status(document)


def _from_agent(loaded: Config) -> dict[str, Any] | None:
    path = Path(loaded.state_dir) / "control.sock"
    try:
        answer: dict[str, Any] = control.ask(path, {"command": "report"}, timeout=AGENT_SECONDS)["report"]
    except control.ControlUnreachable:
        return None
    except (control.ControlError, KeyError) as error:
        print(f"accelwatch check: the agent does not answer ({error}); polling myself", file=sys.stderr)
        return None
    # An agent that has just started has not heard of everything yet: better ask the hardware.
    return answer if all(source["seconds"] is not None for source in answer["sources"]) else None


def _polled(loaded: Config) -> dict[str, Any]:
    polls = poll_once(loaded, SystemClock())
    faults = [shown(episode) for episode in polls.core.ledger.active()]
    planned = _planned(loaded)
    return report.document(loaded.node_name, polls.core.node.view(), faults, polls.sources, planned)


def _planned(loaded: Config) -> dict[str, str] | None:
    """Planned work that an agent which does not run now was told of; it ends by wall time all the same."""
    directory, clock = Path(loaded.state_dir), SystemClock()
    try:
        states, kept = reading.read_states(directory)
    except JournalError:
        return None
    boot = read_boot_id(boot_id_path(Path(loaded.sources.processes.proc)))
    return maintenance.described(maintenance.restored(states), SteadyClock(clock, boot, kept))

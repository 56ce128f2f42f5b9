"""`accelwatch agent`."""

from __future__ import annotations

import argparse
import sys

from accelwatch import config, log
from accelwatch.config import ConfigError
from accelwatch.journal.store import JournalError
from accelwatch.server.http import ServerError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--verbose", action="store_true", help="log at debug level")


def run(options: argparse.Namespace) -> int:
    """Runs the daemon until it is told to stop; 3 when it cannot start."""
    log.configure(options.verbose)
    from accelwatch.service import Agent

    try:
        return Agent(config.find(options.config)).run()
    except (ConfigError, JournalError, ServerError) as error:
        print(f"accelwatch agent: {error}", file=sys.stderr)
        return 3

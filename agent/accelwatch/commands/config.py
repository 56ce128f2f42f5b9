"""`accelwatch config check FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from accelwatch import config
from accelwatch.remediation import trust
from accelwatch.server import access


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("action", choices=["check"])
    parser.add_argument("file", metavar="FILE")


def run(options: argparse.Namespace) -> int:
    """0 when the file can be used, 1 when not."""
    try:
        loaded = config.load(Path(options.file))
        if loaded.web_config is not None:
            access.read(Path(loaded.web_config))
        if loaded.remediation.command:
            wrong = trust.problem(loaded.remediation.command[0])
            if wrong is not None:
                raise config.ConfigError(f"{options.file}: remediation.command: {wrong}")
    except config.ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.file}: good (node {loaded.node_name}, listen {loaded.listen}, config_hash {loaded.digest})")
    return 0

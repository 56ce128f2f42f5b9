"""`accelwatch release --for 10m`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from accelwatch import config
from accelwatch.server import control


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--for", dest="duration", default="10m", help="how long, such as 90s or 10m (default 10m)")


def run(options: argparse.Namespace) -> int:
    """Asks the running agent; 3 when there is none or it cannot."""
    try:
        seconds = config.seconds(options.duration)
        loaded = config.load(config.find(options.config))
        answer = control.ask(
            Path(loaded.state_dir) / "control.sock", {"command": "release", "seconds": seconds}, timeout=15.0
        )
    except (ValueError, config.ConfigError, control.ControlUnreachable, control.ControlError) as error:
        print(f"accelwatch release: {error}", file=sys.stderr)
        return 3
    print(f"NVML released for {answer['released']:g} s: the agent holds no handle on any GPU until then.")
    return 0

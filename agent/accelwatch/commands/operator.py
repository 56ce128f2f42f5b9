"""How commands of an operator reach the running agent."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from pathlib import Path
from typing import Any

from accelwatch import config
from accelwatch.server import control

SOCKET = "control.sock"
AGENT_SECONDS = 15.0


def ask(command: str, options: argparse.Namespace, request: dict[str, Any]) -> dict[str, Any] | None:
    """The agent's answer; `None` when there is no agent or it refused, which has then been said."""
    try:
        loaded = config.load(config.find(options.config))
        return control.ask(Path(loaded.state_dir) / SOCKET, request, timeout=AGENT_SECONDS)
    except (config.ConfigError, control.ControlUnreachable, control.ControlError) as error:
        print(f"accelwatch {command}: {str(error).removeprefix(f'{command}: ')}", file=sys.stderr)
        return None


def who() -> str:
    """The person at the keyboard, for the agent's log: behind sudo the one who called it."""
    name = os.environ.get("SUDO_USER")
    if name:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())

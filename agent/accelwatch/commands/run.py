"""`accelwatch run`: what `make run` calls."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from accelwatch import config
from accelwatch.config import ConfigError
from accelwatch.simulator import commands as simulate

LISTEN = "127.0.0.1:9817"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--simulated", action="store_true", help="a simulated cluster even on a host with accelerators")
    parser.add_argument("--for", dest="duration", help="end the simulated cluster after so long, such as 2m")
    parser.add_argument(
        "--report-after",
        default="4m",
        help="write the report of the simulated cluster then, and anew each 5m (default %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """With accelerators the agent on them, its state below .run; without, a simulated cluster."""
    state = Path(".run").resolve()
    if not options.simulated and _has_accelerators():
        state.mkdir(exist_ok=True)
        path = state / "accelwatch.yml"
        path.write_text(f'listen: "{LISTEN}"\nstate_dir: {state / "state"}\n')
        try:
            loaded = config.load(path)
        except ConfigError as error:
            print(f"accelwatch run: {error}", file=sys.stderr)
            return 3
        print(
            f"accelerators found: the agent runs on them; look at http://{loaded.listen}/ (Ctrl-C ends it)",
            flush=True,
        )
        return _agent(path)
    options.action, options.scenario, options.dir = "cluster", "two-vendors", str(state)
    return simulate.run(options)


def _agent(path: Path) -> int:
    """In a session of its own: to the agent a terminal that is closed would mean `reload`, and it would stay."""
    argv = [sys.executable, "-m", "accelwatch", "--config", str(path), "agent"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True) as agent:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: agent.terminate())
        return agent.wait()


def _has_accelerators() -> bool:
    """A driver's device node for at least one accelerator."""
    names = {path.name for path in Path("/dev").glob("nvidia[0-9]*")} | {
        path.name for path in Path("/dev").glob("davinci[0-9]*")
    }
    return bool(names)

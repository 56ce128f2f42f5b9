"""A table of where the processor time of an agent goes, by thread and part of the work."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from clocked_agent import SETTLE_SECONDS
from scrapes import until
from subjects import agent, simulated_hosts

from accelwatch.simulator.cluster import _free_ports

CLOCKED = Path(__file__).with_name("clocked_agent.py")
SECONDS = 120.0
_PATIENCE_SECONDS = 60.0
_LEAST_SHARE = 0.002  # percent of a core; rows below are put together

Shares = dict[tuple[str, str], float]  # by thread and part, percent of a core


def measure(devices: int, seconds: float = SECONDS) -> dict[str, Shares]:
    """Of agents on healthy hosts of both vendors, side by side, at their default intervals and without scrapes."""
    names = ("nvidia-healthy", "ascend-healthy")
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        files = {name: directory / f"{name}.json" for name in names}
        with simulated_hosts(directory, devices, ports):
            subjects = [agent(name, directory, devices, port) for name, port in ports.items()]
            try:
                for subject in subjects:
                    words = subject.argv[subject.argv.index("accelwatch") + 1 :]
                    subject.argv = [subject.argv[0], str(CLOCKED), str(seconds), str(files[subject.key]), "--", *words]
                    subject.start()
                return {name: _read(file, seconds) for name, file in files.items()}
            finally:
                for subject in subjects:
                    subject.stop()


def _read(file: Path, seconds: float) -> Shares:
    until(f"the profile in {file.name}", file.exists, SETTLE_SECONDS + seconds + _PATIENCE_SECONDS)
    return {(thread, part): share for thread, part, share in json.loads(file.read_text())}


def table(measured: Mapping[str, Shares]) -> list[str]:
    """A column for each agent; threads, and the parts of each, in the order of what they take."""
    columns = list(measured.values())
    weight: Counter[tuple[str, str]] = Counter()
    threads: Counter[str] = Counter()
    for shares in columns:
        for key, share in shares.items():
            weight[key] += share
            threads[key[0]] += share
    shown = [key for key in weight if any(shares.get(key, 0.0) >= _LEAST_SHARE for shares in columns)]
    rows = [f"| thread | part | {' | '.join(measured)} |", "|---" * (len(columns) + 2) + "|"]
    for key in sorted(shown, key=lambda key: (-threads[key[0]], key[0], -weight[key])):
        cells = (f"{shares[key]:.3f}" if key in shares else "–" for shares in columns)
        rows.append(f"| {key[0]} | {key[1]} | {' | '.join(cells)} |")
    small = (sum(shares.get(key, 0.0) for key in weight if key not in shown) for shares in columns)
    rows.append(f"| all others | | {' | '.join(f'{share:.3f}' for share in small)} |")
    rows.append(f"| together | | {' | '.join(f'{sum(shares.values()):.3f}' for shares in columns)} |")
    return rows

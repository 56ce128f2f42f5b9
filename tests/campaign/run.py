"""`make campaign`: the long forms. Ends with 1 where anything is not as it ought to be."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from campaign import kills
from campaign.catalogue import CASES
from campaign.fleet import Fleet
from campaign.following import NODES, OWN_INTERVALS, Campaign, quick

Say = Callable[[str], None]


def faults(directory: Path, report: Path, seed: int, count: int, seconds: float, say: Say) -> list[str]:
    """At least `count` injections, every case among them."""
    fleet = Fleet(directory, NODES, OWN_INTERVALS)
    campaign = Campaign(fleet, seed, say)
    more = random.Random(seed).choices(quick(fleet, 40.0), k=max(0, count - len(CASES)))
    try:
        campaign.begin()
        campaign.run([*CASES, *more], at_once=14, seconds=seconds)
        campaign.runs_end()
    finally:
        fleet.close()
    print(campaign.report(report, seed), flush=True)
    return campaign.failures


def killed(directory: Path, report: Path, seed: int, count: int, reboots: int, say: Say) -> list[str]:
    """`count` kills."""
    fleet = Fleet(directory, kills.NODES)
    try:
        return kills.run(fleet, seed, count, reboots, report, say)
    finally:
        fleet.close()


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", type=Path, default=Path(".campaign"), help="where the reports go")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--injections", type=int, default=220)
    parser.add_argument("--seconds", type=float, default=1200.0, help="no injection begins after so long")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--only", choices=("faults", "kills"))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the agents are ended, too
    began = time.monotonic()
    failures: list[str] = []

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f}  {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        if options.only != "kills":
            home = Path(scratch) / "faults"
            failures += faults(home, options.report, options.seed, options.injections, options.seconds, say)
        if options.only != "faults":
            failures += killed(Path(scratch) / "kills", options.report, options.seed, options.kills, 4, say)
    for failure in failures:
        print(f"FAILURE {failure}")
    print(f"{len(failures)} failures; reports in {options.report}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

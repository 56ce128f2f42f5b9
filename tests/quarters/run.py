"""`make quarters`: is the report right where the truth is known? Ends with 1 where it is not."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from quarters import shares, three
from quarters.plan import Plan
from quarters.reported import report

# A report over 90 days of 1,000 devices.
FLEET = Plan(seed=1, nodes=125)
MOST_SECONDS, MOST_MEGABYTES = 60.0, 500.0


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quarters", type=int, default=200, help="so many of each kind; 200")
    parser.add_argument("--seed", type=int, default=0, help="the first of their seeds; 0")
    parser.add_argument("--nodes", type=int, default=FLEET.nodes, help="of the largest fleet, 8 devices each; 125")
    parser.add_argument("--only", choices=("shares", "three", "fleet"))
    options = parser.parse_args()
    began = time.monotonic()

    def say(words: object) -> None:
        print(f"{time.monotonic() - began:7.1f}  {words}", flush=True)

    failures = 0
    with tempfile.TemporaryDirectory(prefix="quarters-") as scratch:
        directory = Path(scratch)
        if options.only in (None, "shares"):
            failures += _shares(range(options.seed, options.seed + options.quarters), directory, say)
        if options.only in (None, "three"):
            plans = {name: replace(plan, devices=4) for name, plan in three.QUARTERS.items()}
            failures += _through_prometheus(plans, directory, say)
        if options.only in (None, "fleet"):
            plan = replace(FLEET, nodes=options.nodes)
            failures += _through_prometheus({f"{plan.nodes * plan.devices:,} devices": plan}, directory, say)
    say(f"{failures} failures")
    return 1 if failures else 0


def _shares(seeds: range, directory: Path, say: Callable[[object], None]) -> int:
    failures = 0
    for lines in (
        lambda: shares.equal_rates(seeds, directory),
        lambda: shares.three_times(seeds, directory),
        *(lambda name=name: shares.clustered(name, seeds) for name in shares.CLUSTERED),
    ):
        for line in lines():
            say(line)
            failures += not line.kept
    return failures


def _through_prometheus(plans: Mapping[str, Plan], directory: Path, say: Callable[[object], None]) -> int:
    failures = 0
    for number, (name, plan) in enumerate(plans.items()):
        home = directory / f"{len(plans)}-{number}"
        home.mkdir()
        with three.backfilled(plan, home) as quarter:
            say(f"{name}: {quarter.samples:,} samples drawn and backfilled in {quarter.seconds:.0f} s")
            found = report(quarter.url, home, "--window", "90d", "--out", str(home / "report.html"))
            size = (home / "report.html").stat().st_size / 1e6
            say(f"{name}: report in {found.seconds:.1f} s and {found.megabytes:.0f} MB, its page has {size:.1f} MB")
            different = three.differences(quarter, found.document)
            if found.seconds > MOST_SECONDS or found.megabytes > MOST_MEGABYTES:
                different.append(f"expected at most {MOST_SECONDS:.0f} s and {MOST_MEGABYTES:.0f} MB")
        for line in different:
            say(f"FAILURE {name}: {line}")
        failures += len(different)
    return failures


if __name__ == "__main__":
    sys.exit(main())

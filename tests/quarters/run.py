"""`make quarters`: is the report right where the truth is known? Ends with 1 where it is not."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from quarters import shares


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quarters", type=int, default=200, help="so many of each kind; 200")
    parser.add_argument("--seed", type=int, default=0, help="the first quarter's; 0")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.quarters)
    began, kept = time.monotonic(), True

    def say(lines: list[shares.Line]) -> bool:
        for line in lines:
            print(f"{time.monotonic() - began:7.1f}  {line}", flush=True)
        return all(line.kept for line in lines)

    with tempfile.TemporaryDirectory(prefix="quarters-") as scratch:
        directory = Path(scratch)
        kept &= say(shares.equal_rates(seeds, directory))
        kept &= say(shares.three_times(seeds, directory))
        for name in shares.CLUSTERED:
            kept &= say(shares.clustered(name, seeds))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

"""`make soak`: what the agent holds after 100,000 polls and 10,000 reloads. Exit 1 when a curve is not flat."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from replay.boards import A3, H100
from soak import agent_polls, core_polls
from soak.measured import Curves

CORE_POLLS, RELOADS, POLL_SECONDS = 50_000, 10_000, 60.0


def curves(share: float) -> Iterator[Curves]:
    """All of them, each as soon as it is there; `share` of the full counts."""
    for model in (H100, A3):
        yield core_polls.soak(model, int(CORE_POLLS * share))
    with tempfile.TemporaryDirectory() as scratch:
        for vendor, part in (("nvidia", 0.8), ("ascend", 0.2)):
            yield from agent_polls.polls(Path(scratch, f"{vendor}-polls"), vendor, POLL_SECONDS * share)
            yield from agent_polls.reloads(Path(scratch, f"{vendor}-reloads"), vendor, int(RELOADS * part * share))


def main() -> int:
    """Prints a table for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts; 0.01 takes half a minute")
    share = parser.parse_args().share
    flaws: list[str] = []
    for each in curves(share):
        print(each.table(), flush=True)
        flaws += each.flaws()
    for flaw in flaws:
        print(f"NOT FLAT: {flaw}")
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main())

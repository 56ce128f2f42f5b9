"""From a fault's line in the kernel log to the webhook, by the fast path and by rules: `make bench-paging`.

Real agents on simulated nodes, real Prometheus with the exported rules (scrape and evaluation every 5 s), real
Alertmanager with the exported configuration; only its receivers are webhooks. Each node holds a GPU of a run of its own,
of eight: its faults are incidents of their own, and the nodes are struck side by side at random moments.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accelwatch.simulator.scenario import NodeSpec, RunSpec
from paging.stack import Plan, Stack
from real_alertmanager import until

FAULTS, ROUNDS = 50, 5
# Of issue and README: fast path from the kernel log; rules with a scrape and an evaluation of 5 s each.
FAST_SECONDS, RULES_SECONDS = 1.0, 12.0
# Two scrapes and two evaluations: moments within it have every phase to both.
SPREAD_SECONDS = 20.0
# Each ends runs and is a root by itself.
XIDS = (48, 62, 110, 119, 95)
READY_SECONDS, PAGED_SECONDS = 120.0, 90.0


def measure(stack: Stack, nodes: list[str], xid: int, moments: random.Random) -> dict[str, float]:
    """Seconds by node, of a fault on each."""
    began, plan = time.monotonic(), sorted((moments.uniform(0, SPREAD_SECONDS), node) for node in nodes)
    struck: dict[str, float] = {}
    for at, node in plan:
        time.sleep(max(0.0, began + at - time.monotonic()))
        struck[node] = stack.xid(node, 0, xid)

    def rang() -> dict[str, float]:
        return {page.incident: page.rang for page in stack.pages.all()}

    until("every page", lambda: len(rang()) == len(nodes), PAGED_SECONDS)
    return {node: rang()[f"run/{node}"] - at for node, at in struck.items()}


def judge(name: str, values: list[float], limit: float) -> bool:
    """Prints a line; the p99 of fewer than a hundred is the slowest."""
    values = sorted(values)
    kept = values[-1] <= limit
    print(
        f"{'ok  ' if kept else 'MISS'} {name}, {len(values)} faults: p50 {values[len(values) // 2]:.2f} "
        f"p90 {values[int(0.9 * len(values))]:.2f} p99 {values[-1]:.2f} s (at most {limit:g} s)",
        flush=True,
    )
    return kept


def run(directory: Path, faults: int, rounds: int, seed: int) -> tuple[list[float], list[float]]:
    """Latencies of the fast path and of the rules, in seconds.

    Each round has an Alertmanager of its own: Prometheus tells for 15 minutes that an alert is over, and for as long a
    new alert of the same run waits for its group's interval.
    """
    each, moments = -(-faults // rounds), random.Random(seed)
    names = [f"{way}-{number + 1}" for way in ("fast", "rules") for number in range(each)]
    plan = Plan(
        nodes=tuple(NodeSpec(name=name, vendor="nvidia", family="hopper", devices=1) for name in names),
        runs=tuple(RunSpec(id=name, nodes=(name,), world=8) for name in names),
        fast=frozenset(name for name in names if name.startswith("fast")),
    )
    fast, rules = [], []
    for number in range(rounds):
        stack = Stack(directory / str(number), plan)
        try:
            until("every run", lambda s=stack: len(s.ask("accelwatch:run:size == 8")) == len(names), READY_SECONDS)
            seconds = measure(stack, names, XIDS[number % len(XIDS)], moments)
        finally:
            stack.close()
        fast += [value for name, value in seconds.items() if name in plan.fast]
        rules += [value for name, value in seconds.items() if name not in plan.fast]
        print(f"  round {number + 1} of {rounds}: fast {max(fast):.2f} s, rules {max(rules):.2f} s at most", flush=True)
    return fast, rules


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=FAULTS, help="by each way (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="one fault per node and round (default %(default)s)")
    options = parser.parse_args()
    seed = int(time.time())
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        fast, rules = run(Path(scratch), options.faults, options.rounds, seed)
    kept = [
        judge("fast path, kernel log to webhook", fast, FAST_SECONDS),
        judge("rules, kernel log to webhook", rules, RULES_SECONDS),
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

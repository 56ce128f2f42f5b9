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
PAGED_SECONDS, RESOLVED_SECONDS = 60.0, 150.0
# A group whose alerts are all over is taken away within 30 s (Alertmanager's dispatcher); what joins it before waits for
# its group_interval.
FORGOTTEN_SECONDS = 35.0


def measure(stack: Stack, nodes: list[str], rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds by node, of one fault per round."""
    moments = random.Random(seed)
    seconds: dict[str, list[float]] = {node: [] for node in nodes}
    for number in range(rounds):
        stack.pages.forget()
        began, plan = time.monotonic(), sorted((moments.uniform(0, SPREAD_SECONDS), node) for node in nodes)
        struck: dict[str, float] = {}
        for at, node in plan:
            time.sleep(max(0.0, began + at - time.monotonic()))
            struck[node] = stack.xid(node, 0, XIDS[number % len(XIDS)])

        def rang() -> dict[str, float]:
            return {page.incident: page.rang for page in stack.pages.all()}

        until("every page", lambda: len(rang()) == len(nodes), PAGED_SECONDS)
        pages = rang()
        for node in nodes:
            seconds[node].append(pages[f"run/{node}"] - struck[node])
            until(f"the fault of {node} in its journal", lambda n=node: stack.clear(n), PAGED_SECONDS)
        print(f"  round {number + 1} of {rounds}: {max(s[-1] for s in seconds.values()):.1f} s at most", flush=True)
        if number + 1 < rounds:
            # The end is said, and the group forgotten: the next fault of the run is a new incident.
            until("every end", lambda: all(page.over for page in stack.pages.all()), RESOLVED_SECONDS)
            time.sleep(FORGOTTEN_SECONDS)
    return seconds


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
    """Latencies of the fast path and of the rules, in seconds."""
    each = -(-faults // rounds)
    names = [f"{way}-{number + 1}" for way in ("fast", "rules") for number in range(each)]
    plan = Plan(
        nodes=tuple(NodeSpec(name=name, vendor="nvidia", family="hopper", devices=1) for name in names),
        runs=tuple(RunSpec(id=name, nodes=(name,), world=8) for name in names),
        fast=frozenset(name for name in names if name.startswith("fast")),
    )
    stack = Stack(directory, plan)
    try:
        until("every run", lambda: len(stack.ask("accelwatch:run:size == 8")) == len(names), PAGED_SECONDS)
        seconds = measure(stack, names, rounds, seed)
    finally:
        stack.close()
    return (
        [value for name, values in seconds.items() if name.startswith("fast") for value in values],
        [value for name, values in seconds.items() if name.startswith("rules") for value in values],
    )


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

"""`make paging`: 64 nodes, and what reaches the pager. Ends with 1 where a scene is not as it ought to be."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from accelwatch.simulator.scenario import RunSpec
from paging import scenes
from paging.stack import Plan, Stack, joins, nodes
from real_alertmanager import until

OF_NVIDIA, OF_ASCEND = ("nv-1", "nv-2", "nv-3", "nv-4"), ("as-1", "as-2", "as-3", "as-4")
FLEET_NODES = 56
SCENES: tuple[scenes.Scene, ...] = (
    scenes.link, scenes.memory, scenes.dark, scenes.jobs, scenes.silence, scenes.storm,
)  # fmt: skip


def one_run(fleet: int) -> Plan:
    """Eight real agents in one run with the fleet; beside them one with a user's job, and an idle one."""
    members = (*OF_NVIDIA, *OF_ASCEND)
    specs = (*nodes("nvidia", (*OF_NVIDIA, "nv-user", "nv-idle")), *nodes("ascend", OF_ASCEND))
    run = RunSpec(id=scenes.RUN, nodes=members, world=8 * (len(members) + fleet))
    return Plan(
        nodes=specs,
        runs=(run, RunSpec(id="4720", nodes=("nv-user",), first_pid=20_000)),
        fast=frozenset(spec.name for spec in specs),
        fleet=fleet,
        fleet_runs=(joins(run, fleet, 8 * len(members)),),
        exporters=("nv-2",),
    )


def many_runs(fleet: int) -> Plan:
    """The eight in four runs, with half of the fleet in those and in two of its own; on the rest nobody works."""
    share = fleet // 5
    own = 8 * 2
    with_fleet = tuple(
        RunSpec(id=name, nodes=members, world=own + 8 * share)
        for name, members in (("4711", OF_NVIDIA[:2]), ("4713", OF_ASCEND[:2]))
    )
    alone = tuple(
        RunSpec(id=name, nodes=members) for name, members in (("4712", OF_NVIDIA[2:]), ("4714", OF_ASCEND[2:]))
    )
    specs = (*nodes("nvidia", OF_NVIDIA), *nodes("ascend", OF_ASCEND))
    vendors = ("nvidia", "ascend")
    return Plan(
        nodes=specs,
        runs=(*with_fleet, *alone),
        fast=frozenset(spec.name for spec in specs),
        fleet=fleet,
        fleet_runs=(
            *(joins(run, share, own, vendor=vendor) for run, vendor in zip(with_fleet, vendors, strict=True)),
            *(f"47{number}:nodes={share},vendor={vendor}" for number, vendor in zip((21, 22), vendors, strict=True)),
        ),
    )


def play(directory: Path, fleet: int, scene: scenes.Scene) -> list[str]:
    """The flaws of one scene on a stack of its own: what was a minute ago is no part of the next one."""
    stack = Stack(directory, (many_runs if scene is scenes.storm else one_run)(fleet))
    try:
        for run in stack.plan.runs:
            world = run.world or 8 * len(run.nodes)
            devices = f'sum(accelwatch_run_devices{{run_id="{run.id}"}}) == {world}'
            until(f"run {run.id} with {world} devices", lambda d=devices: stack.ask(d), 120)
        time.sleep(scenes.ARMED_SECONDS)
        began = time.monotonic()
        flaws = scene(stack)
    finally:
        (directory / "notifications.json").write_text(json.dumps(stack.receiver.received, indent=1))
        stack.close()
    name = scene.__name__
    print(f"{'FLAW' if flaws else 'ok  '} {name}: {scene.__doc__} ({time.monotonic() - began:.0f} s)", flush=True)
    for flaw in flaws:
        print(f"     {flaw}", flush=True)
    return flaws


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(scene.__name__ for scene in SCENES))
    parser.add_argument("--fleet", type=int, default=FLEET_NODES, help="simulated nodes (default %(default)s)")
    parser.add_argument("--dir", type=Path, help="kept afterwards; else a temporary one")
    options = parser.parse_args()
    if odd := set(options.scenes) - {scene.__name__ for scene in SCENES}:
        parser.error(f"no scene {', '.join(sorted(odd))}")
    chosen = tuple(scene for scene in SCENES if not options.scenes or scene.__name__ in options.scenes)
    with tempfile.TemporaryDirectory() as scratch:
        home = (options.dir or Path(scratch)).resolve()
        found = [play(home / scene.__name__, options.fleet, scene) for scene in chosen]
    return 1 if any(found) else 0


if __name__ == "__main__":
    sys.exit(main())

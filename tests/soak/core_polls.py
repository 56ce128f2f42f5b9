"""The real core, journal and page of a node under a fake clock: polls of both vendors, a second and ten seconds apart."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path

from accelwatch.journal.writer import Writer
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import AgentStatus, Renderer
from replay.boards import Model
from replay.test_bounds import Node
from soak.measured import Curves, of_process

SAMPLES = 40
RENDER_EVERY, PROCESSES_EVERY, LOST_EVERY = 3, 5, 500


def soak(model: Model, polls: int) -> Curves:
    """Readings of 16 devices at work, with errors counted now and then, and a source that fails now and then."""
    # Some 90 faults in 1,000 polls: after the first 22,000 the ledger remembers all that it ever will.
    curves = Curves(f"core, {model.name}", "polls", warm=0.5)
    node, renderer = Node(model), Renderer(AgentMetrics())
    status = AgentStatus(node="n", config_hash="0", labels={})
    said: list[str | None] = []
    with tempfile.TemporaryDirectory() as directory:
        writer = Writer(Path(directory), said.append, wall=node.clock.time)
        writer.open()
        writer.start()
        states: dict[str, int] = {}
        for number in range(1, polls + 1):
            if number % LOST_EVERY == 0:
                node.core.silent(node.source, "a time-out", timed_out=True)
            node.core.answered(node.source, node.devices(), 1.0)
            if number % PROCESSES_EVERY == 0:
                node.core.answered("processes", node.processes(), 5.0)
                node.core.answered("rdma" if node.nvidia else "hccn_tool", node.links(), 5.0)
            node.core.tick()
            changes = node.core.take_changes()
            states |= {name: len(state) for name, state in changes.states.items()}
            writer.put(changes)
            if number % RENDER_EVERY == 0:
                renderer.render(
                    node.core.node.view(), (), status, node.core.fault_view({node.source}, 0), node.core.run_page()
                )
            if number % max(1, polls // SAMPLES) == 0:
                writer.put(node.core.take_changes(everything=True)).wait(30.0)
                gc.collect()
                files = sum(path.stat().st_size for path in Path(directory).iterdir())
                own = of_process(os.getpid())
                curves.add(
                    number,
                    {
                        "PSS bytes": own["PSS bytes"],
                        "python blocks": sys.getallocatedblocks(),
                        "python objects": len(gc.get_objects()),
                        "state bytes": sum(states.values()),
                        "journal bytes": files,
                        "descriptors": own["descriptors"],
                        "threads": own["threads"],
                    },
                )
        writer.close()
    assert said == []
    return curves

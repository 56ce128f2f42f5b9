"""A fleet over a quarter, drawn from its seed: devices, interruptions of runs, drills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quarters import lives, nodes
from quarters.lives import Life
from quarters.nodes import Node
from quarters.plan import HOUR, RUN_ENDING, Model, Plan, models


@dataclass(frozen=True)
class Interruption:
    """Of one run attempt, once. Times in seconds; `lost` in device-seconds."""

    at: int
    model: Model
    cause: str
    outcome: str
    lost: int
    detect: int


@dataclass(frozen=True)
class Drill:
    at: int
    vendor: str
    class_: str


@dataclass(frozen=True)
class Fleet:
    """`lives`: slot after slot of a node, and in a slot one after the other."""

    plan: Plan
    models: tuple[Model, ...]
    nodes: list[Node]
    lives: list[Life]
    interruptions: list[Interruption]
    drills: list[Drill]


def draw(plan: Plan) -> Fleet:
    random = np.random.default_rng(plan.seed)
    kinds = models(plan.nodes)
    all_nodes: list[Node] = []
    all_lives: list[Life] = []
    interruptions: list[Interruption] = []
    for model in kinds:
        of_model = [nodes.make(random, plan, model, number) for number in range(model.nodes)]
        slots = [(node, device) for node in of_model for device in range(plan.devices)]
        # One that was there from the beginning to the end.
        steady = [place for place in slots if (place[0].first, place[0].last) == (0, plan.span)]
        chosen = random.permutation(len(steady))[: plan.lemons]
        lemons = {(steady[i][0].name, steady[i][1]) for i in chosen}
        powered = 0
        for node in of_model:
            here: list[Life] = []
            for device in range(plan.devices):
                here += lives.slot(random, plan, node, device, lemon=(node.name, device) in lemons)
            lives.during_maintenance(random, plan, node, here)
            powered += sum(life.seconds(0, plan.span)["powered"] for life in here)
            all_lives += here
        all_nodes += of_model
        interruptions += _interruptions(random, plan, model, powered / HOUR)
    drills = [
        Drill(int(random.integers(plan.span)), str(random.choice(["nvidia", "ascend"])), str(random.choice(RUN_ENDING)))
        for _ in range(plan.drills)
    ]
    return Fleet(plan, kinds, all_nodes, all_lives, interruptions, drills)


def _interruptions(random: np.random.Generator, plan: Plan, model: Model, hours: float) -> list[Interruption]:
    return [
        Interruption(
            at=int(random.integers(plan.span)),
            model=model,
            cause=cause,
            outcome="hung" if random.random() < 0.2 else "failed",
            lost=int(plan.devices * random.lognormal(6.5, 1.0)),
            detect=1 + int(random.lognormal(3.5, 1.5)),
        )
        for cause, rate in plan.interruptions.items()
        for _ in range(random.poisson(rate * hours))
    ]

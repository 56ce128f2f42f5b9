"""`accelwatch fleet --prometheus URL`: the nodes that are bad now, a line each, the most urgent first."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import Any

from accelwatch.commands import fleet_wide
from accelwatch.commands.columns import NOTHING, RED, YELLOW, aligned, clock, painter
from accelwatch.diagnosis.bad_items import BadNode, Fleet, Hang, Urgency
from accelwatch.diagnosis.bad_nodes import look
from accelwatch.faults.shown import rfc3339
from accelwatch.prometheus_api import Prometheus, PrometheusError
from accelwatch.taxonomy.loader import load

SCHEMA = 1
_HEADINGS = ("NODE", "RACK", "VENDOR", "WHAT", "SINCE", "RUN")
_WHAT_COLUMN, _WHAT_WIDTH = 3, 60
_NAMES = {
    Urgency.RUN_STRUCK: "struck under a run",
    Urgency.RUN_ENDING: "with what ends runs",
    Urgency.SILENT: "silent",
    Urgency.DEGRADING: "degraded",
    Urgency.SOURCE: "with a source that fails",
    Urgency.MAINTENANCE: "in maintenance",
}
_COLOURS = {Urgency.RUN_STRUCK: RED, Urgency.RUN_ENDING: RED, Urgency.SILENT: RED, Urgency.DEGRADING: YELLOW}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    fleet_wide.add_arguments(parser)
    parser.add_argument("--job", default="accelwatch", metavar="J", help="the agents' job, as given to `rules export`")


def run(options: argparse.Namespace) -> int:
    """Prints them; 3 when Prometheus cannot be asked, or scrapes no agent."""
    try:
        at = fleet_wide.asked_at(options)
        kinds = {name: class_.kind for name, class_ in load().classes.items()}
        fleet = look(Prometheus(options.prometheus), at, options.cluster, options.job, kinds)
    except (PrometheusError, ValueError) as error:
        return fleet_wide.failed("fleet", error)
    if not fleet.nodes:
        where = f" of cluster {options.cluster}" if options.cluster else ""
        said = f"{options.prometheus} scrapes no agent{where} (job {options.job}): nothing is known of any node"
        return fleet_wide.failed("fleet", PrometheusError(said))
    print(json.dumps(document(fleet), indent=2) if options.json else table(fleet, sys.stdout.isatty()))
    return 0


def document(fleet: Fleet) -> dict[str, Any]:
    """In the schema of the contract: what is not known is null."""
    return {
        "schema": SCHEMA,
        "at": rfc3339(fleet.at),
        "clusters": list(fleet.clusters),
        "nodes": fleet.nodes,
        "bad": [_node(node) for node in fleet.bad],
        "hangs": [
            {
                "cluster": hang.cluster or None,
                "run_id": hang.run_id,
                "attempt": hang.attempt,
                "node": hang.node or None,
                "onset": _time(hang.onset),
            }
            for hang in fleet.hangs
        ],
        "rules": fleet.rules,
    }


def _node(node: BadNode) -> dict[str, Any]:
    return {
        "cluster": node.cluster or None,
        "node": node.node,
        "rack": node.rack or None,
        "vendor": node.vendor or None,
        "urgency": node.urgency.name.lower(),
        "since": _time(node.items[0].since),
        "run_id": node.run_id or None,
        "maintenance_until": _time(node.maintenance_until),
        "what": [
            {
                "kind": item.kind,
                "text": item.text,
                "vendor": item.vendor or None,
                "device": item.device or None,
                "class": item.class_ or None,
                "severity": item.severity or None,
                "code": item.code or None,
                "source": item.source or None,
                "since": _time(item.since),
            }
            for item in node.items
        ],
    }


def table(fleet: Fleet, colour: bool) -> str:
    """The summary, then a line per node; nothing bad is one line."""
    lines = [_summary(fleet), *(_hang(hang) for hang in fleet.hangs)]
    if not fleet.rules:
        lines.append("the recording rules of accelwatch do not run in this Prometheus: hangs of runs are not seen")
    if not fleet.bad:
        return "\n".join(lines)
    several = len(fleet.clusters) > 1
    rows = [((node.cluster,) if several else ()) + _row(node) for node in fleet.bad]
    column = _WHAT_COLUMN + several
    colours = [[*[None] * column, _COLOURS.get(node.urgency)] for node in fleet.bad]
    headings = (("CLUSTER",) if several else ()) + _HEADINGS
    return "\n".join((*lines, "", aligned(headings, rows, painter(colour), colours)))


def _summary(fleet: Fleet) -> str:
    whose = f"{', '.join(name for name in fleet.clusters if name)}: " if any(fleet.clusters) else ""
    if not fleet.bad:
        return f"{whose}{fleet.nodes} node{'' if fleet.nodes == 1 else 's'}, none is bad"
    counts = Counter(node.urgency for node in fleet.bad)
    parts = ", ".join(f"{counts[urgency]} {_NAMES[urgency]}" for urgency in Urgency if counts[urgency])
    return f"{whose}{len(fleet.bad)} of {fleet.nodes} nodes bad: {parts}"


def _hang(hang: Hang) -> str:
    since = f" since {clock(hang.onset)}" if hang.onset is not None else ""
    by = f"held up by {hang.node}" if hang.node else "unlocated"
    return f"run {hang.run_id} (attempt {hang.attempt}) hangs{since}, {by}"


def _row(node: BadNode) -> tuple[str, ...]:
    texts = list(dict.fromkeys(item.text for item in node.items))
    more = f" (+{len(texts) - 1} more)" if len(texts) > 1 else ""
    until = f" (maintenance until {clock(node.maintenance_until)})" if node.maintenance_until is not None else ""
    room = _WHAT_WIDTH - len(more)
    what = texts[0] if len(texts[0]) <= room else texts[0][: room - 1] + "…"
    since = node.items[0].since
    return (
        node.node,
        node.rack,
        node.vendor,
        what + more + until,
        NOTHING if since is None else clock(since),
        node.run_id,
    )


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)

"""The nodes that are bad now: what each has, since when, and which run is on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from accelwatch.diagnosis.bad_items import BadNode, Fleet, Hang, Item, NodeKey, items_of, node_key
from accelwatch.diagnosis.gather import any_of
from accelwatch.prometheus_api import Prometheus, Sample, quoted, selector
from accelwatch.readings.health import Level
from accelwatch.taxonomy.model import Kind

# What began within the hour is known to 15 s, what is older to 5 minutes; beyond a day it is "longer".
_HOUR, _DAY = "1h:15s", "24h:5m"
# So long ago a silent node may have said which run and devices it has.
_SILENT = "1h"


def look(prometheus: Prometheus, at: float, cluster: str | None, job: str, kinds: Mapping[str, Kind]) -> Fleet:
    """What is bad at `at`. `kinds`: of the classes. Raises `PrometheusError`."""
    of = {} if cluster is None else {"cluster": cluster}
    every = selector(**of)
    others = _and(every, f"job!={quoted(job)}", 'node!=""')
    answers = prometheus.ask(
        {
            "up": f"max by (cluster, rack, node) (up{selector(job=job, **of)})",
            "others": f"max by (cluster, node) (up{others})",
            "down": f"accelwatch_device_up{every} == 0",
            "faults": f"accelwatch_fault_active{selector(drill='', **of)} == 1",
            "kept": f"accelwatch:fault:last_seen_timestamp_seconds{selector(drill='', **of)}",
            "health": f"accelwatch_device_health{every} >= {int(Level.ALARM)}",
            "sources": f"accelwatch_source_last_success_timestamp_seconds{every} and accelwatch_source_up{every} == 0 "
            f"or accelwatch_source_up{every} == 0",
            "culprits": f"accelwatch:run:culprit{every} and on (cluster, run_id, attempt) accelwatch:run:stalled == 2",
            "onsets": f"accelwatch:run:onset_timestamp_seconds{every}",
            "maintenance": f"accelwatch:node:maintenance_until_timestamp_seconds{every} "
            f"or max by (cluster, node) (accelwatch_maintenance_until_timestamp_seconds{every} > time())",
            "rules": f"count(accelwatch:run:devices{every}) or 0 * count(accelwatch_run_devices{every})",
        },
        at,
    )
    racks = {node_key(sample): sample["rack"] for sample in answers["up"]}
    silent = {node_key(sample) for sample in answers["up"] if sample.value == 0}
    items = items_of(answers, silent, kinds)
    more = _more(prometheus, at, of, job, set(items)) if items else {}
    onsets = {_run(sample): sample.value for sample in answers["onsets"]}
    maintenance = {node_key(sample): sample.value for sample in answers["maintenance"]}
    begun = _begun(more)
    bad = []
    for key, wrong in items.items():
        dated = [_dated(key, item, begun) for item in wrong]
        dated.sort(key=lambda item: (item.urgency, -(item.since or 0.0), item.vendor, item.device))
        runs = [item.run_id for item in dated if item.run_id]
        runs += [s["run_id"] for s in more.get("runs", []) if node_key(s) == key]
        vendors = sorted({s["vendor"] for s in more.get("vendors", []) if node_key(s) == key})
        bad.append(
            BadNode(
                cluster=key[0],
                node=key[1],
                rack=racks.get(key, ""),
                vendor="+".join(vendors),
                items=tuple(dated),
                run_id=runs[0] if runs else "",
                maintenance_until=maintenance.get(key),
            )
        )
    bad.sort(key=lambda n: (n.urgency, -(n.items[0].since or 0.0), n.cluster, n.node))
    hangs = tuple(
        Hang(
            cluster=s["cluster"],
            run_id=s["run_id"],
            attempt=s["attempt"],
            node=s["node"],
            onset=onsets.get(_run(s)),
        )
        for s in answers["culprits"]
    )
    return Fleet(
        at=at,
        clusters=tuple(sorted({key[0] for key in racks})),
        nodes=len(racks),
        bad=tuple(bad),
        hangs=hangs,
        rules=not (answers["rules"] and answers["rules"][0].value == 0),
    )


def _more(
    prometheus: Prometheus, at: float, of: Mapping[str, str], job: str, keys: Iterable[NodeKey]
) -> dict[str, list[Sample]]:
    """Since when, of the bad nodes only: it is the dear part."""
    nodes = {node for _, node in keys}
    here = _and(selector(**of), f"node=~{any_of(nodes)}")
    fault = "accelwatch_fault_active" + _and(here, 'drill=""')
    up = "up" + _and(here, f"job={quoted(job)}")
    device = f"accelwatch_device_up{here}"
    by_fault = "by (cluster, node, vendor, device, class, fault_severity, code, run_id)"
    by_device = "by (cluster, node, vendor, device)"
    questions = {
        "vendors": f"count by (cluster, node, vendor) (last_over_time(accelwatch_device_info{here}[{_SILENT}]))",
        "runs": f"max by (cluster, node, run_id) (accelwatch_run_devices{here}) "
        f"or max by (cluster, node, run_id) (last_over_time(accelwatch_run_devices{here}[{_SILENT}]) "
        f"and on (cluster, node) {up} == 0)",
    }
    began = f"timestamp({fault}) and {fault} == 1"
    for name, span in (("hour", _HOUR), ("day", _DAY)):
        questions[f"fault {name}"] = f"min {by_fault} (min_over_time(({began})[{span}]) or {began})"
        questions[f"up {name}"] = f"max by (cluster, node) (max_over_time((timestamp({up}) and {up} == 1)[{span}]))"
        questions[f"device {name}"] = (
            f"max {by_device} (max_over_time((timestamp({device}) and {device} == 1)[{span}]))"
        )
    return prometheus.ask(questions, at)


def _dated(key: NodeKey, item: Item, begun: Mapping[tuple[str, ...], float]) -> Item:
    """With the time at which it began, where that is not known yet."""
    if item.kind == "fault":
        what = (*key, item.vendor, item.device, item.class_, item.severity, item.code, item.run_id)
        return msgspec.structs.replace(item, since=begun.get(what))
    if item.kind == "silent":
        return msgspec.structs.replace(item, since=begun.get(key))
    if item.kind == "device_down":
        return msgspec.structs.replace(item, since=begun.get((*key, item.vendor, item.device)))
    return item


def _begun(more: Mapping[str, list[Sample]]) -> dict[tuple[str, ...], float]:
    """When each fault began, and when each node and device that is gone was last there."""
    begun: dict[tuple[str, ...], float] = {}
    for name, labels, choose in (
        ("fault", ("vendor", "device", "class", "fault_severity", "code", "run_id"), min),
        ("up", (), max),
        ("device", ("vendor", "device"), max),
    ):
        for sample in (*more.get(f"{name} hour", ()), *more.get(f"{name} day", ())):
            what = (*node_key(sample), *(sample[label] for label in labels))
            begun[what] = choose(begun.get(what, sample.value), sample.value)
    return begun


def _run(sample: Sample) -> tuple[str, str, str]:
    return sample["cluster"], sample["run_id"], sample["attempt"]


def _and(matchers: str, *more: str) -> str:
    inner = ",".join(part for part in (matchers[1:-1], *more) if part)
    return "{" + inner + "}"

"""The questions about one attempt of a run: three rounds, each asked side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from accelwatch.diagnosis.facts import Attempt, Device, Facts, FaultSeen, Named, Share, Spot
from accelwatch.prometheus_api import Prometheus, Sample, quoted, selector
from accelwatch.runs.culprit import TIE_SECONDS

# The agents' causes are final 5 minutes after the end, and are read and recorded within another.
FINAL_SECONDS = 360.0
# The window of a run's cause (design.md, Faults): from 15 minutes before the onset to 60 s after its end.
BEFORE_SECONDS, AFTER_SECONDS = 900.0, 60.0
# Of a run that has stood for longer than this, what came later is not asked for.
WINDOW_LIMIT_SECONDS = 6 * 3600.0
# Faults are looked for in steps of a usual scrape.
STEP_SECONDS = 15
# What a dark node said last is looked for so far before it was seen last.
_DARK_SECONDS = 600.0


def gather(prometheus: Prometheus, run_id: str, attempt: Attempt, others: tuple[Attempt, ...], at: float) -> Facts:
    """Everything that is known of it at `at`. Raises `PrometheusError`."""
    moment = _moment(attempt, at)
    facts = _run(prometheus, run_id, attempt, moment)
    facts = msgspec.structs.replace(facts, others=others, asked=at)
    facts = _faults(prometheus, facts)
    return _devices(prometheus, facts)


def _moment(attempt: Attempt, at: float) -> float:
    if attempt.going or attempt.latest == 0.0:
        return at
    if attempt.last_end is not None:
        return min(at, attempt.last_end + FINAL_SECONDS + AFTER_SECONDS)
    # No word of an end: rules keep what a node that went dark had for a day.
    return min(at, attempt.latest + 86400.0 - _DARK_SECONDS)


def _run(prometheus: Prometheus, run_id: str, attempt: Attempt, moment: float) -> Facts:
    of_run = selector(run_id=run_id, attempt=attempt.attempt, cluster=attempt.cluster)
    answers = prometheus.ask(
        {
            "ends": f"max by (node, outcome) (accelwatch_run_end_timestamp_seconds{of_run})",
            "ends_kept": f"max by (node, outcome) (accelwatch:run_end:timestamp_seconds{of_run})",
            "read": f"max by (node) (timestamp(accelwatch_run_devices{of_run}))",
            "kept": f"accelwatch:run_node:last_seen_timestamp_seconds{of_run}",
            "kept_devices": f"accelwatch:run_node:devices{of_run}",
            "size": f"max(accelwatch_run_world_size{of_run})",
            "info": f"count by (launcher) (accelwatch_run_info{of_run})",
            "level": f"accelwatch:run:stalled{of_run} or min(accelwatch_run_stalled{of_run})",
            "hang": f"accelwatch:run:culprit{of_run}",
            "cause": f"accelwatch:run_interruption:cause_timestamp_seconds{of_run}",
            "causes": f"accelwatch:run_cause:timestamp_seconds{of_run} "
            f"or accelwatch_run_cause_timestamp_seconds{of_run}",
            "lost": f"accelwatch:run_interruption:lost_device_seconds{of_run} "
            f"or sum(accelwatch_run_lost_device_seconds{of_run})",
            "rules": f"count(accelwatch:run:devices{of_run} "
            f"or accelwatch:run_interruption:end_timestamp_seconds{of_run})",
        },
        moment,
    )
    shares: dict[str, Share] = {}
    for sample in (*answers["ends_kept"], *answers["ends"]):
        shares[sample["node"]] = Share(ended=sample.value, outcome=sample["outcome"])
    progress: dict[Spot, float] = {}
    before: dict[str, list[Sample]] = {}
    for moment_before in _moments(attempt, moment):
        before = prometheus.ask(_while_going(of_run), moment_before)
        _read(before, shares, progress)
    for sample in answers["kept"]:
        shares[sample["node"]] = _replaced(shares.get(sample["node"]), read=sample.value)
    for sample in answers["kept_devices"]:
        shares[sample["node"]] = _replaced(shares.get(sample["node"]), devices=int(sample.value))
    for sample in answers["read"]:
        shares[sample["node"]] = _replaced(shares.get(sample["node"]), read=sample.value, reports=True)
    _said_last(prometheus, of_run, shares, progress)
    going = attempt.going
    size, info = (answers[name] or before.get(name, []) for name in ("size", "info"))
    hang = answers["hang"] or before.get("hang", [])
    level = answers["level"] if going else []
    cause = answers["cause"]
    return Facts(
        run_id=run_id,
        attempt=attempt,
        moment=moment,
        asked=moment,
        shares=shares,
        world_size=int(size[0].value) if size else None,
        launcher=info[0]["launcher"] if info else "",
        level=int(level[0].value) if level else None,
        hang=_named(hang[0]) if hang else None,
        interruption=_named(cause[0], timed=True) if cause else None,
        interruption_outcome=cause[0]["outcome"] if cause else "",
        causes=tuple(_named(sample, timed=True) for sample in answers["causes"]),
        lost_device_seconds=answers["lost"][0].value if answers["lost"] else None,
        progress=progress,
        window=(0.0, 0.0),
        tie_seconds=max([TIE_SECONDS, *(sample.value for sample in before.get("tie", []))]),
        rules=bool(answers["rules"]) or bool(before.get("rules")),
    )


def _moments(attempt: Attempt, moment: float) -> list[float]:
    """When to look at the devices: before the first end, and before the last one, since peers may wait for minutes."""
    if attempt.first_end is None:
        return [moment if attempt.going or attempt.seen is None else attempt.seen]
    last = moment if attempt.going else (attempt.last_end or attempt.first_end) - 1.0
    first = attempt.first_end - 1.0
    return [first] if last - first < AFTER_SECONDS else [first, last]


def _while_going(of_run: str) -> dict[str, str]:
    return {
        "progress": f"accelwatch_device_last_progress_timestamp_seconds{of_run}",
        "devices": f"max by (node) (accelwatch_run_devices{of_run})",
        "read": f"max by (node) (timestamp(accelwatch_run_devices{of_run}))",
        "size": f"max(accelwatch_run_world_size{of_run})",
        "info": f"count by (launcher) (accelwatch_run_info{of_run})",
        "hang": f"accelwatch:run:culprit{of_run}",
        "tie": f"max(accelwatch:hang:tie_seconds{of_run})",
        "rules": f"count(accelwatch:run:devices{of_run})",
    }


def _read(answers: Mapping[str, list[Sample]], shares: dict[str, Share], progress: dict[Spot, float]) -> None:
    for sample in answers["progress"]:
        progress[_spot(sample)] = sample.value
    for name, key in (("devices", "devices"), ("read", "read")):
        for sample in answers[name]:
            value = int(sample.value) if key == "devices" else sample.value
            shares[sample["node"]] = _replaced(shares.get(sample["node"]), **{key: value})


def _said_last(prometheus: Prometheus, of_run: str, shares: Mapping[str, Share], progress: dict[Spot, float]) -> None:
    """Of nodes that went dark: when their devices last made progress, as they said last."""
    told = {spot.node for spot in progress}
    dark = {node: share.read for node, share in shares.items() if share.read is not None and share.ended is None}
    dark = {node: read for node, read in dark.items() if not shares[node].reports and node not in told}
    if not dark:
        return
    within = f"{of_run[:-1]},node=~{any_of(dark)}}}"
    first, last = min(dark.values()), max(dark.values())
    reach = int(min(last - first + _DARK_SECONDS, WINDOW_LIMIT_SECONDS))
    question = f"last_over_time(accelwatch_device_last_progress_timestamp_seconds{within}[{reach}s])"
    for sample in prometheus.query(question, last + 1.0):
        progress[_spot(sample)] = sample.value


def _faults(prometheus: Prometheus, facts: Facts) -> Facts:
    """Faults of the run and of its nodes, with the time at which each was first seen in the window."""
    stopped = [at for at in facts.progress.values() if at <= facts.moment]
    known = [at for at in (facts.attempt.first_end, facts.interruption.at if facts.interruption else None) if at]
    onset = min([*(max(stopped, default=facts.moment),), *known])
    start = max(onset - BEFORE_SECONDS, facts.moment - WINDOW_LIMIT_SECONDS)
    reach = max(STEP_SECONDS, int(facts.moment - start))
    cluster = facts.attempt.cluster
    of_run = selector(cluster=cluster, run_id=facts.run_id, drill="")
    # Labels of a fault are fixed when it opens: one from before the run does not have its name.
    matchers = [("of_run", of_run)]
    if facts.shares:
        others = (
            f"{selector(cluster=cluster, drill='')[:-1]},run_id!={quoted(facts.run_id)},node=~{any_of(facts.shares)}}}"
        )
        matchers.append(("of_nodes", others))
    by = "by (node, rack, vendor, device, model, class, fault_severity, code, run_id)"
    questions: dict[str, str] = {}
    for name, chosen in matchers:
        series = f"accelwatch_fault_active{chosen}"
        questions[f"{name} since"] = (
            # Steps lie at multiples of their length: what is younger than the last one is asked for beside them.
            f"min {by} (min_over_time((timestamp({series}) and {series} == 1)[{reach}s:{STEP_SECONDS}s]) "
            f"or timestamp({series}) and {series} == 1)"
        )
        questions[f"{name} active"] = f"max {by} ({series} == 1)"
    answers = prometheus.ask(questions, facts.moment)
    active = {_identity(sample) for name, _ in matchers for sample in answers[f"{name} active"]}
    faults = []
    racks = {}
    for name, _ in matchers:
        for sample in answers[f"{name} since"]:
            racks[sample["node"]] = sample["rack"]
            if _concerns(sample, facts):
                faults.append(_fault(sample, _identity(sample) in active))
    return msgspec.structs.replace(facts, faults=tuple(faults), window=(start, facts.moment), racks=racks)


def _concerns(sample: Sample, facts: Facts) -> bool:
    """Of its nodes' faults: those of the host, and of devices that it holds."""
    if sample["run_id"] == facts.run_id or not sample["device"]:
        return True
    held = {spot for spot in facts.progress if spot.node == sample["node"]}
    # A node whose devices are not known may have lent any of them.
    return not held or _spot(sample) in held


def _devices(prometheus: Prometheus, facts: Facts) -> Facts:
    """Who the devices are that may be named, as they were when they were last seen; and the racks of their nodes."""
    nodes = {fault.spot.node for fault in facts.faults}
    nodes |= {named.spot.node for named in (facts.hang, facts.interruption) if named is not None}
    nodes |= {node for node, share in facts.shares.items() if not share.reports and share.ended is None}
    nodes.discard("")
    if not nodes:
        return facts
    node_of = f"{selector(cluster=facts.attempt.cluster)[:-1]},node=~{any_of(nodes)}}}"
    onset = min(facts.window[0] + BEFORE_SECONDS, facts.moment)
    reach = int(min(facts.moment - onset + BEFORE_SECONDS, WINDOW_LIMIT_SECONDS))
    info = f"accelwatch_device_info{node_of}"
    devices: dict[Spot, Device] = {}
    racks = dict(facts.racks)
    # What was in the slot at the onset wins over what is there now.
    for sample in (
        *prometheus.query(f"last_over_time({info}[{reach}s])", facts.moment),
        *prometheus.query(info, onset),
    ):
        devices[_spot(sample)] = Device(
            model=sample["model"], serial=sample["serial"], pci=sample["pci"], uuid=sample["uuid"]
        )
        racks[sample["node"]] = sample["rack"]
    return msgspec.structs.replace(facts, devices=devices, racks=racks)


def any_of(nodes: Iterable[str]) -> str:
    """A matcher's regular expression, quoted; RE2 knows each escape of these signs."""
    escaped = ("".join(f"\\{sign}" if sign in r"\.+*?()|[]{}^$" else sign for sign in node) for node in sorted(nodes))
    return quoted("|".join(escaped))


def _spot(sample: Sample) -> Spot:
    return Spot(sample["node"], sample["vendor"] if sample["device"] else "", sample["device"])


def _named(sample: Sample, timed: bool = False) -> Named:
    return Named(
        spot=Spot(sample["node"], sample["vendor"], sample["device"]),
        class_=sample["class"],
        model=sample["model"],
        rule=sample["rule"],
        at=sample.value if timed else None,
    )


def _identity(sample: Sample) -> tuple[str, ...]:
    return tuple(sample[label] for label in ("node", "vendor", "device", "class", "fault_severity", "code", "run_id"))


def _fault(sample: Sample, active: bool) -> FaultSeen:
    return FaultSeen(
        spot=Spot(sample["node"], sample["vendor"], sample["device"]),
        class_=sample["class"],
        severity=sample["fault_severity"],
        code=sample["code"],
        model=sample["model"],
        run_id=sample["run_id"],
        since=sample.value,
        active=active,
    )


def _replaced(share: Share | None, **changes: object) -> Share:
    return msgspec.structs.replace(share or Share(), **changes)

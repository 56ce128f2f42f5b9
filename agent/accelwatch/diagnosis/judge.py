"""From what is known of a run to the answer: who, what, what to do. Pure."""

from __future__ import annotations

from accelwatch.diagnosis import timeline
from accelwatch.diagnosis.answer import Answer, Culprit
from accelwatch.diagnosis.facts import Device, Facts, FaultSeen, Named, Share, Spot
from accelwatch.diagnosis.gather import AFTER_SECONDS, BEFORE_SECONDS, FINAL_SECONDS
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.lookup import UNKNOWN, Taxonomy
from accelwatch.taxonomy.model import Kind

_HANG = "hang_no_error"
_DARK_ACTION = (
    "Open its console (ipmitool sol activate) and read its controller's log (ipmitool sel elist); take it out of the "
    "scheduler and restart the run without it."
)
_NOTHING_KNOWN = "Read the job's own log; then on its nodes: accelwatch runs, accelwatch faults."
_RULES = {
    "cause": "the first fault before all devices stopped",
    "dark": "the one node that fell silent while the others wait",
    "ended": "the one node whose share ended while the others wait",
    "minority": "it waits otherwise than all the others",
    "earliest": "it stopped before all the others",
}


def judge(facts: Facts, taxonomy: Taxonomy) -> Answer:
    """The answer."""
    state = _state(facts)
    dark = tuple(
        sorted((node, share) for node, share in facts.shares.items() if share.ended is None and not share.reports)
    )
    outcome = _outcome(facts, state)
    culprit, why_not = _culprit(facts, state, outcome, dark, taxonomy)
    lost = facts.lost_device_seconds
    if lost is None and state in ("stalled", "hangs"):
        lost = sum(max(0.0, facts.moment - at) for at in facts.progress.values())
    completed = outcome == "completed"
    cause = culprit.class_ if culprit is not None else facts.interruption.class_ if facts.interruption else ""
    suspects = () if completed else _suspects(facts, culprit, taxonomy)
    known = [share.devices for share in facts.shares.values() if share.devices is not None]
    return Answer(
        run_id=facts.run_id,
        attempt=facts.attempt,
        others=facts.others,
        asked=facts.asked,
        state=state,
        outcome=outcome,
        launcher=facts.launcher,
        nodes=len(facts.shares),
        devices=sum(known) if known else None,
        world_size=facts.world_size,
        onset=max(facts.progress.values()) if facts.progress and state != "running" else None,
        lost_device_seconds=lost,
        cause=cause,
        culprit=culprit,
        why_not=why_not,
        timeline=timeline.of(facts, state, culprit, dark),
        suspects=suspects,
        action=_action(facts, state, outcome, culprit, taxonomy),
        exclude=_exclude(facts, outcome, culprit, dark, taxonomy),
        missing=_missing(facts, state),
        dark=dark,
    )


def _state(facts: Facts) -> str:
    if not facts.attempt.going:
        return "ended" if facts.attempt.first_end is not None else "dark"
    if facts.level == 2:
        return "hangs"
    if facts.level == 1:
        return "stalled"
    return "ending" if facts.attempt.first_end is not None else "running"


def _outcome(facts: Facts, state: str) -> str:
    if facts.interruption_outcome:
        return facts.interruption_outcome
    if state != "ended":
        return ""
    outcomes = {share.outcome for share in facts.shares.values() if share.ended is not None}
    return next(iter(outcomes)) if len(outcomes) == 1 else "unknown"


def _culprit(
    facts: Facts, state: str, outcome: str, dark: tuple[tuple[str, Share], ...], taxonomy: Taxonomy
) -> tuple[Culprit | None, str]:
    if outcome == "completed":
        return None, "it completed"
    judged = facts.interruption or _first_cause(facts, taxonomy)
    found = judged is not None and judged.class_ != UNKNOWN and _kind(judged.class_, taxonomy) is not Kind.SYMPTOM
    if judged is not None and judged.spot.node and found:
        return _blamed(facts, judged, "the earliest cause that a node found for its end", taxonomy), ""
    hang = facts.hang
    if hang is not None and hang.spot.node:
        return _held_up(facts, hang, taxonomy), ""
    if not _final(facts, state):
        likely = _likely(facts, taxonomy)
        if likely is not None:
            return _of_fault(facts, likely, "a fault that ends runs, in its window; not judged yet", False), ""
    if state == "dark" and len(facts.shares) == len(dark) == 1:
        node, share = dark[0]
        return _of_node(facts, node, share.read, "its only node fell silent"), ""
    return None, _why_not(facts, state, judged, hang)


def _why_not(facts: Facts, state: str, judged: Named | None, hang: Named | None) -> str:
    if state == "running":
        return "nothing: it goes on, and no fault that ends runs is known on its devices"
    if state in ("hangs", "stalled"):
        return "unlocated: nothing singles out one device or node" if hang is not None else "not judged yet"
    if not facts.rules and judged is None:
        return "unknown: the recording rules of accelwatch have no answer in this Prometheus"
    if state == "ending" or not _final(facts, state):
        return "not judged yet: causes are final five minutes after the end"
    if judged is not None and judged.class_ not in ("", UNKNOWN):
        return f"unlocated: {judged.class_} is what its nodes saw, and no cause of it was found on any"
    return "unknown: no node found a cause"


def _final(facts: Facts, state: str) -> bool:
    last = facts.attempt.last_end
    return state == "ended" and last is not None and facts.moment >= last + FINAL_SECONDS


def _first_cause(facts: Facts, taxonomy: Taxonomy) -> Named | None:
    """The judgement of alerts/rules/runs.yml, where these rules do not run."""
    order = {Kind.CAUSE: 0, Kind.APPLICATION: 1, Kind.SYMPTOM: 2}
    return min(
        facts.causes,
        key=lambda named: (
            3 if named.class_ == UNKNOWN else order.get(_kind(named.class_, taxonomy) or Kind.SYMPTOM, 2),
            named.at or 0.0,
        ),
        default=None,
    )


def _blamed(facts: Facts, named: Named, by: str, taxonomy: Taxonomy) -> Culprit:
    spot = named.spot
    fault = _best(
        [f for f in facts.faults if f.spot.node == spot.node and f.class_ == named.class_ and _same(f.spot, spot)],
        named.at,
        taxonomy,
    )
    if fault is None:
        class_ = taxonomy.classes.get(named.class_)
        severity = class_.severity.value if class_ is not None else ""
        return _made(facts, spot, named.class_, severity, "", named.at, by, named.model)
    return _made(facts, fault.spot, named.class_, fault.severity, fault.code, named.at, by, named.model)


def _held_up(facts: Facts, hang: Named, taxonomy: Taxonomy) -> Culprit:
    by = _RULES.get(hang.rule, hang.rule)
    on_it = [f for f in facts.faults if f.spot.node == hang.spot.node and _same(f.spot, hang.spot)]
    causes = [f for f in on_it if _kind(f.class_, taxonomy) is not Kind.SYMPTOM and _strikes(f)]
    if hang.rule in ("cause", "dark"):
        fault = _best(causes, None, taxonomy)
        if fault is not None:
            return _of_fault(facts, fault, by, True)
    if hang.rule == "dark":
        share = facts.shares.get(hang.spot.node, Share())
        return _of_node(facts, hang.spot.node, share.read, by)
    if hang.rule == "ended":
        own = next((c for c in facts.causes if c.spot.node == hang.spot.node), None)
        if own is not None and own.class_ != UNKNOWN:
            return _blamed(facts, own, by, taxonomy)
        return _of_node(facts, hang.spot.node, facts.shares.get(hang.spot.node, Share()).ended, by)
    stopped = facts.progress.get(Spot(hang.spot.node, hang.spot.vendor, hang.spot.device))
    return _made(facts, hang.spot, _HANG, Severity.RUN_ENDING.value, "", stopped, by, "")


def _strikes(fault: FaultSeen) -> bool:
    """What the hang's rule takes for evidence: what ends runs, and links that drop."""
    return fault.severity == Severity.RUN_ENDING.value or fault.class_ in (
        "net_link_down", "net_link_flap", "intra_node_link", "fabric_switch",
    )  # fmt: skip


def _likely(facts: Facts, taxonomy: Taxonomy) -> FaultSeen | None:
    """By the order in which agents look for a cause: root rank, then nearness to the onset."""
    start = facts.window[0]
    ends = (facts.attempt.last_end or facts.moment) + AFTER_SECONDS
    found = [
        f
        for f in facts.faults
        if f.severity == Severity.RUN_ENDING.value
        and _kind(f.class_, taxonomy) is Kind.CAUSE
        and start <= f.since <= ends
    ]
    return _best(found, start + BEFORE_SECONDS, taxonomy)


def _best(faults: list[FaultSeen], near: float | None, taxonomy: Taxonomy) -> FaultSeen | None:
    def key(fault: FaultSeen) -> tuple[int, float]:
        family = taxonomy.family_of(fault.spot.vendor, fault.code) if fault.code else None
        code = taxonomy.code(family, fault.code) if family is not None else None
        class_ = taxonomy.classes.get(fault.class_)
        rank = code.rank if code is not None and code.rank is not None else class_.rank if class_ is not None else 0
        return -rank, abs(fault.since - near) if near is not None else fault.since

    return min(faults, key=key, default=None)


def _of_fault(facts: Facts, fault: FaultSeen, by: str, final: bool) -> Culprit:
    return _made(facts, fault.spot, fault.class_, fault.severity, fault.code, fault.since, by, fault.model, final)


def _of_node(facts: Facts, node: str, since: float | None, by: str) -> Culprit:
    return _made(facts, Spot(node), "", "", "", since, by, "")


def _made(
    facts: Facts, spot: Spot, class_: str, severity: str, code: str, since: float | None, by: str, model: str,
    final: bool = True,
) -> Culprit:  # fmt: skip
    device = facts.devices.get(spot, Device(model=model if spot.device else ""))
    return Culprit(
        spot=spot,
        rack=facts.racks.get(spot.node, ""),
        device=device,
        class_=class_,
        severity=severity,
        code=code,
        since=since,
        by=by,
        final=final,
    )


def _suspects(facts: Facts, culprit: Culprit | None, taxonomy: Taxonomy) -> tuple[FaultSeen, ...]:
    """What else was wrong on its nodes, the worst first; symptoms show only that something was."""
    others = [
        fault
        for fault in facts.faults
        if _kind(fault.class_, taxonomy) is not Kind.SYMPTOM
        and fault.severity != Severity.INFORMATIONAL.value
        and not (culprit and (fault.spot, fault.class_) == (culprit.spot, culprit.class_))
    ]
    return tuple(sorted(others, key=lambda f: (f.severity != Severity.RUN_ENDING.value, f.since, f.spot)))


def _action(facts: Facts, state: str, outcome: str, culprit: Culprit | None, taxonomy: Taxonomy) -> str:
    """One. Numbers that are not known stay for a person to fill in: a reset of the wrong device is worse than none."""
    if outcome == "completed" or (state == "running" and culprit is None):
        return ""
    if culprit is not None and not culprit.class_:
        return _DARK_ACTION
    if culprit is None:
        if state in ("hangs", "stalled"):
            return taxonomy.action(_HANG, "nvidia").replace(" without their node", "")
        return _NOTHING_KNOWN
    name = culprit.class_ if culprit.class_ in taxonomy.classes else UNKNOWN
    severity = Severity(culprit.severity) if culprit.severity in list(Severity) else None
    vendor = culprit.spot.vendor if culprit.spot.device or culprit.spot.vendor else "host"
    action = taxonomy.action(name, vendor, culprit.code or None, severity=severity)
    values = {"run": facts.run_id, "GPU": culprit.device.pci or culprit.spot.device}
    npu, dash, chip = culprit.spot.device.partition("-")
    if vendor == "ascend" and dash:  # the label of a chip of several: its NPU and its own number
        values |= {"NPU": npu, "chip": chip}
    for placeholder, value in values.items():
        if value:
            action = action.replace(f"<{placeholder}>", value)
    return action


def _exclude(
    facts: Facts, outcome: str, culprit: Culprit | None, dark: tuple[tuple[str, Share], ...], taxonomy: Taxonomy
) -> tuple[str, ...]:
    """The culprit's node, nodes that are dark, and those on which a fault that ends runs is active."""
    if outcome == "completed":
        return ()
    nodes = {node for node, _ in dark}
    if culprit is not None and _kind(culprit.class_, taxonomy) is not Kind.APPLICATION:
        nodes.add(culprit.spot.node)
    nodes |= {
        f.spot.node
        for f in facts.faults
        if f.active and f.severity == Severity.RUN_ENDING.value and _kind(f.class_, taxonomy) is Kind.CAUSE
    }
    return tuple(sorted(nodes))


def _missing(facts: Facts, state: str) -> tuple[str, ...]:
    """What would have been asked for and is not there."""
    missing = []
    seen = sum(share.devices or 0 for share in facts.shares.values())
    if facts.world_size is not None and seen < facts.world_size:
        missing.append(f"{facts.world_size - seen} of its {facts.world_size} ranks are on no node that is known here")
    silent = {spot.node for spot in facts.progress}
    mute = sorted(node for node, share in facts.shares.items() if node not in silent)
    if mute and state != "running" and facts.progress:
        missing.append(f"no progress known of {len(mute)} of its nodes: {', '.join(mute)}")
    if not facts.progress and state != "running":
        missing.append("no progress of its devices is known")
    if not facts.rules:
        missing.append("the recording rules of accelwatch do not run in this Prometheus (alerts/rules)")
    return tuple(missing)


def _same(one: Spot, other: Spot) -> bool:
    """Of the same device; where one of the two is the node as a whole, of the node."""
    return not one.device or not other.device or (one.vendor, one.device) == (other.vendor, other.device)


def _kind(class_: str, taxonomy: Taxonomy) -> Kind | None:
    found = taxonomy.classes.get(class_)
    return found.kind if found is not None else None

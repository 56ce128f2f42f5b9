"""From the sums of what was recorded to what a report is made from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from accelwatch.reliability.cells import Cell, Durations, Fleet, Interruptions, Lifetime, Measure, NodeTime, Unit
from accelwatch.reliability.classes import known, observable
from accelwatch.reliability.recorded import DAY
from accelwatch.reliability.tally import HOST, Kin, Place, Serial, Sums, Tally, sums
from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import Kind

HOUR = 3600.0
# A device that goes out so soon after a fault that ends runs, while its node stays, went out for it.
FAILED_WITHIN_DAYS = 7
# `killed` without a cause may be somebody's wish (alerts/rules/runs.yml).
WISH = ("killed", "unknown")


def groups(tally: Tally) -> dict[Kin, str]:
    """Names of those that have exposure: the model, behind its cluster where there are several."""
    kins = sorted({place.kin for place, seconds in tally.seconds.items() if seconds["powered"] > 0})
    several = len({kin.cluster for kin in kins}) > 1
    return {kin: f"{kin.cluster} {kin.model}" if several else kin.model or kin.vendor for kin in kins}


def share_observable(tally: Tally, kin: Kin, class_: str) -> float:
    """Of the nodes and the window; the taxonomy's word where nothing was recorded of it."""
    shares = tally.shares.get((kin.cluster, kin.vendor, class_))
    if shares:
        return sum(shares) / len(shares)
    return float(observable(class_, kin.vendor) is not False)


def compared(name: str) -> bool:
    """Symptoms say that a run stands still, not that this device is at fault: they are told by interruptions."""
    class_ = known(name)
    return class_ is None or class_.kind is not Kind.SYMPTOM


def kins_of_nodes(names: Mapping[Kin, str], tally: Tally) -> dict[tuple[str, str], set[Kin]]:
    """(cluster, node) -> whose devices it has."""
    found: dict[tuple[str, str], set[Kin]] = defaultdict(set)
    for place in tally.seconds:
        if place.kin in names:
            found[place.kin.cluster, place.node].add(place.kin)
    return found


def cells(names: Mapping[Kin, str], tally: Tally) -> list[Cell]:
    """Every class of the taxonomy for every group, those without an event too."""
    places: dict[Kin, list[Place]] = defaultdict(list)
    for place in tally.seconds:
        if place.kin in names:
            places[place.kin].append(place)
    hosts: dict[Kin, Counter[tuple[str, str]]] = defaultdict(Counter)
    on_node = kins_of_nodes(names, tally)
    for (cluster, node, class_), count in tally.host_episodes.items():
        owners = on_node.get((cluster, node), set())
        if len(owners) == 1:
            hosts[next(iter(owners))][node, class_] += count
    strangers = {class_ for _, class_ in tally.episodes} - set(load().classes)
    classes = [name for name in (*load().classes, *sorted(strangers)) if compared(name)]
    if not tally.hosts_asked:
        classes.remove(HOST)  # a class of faults, too
    in_slots = _serials_of_places(tally.serials)
    return [
        _cell(tally, kin, names[kin], class_, sorted(places[kin]), hosts[kin], in_slots)
        for kin in names
        for class_ in classes
    ]


def _cell(
    tally: Tally,
    kin: Kin,
    group: str,
    class_: str,
    places: list[Place],
    hosts: Counter[tuple[str, str]],
    in_slots: Mapping[Place, list[str]],
) -> Cell:
    by_device = [
        Unit(
            " ".join((place.node, place.device, *in_slots.get(place, ()))),
            tally.episodes[place, class_],
            tally.seconds[place]["powered"] / HOUR,
        )
        for place in places
    ]
    counts, hours = Counter[str](), sums()
    for place, unit in zip(places, by_device, strict=True):
        counts[place.node] += unit.count
        hours[place.node] += unit.hours
    on_hosts = {node: count for (node, name), count in hosts.items() if name == class_ and count}
    counts.update(on_hosts)
    by_node = [Unit(node, counts[node], of_node) for node, of_node in hours.items() if of_node > 0]
    periods = sorted({period for of, period in tally.period_seconds if of == kin})
    return Cell(
        group=group,
        cluster=kin.cluster,
        vendor=kin.vendor,
        model=kin.model,
        class_=class_,
        count=sum(counts.values()),
        hours=sum(hours.values()),
        busy_hours=sum(tally.seconds[place]["busy"] for place in places) / HOUR,
        devices=len(places),
        observable=share_observable(tally, kin, class_) > 0,
        by_node=by_node,
        # What befell a host stands on no device of it.
        by_device=by_node if on_hosts else [unit for unit in by_device if unit.hours > 0],
        by_period=[
            Unit(
                f"day {period * tally.period_days + 1}",
                tally.period_episodes[kin, class_, period],
                tally.period_seconds[kin, period] / HOUR,
            )
            for period in (() if on_hosts else periods)
        ],
    )


def _serials_of_places(serials: Mapping[tuple[str, str], Serial]) -> dict[Place, list[str]]:
    """Where each was last."""
    found: dict[Place, list[str]] = defaultdict(list)
    for (_cluster, serial), one in sorted(serials.items()):
        found[Place(one.kin, one.node, one.device)].append(serial)
    return found


def interruptions(names: Mapping[Kin, str], tally: Tally) -> list[Interruptions]:
    """By cause. Those of no group's are left to the notes."""
    powered = sums()
    for place, seconds in tally.seconds.items():
        powered[place.kin] += seconds["powered"]
    counts: Counter[tuple[Kin, str]] = Counter()
    lost: Counter[tuple[Kin, str]] = Counter()
    for (kin, class_, outcome), count in tally.interruptions.items():
        owner = owner_of(names, kin)
        if owner is not None and (outcome, class_) != WISH:
            counts[owner, class_] += count
            lost[owner, class_] += tally.lost[kin, class_, outcome]
    return [
        Interruptions(
            group=names[kin], cluster=kin.cluster, vendor=kin.vendor, model=kin.model, cause=cause,
            count=count, hours=powered[kin] / HOUR, lost_device_hours=lost[kin, cause] / HOUR,
        )
        for (kin, cause), count in sorted(counts.items())
    ]  # fmt: skip


def owner_of(names: Mapping[Kin, str], kin: Kin) -> Kin | None:
    """The group that this is of; where the model, or the vendor, is not told, the only one that it can be."""
    candidates = [
        one
        for one in names
        if one.cluster == kin.cluster and kin.vendor in ("", one.vendor) and kin.model in ("", one.model)
    ]
    return candidates[0] if len(candidates) == 1 else None


def fleets(names: Mapping[Kin, str], tally: Tally) -> list[Fleet]:
    """Device-hours of each node."""
    by_node: dict[Kin, dict[str, Sums[str]]] = defaultdict(lambda: defaultdict(sums))
    for place, seconds in tally.seconds.items():
        if place.kin in names:
            for state, value in seconds.items():
                by_node[place.kin][place.node][state] += value
    return [
        Fleet(
            group=names[kin], vendor=kin.vendor, model=kin.model,
            nodes=[_node(node, seconds, tally.known_seconds[kin, node]) for node, seconds in sorted(nodes.items())],
        )
        for kin, nodes in by_node.items()
    ]  # fmt: skip


def _node(node: str, seconds: Sums[str], known_for: float) -> NodeTime:
    """Powered or down, or in maintenance: somebody looked. What is left of the time that a device was known, nobody."""
    planned = seconds["maintenance"] + seconds["down_planned"]
    installed = seconds["powered"] + seconds["down"] + planned
    return NodeTime(
        node=node, installed=installed / HOUR, down=seconds["down"] / HOUR, planned=planned / HOUR,
        unwatched=max(0.0, known_for - installed) / HOUR,
    )  # fmt: skip


def durations(names: Mapping[Kin, str], tally: Tally) -> list[Durations]:
    """Of all classes together, by group; by vendor where the series do not say which group."""
    times: dict[tuple[Measure, str, str], list[float]] = defaultdict(list)
    devices = {(p.kin.cluster, p.node, p.kin.vendor, p.device): p.kin for p in tally.seconds if p.kin in names}
    on_node = kins_of_nodes(names, tally)
    for (cluster, node, vendor, device, _class), seconds in tally.repairs.items():
        mine = devices.get((cluster, node, vendor, device))
        owners = {mine} if mine else on_node.get((cluster, node), set()) if vendor == HOST else set()
        for owner in owners if len(owners) == 1 else ():
            times[Measure.REPAIR, names[owner], owner.vendor] += seconds
    for (kin, _cause), seconds in tally.detects.items():
        of = owner_of(names, kin)
        group = (names[of], of.vendor) if of is not None else (kin.vendor or "all", kin.vendor)
        times[Measure.DETECT, *group] += seconds
    return [
        Durations(group=group, vendor=vendor, measure=measure, seconds=seconds)
        for (measure, group, vendor), seconds in sorted(times.items())
    ]


def lifetimes(names: Mapping[Kin, str], tally: Tally) -> list[Lifetime]:
    """By serial number. One that vanished with its whole node was not seen to fail."""
    last: dict[tuple[str, str], tuple[int, int]] = {}
    for one in tally.serials.values():
        key = one.kin.cluster, one.node
        last[key] = max(last.get(key, (-1, 0)), (one.last_day, one.last_samples))
    found = []
    for (_cluster, serial), one in sorted(tally.serials.items()):
        if one.kin not in names or one.first_day < 0:
            continue
        began, ended = tally.began(one.first_day, one.first_samples), tally.ended(one.last_day, one.last_samples)
        if one.first_day == one.last_day:
            # It may have gone long before the day's end: it was there from the day's beginning, or from its own.
            began = max(tally.window.start + one.first_day * DAY, one.installed)
            ended = min(tally.window.end, began + one.first_samples * tally.every)
        # Seen to begin: nobody watched it before because it was not there.
        entered = 0.0 if one.installed >= began - tally.every else (began - one.installed) / HOUR
        left = (ended - min(one.installed, began)) / HOUR
        if left <= entered:
            continue
        day, samples = last[one.kin.cluster, one.node]
        stayed = tally.ended(day, samples) - ended > tally.every
        for_a_fault = one.last_day - one.failed_day <= FAILED_WITHIN_DAYS if one.failed_day >= 0 else False
        was_down = one.down_day >= 0 and one.last_day - one.down_day <= 1
        found.append(
            Lifetime(
                group=names[one.kin], vendor=one.kin.vendor, serial=serial, entered=entered, left=left,
                failed=stayed and (for_a_fault or was_down),
            )
        )  # fmt: skip
    return found

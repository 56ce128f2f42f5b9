"""What a report has to say beside its figures: what is not known, not observable, or counted apart."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from accelwatch.reliability.cells import Fleet, Lifetime
from accelwatch.reliability.classes import known
from accelwatch.reliability.observed import WISH, compared, kins_of_nodes, owner_of, share_observable
from accelwatch.reliability.recorded import QUESTIONS, Match, left_out
from accelwatch.reliability.tally import Kin, Tally
from accelwatch.taxonomy.loader import load

HOUR = 3600.0
# Rules are evaluated once an hour: the first and the last of a window may miss one each.
TOLERATED_HOURS = 2.0
NAMED = 5
# npu-smi's names of cards with two dies, each of which it lists as a device of its own (sources/npu_smi.py).
TWO_DIES = re.compile(r"(Huawei )?(Ascend ?)?(910_93.*|910C.*)|Ascend ?910|.*\bA3\b.*", re.IGNORECASE)


def notes(
    names: Mapping[Kin, str],
    tally: Tally,
    fleets: Sequence[Fleet],
    lifetimes: Sequence[Lifetime],
    matches: Sequence[Match],
    warnings: Sequence[str],
) -> list[str]:
    """Sentences; the ones that change how the figures are to be read come first."""
    return [
        *(f"Prometheus warns that its answers may not be whole: {warning}" for warning in warnings),
        *_unrecorded(names, tally),
        *_unwatched(fleets),
        *_unobservable(names, tally),
        *_apart(names, tally),
        *_of_no_group(names, tally),
        *_filters(matches),
        *_devices(names, lifetimes),
        "Episodes are of one class on one device and at least 60 s apart; incidents (cascades joined to one) are not "
        "recorded by the hour and not in this report. A class with no event has a bound, never a rate of 0.",
    ]


def _unrecorded(names: Mapping[Kin, str], tally: Tally) -> Iterator[str]:
    window = tally.window.end - tally.window.start
    for cluster in sorted({kin.cluster for kin in names}):
        recorded = tally.recorded_seconds[cluster]
        missing = window - recorded
        if missing > TOLERATED_HOURS * tally.every:
            yield (
                f"{_cluster(cluster)}: nothing is recorded for {missing / HOUR:,.1f} of the window's "
                f"{window / HOUR:,.1f} hours (before the rules began, or while Prometheus or they stood still). What "
                "happened then is in no count and no exposure."
            )


def _unwatched(fleets: Sequence[Fleet]) -> Iterator[str]:
    for fleet in fleets:
        hours = {node.node: node.unwatched for node in fleet.nodes if node.unwatched > 1.0}
        if hours:
            worst = sorted(hours, key=lambda node: -hours[node])[:NAMED]
            more = f" and {len(hours) - NAMED} more" if len(hours) > NAMED else ""
            installed = sum(node.installed + node.unwatched for node in fleet.nodes)
            total = sum(hours.values())
            yield (
                f"{fleet.group}: for {total:,.0f} device-hours ({total / installed:.2%}) no agent "
                "answered or its source was "
                f"down: censored, neither up nor down, in no exposure ({', '.join(worst)}{more})."
            )


def _unobservable(names: Mapping[Kin, str], tally: Tally) -> Iterator[str]:
    never: dict[str, set[str]] = defaultdict(set)
    partly: dict[str, list[str]] = defaultdict(list)
    unrecorded = set()
    for kin, group in names.items():
        for class_ in filter(compared, load().classes):
            share = share_observable(tally, kin, class_)
            if (kin.cluster, kin.vendor, class_) not in tally.shares:
                unrecorded.add(group)
            if share == 0:
                never[kin.vendor].add(class_)
            elif share < 0.995:
                partly[group].append(f"{class_} ({share:.0%})")
    for vendor, classes in sorted(never.items()):
        yield (
            f"Not observable on {vendor}: {', '.join(sorted(classes))}. No rate is given, and none is "
            "compared; it is not 0."
        )
    for group, shares in partly.items():
        yield (
            f"{group}: some nodes cannot see {', '.join(shares)} (share of nodes and time that can): "
            "the rates of these "
            "classes are too low by as much."
        )
    if unrecorded:
        yield (
            f"{', '.join(sorted(unrecorded))}: what can be observed is not recorded for every class; "
            "there the taxonomy's "
            "word stands."
        )


def _apart(names: Mapping[Kin, str], tally: Tally) -> Iterator[str]:
    drills = sum(tally.drills.values())
    if drills:
        yield f"{drills} drills are counted apart: in no rate, in no interruption."
    planned = Counter[str]()
    for (kin, _class), count in tally.maintenance_episodes.items():
        planned[names.get(kin, kin.model or kin.vendor)] += count
    if planned:
        listed = ", ".join(f"{group} {count}" for group, count in sorted(planned.items()))
        yield f"Episodes during planned maintenance are counted apart, as its hours are: {listed}."
    symptoms = Counter[str]()
    for (_, class_), count in tally.episodes.items():
        if not compared(class_):
            symptoms[class_] += count
    for (_, _, class_), count in tally.host_episodes.items():
        if not compared(class_):
            symptoms[class_] += count
    if symptoms:
        listed = ", ".join(f"{class_} {count}" for class_, count in sorted(symptoms.items()))
        yield (
            "Symptoms are no faults of the device that shows them; interruptions tell of them. Not in "
            f"the rates: {listed}."
        )
    applications = sorted(name for name in load().classes if (of := known(name)) and of.kind.value == "application")
    yield f"Application errors stand with the rates for completeness and are no hardware: {', '.join(applications)}."


def _of_no_group(names: Mapping[Kin, str], tally: Tally) -> Iterator[str]:
    on_node = kins_of_nodes(names, tally)
    shared = sum(
        count
        for (cluster, node, class_), count in tally.host_episodes.items()
        if compared(class_) and len(on_node.get((cluster, node), ())) != 1
    )
    if shared:
        yield f"{shared} episodes of hosts whose devices are of no single model here are in no rate."
    nobody = sum(count for (kin, *_), count in tally.interruptions.items() if owner_of(names, kin) is None)
    if nobody:
        yield f"{nobody} interruptions name no vendor and model that stand here: in no rate."
    wishes = sum(count for (_, *how), count in tally.interruptions.items() if tuple(reversed(how)) == WISH)
    if wishes:
        yield (
            f"{wishes} runs were killed without any fault: perhaps by somebody's wish, so they are no "
            "interruptions here."
        )


def _filters(matches: Sequence[Match]) -> Iterator[str]:
    if matches:
        yield f"Only series with {', '.join(str(one) for one in matches)}."
    omitted = left_out(matches)
    if "host_episodes" in omitted:
        omitted.remove("host_episodes")
        yield "What befell hosts stands on no single device: so narrowed, it is in no rate."
    if omitted:
        listed = ", ".join(sorted({QUESTIONS[name].series for name in omitted}))
        yield f"Not recorded by these labels, and so not in this report: {listed}."


def _devices(names: Mapping[Kin, str], lifetimes: Sequence[Lifetime]) -> Iterator[str]:
    two = sorted({kin.model for kin in names if kin.vendor == "ascend" and TWO_DIES.fullmatch(kin.model)})
    if two:
        yield (
            f"{', '.join(two)}: a card has two dies, and each counts as a device, as npu-smi lists "
            "it; a rate per card is "
            "about twice the one given."
        )
    if len({kin.model for kin in names}) > 1:
        yield (
            "A device is what its vendor's tool lists: they differ in size, memory and load. Age, "
            "driver, cooling and job mix "
            "are not taken out; compare like with like by --match."
        )
    unnamed = sum(life.serial.count("/") >= 2 for life in lifetimes)
    if unnamed:
        yield (
            f"{unnamed} devices tell neither serial number nor UUID: a replaced one there is not told "
            "from its successor."
        )
    if lifetimes:
        yield (
            "Survival is by serial number. A device counts as failed when it left while its node "
            "stayed, within 7 days of a "
            "hardware fault that ends runs, or while it was down; else its time is censored. Times "
            "are exact to the hour."
        )


def _cluster(name: str) -> str:
    return f"Cluster {name}" if name else "The series without a cluster"

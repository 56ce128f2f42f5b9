"""What may be wrong with a node, and how urgent it is. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from accelwatch.prometheus_api import Sample
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.model import Kind, Notify

NodeKey = tuple[str, str]  # cluster, node


class Urgency(enum.IntEnum):
    """In which order they are looked at."""

    RUN_STRUCK = 0  # something that ends runs, and a run on it
    RUN_ENDING = 1
    SILENT = 2
    DEGRADING = 3
    SOURCE = 4
    MAINTENANCE = 5


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a node. `kind`: fault, device_down, health, silent, source, hang."""

    kind: str
    text: str
    urgency: Urgency
    vendor: str = ""
    device: str = ""
    class_: str = ""
    severity: str = ""
    code: str = ""
    source: str = ""
    run_id: str = ""
    since: float | None = None  # `None`: for longer than a day, or not known


class BadNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node and what is wrong with it, the worst first."""

    cluster: str
    node: str
    rack: str = ""
    vendor: str = ""
    items: tuple[Item, ...]
    run_id: str = ""
    maintenance_until: float | None = None

    @property
    def urgency(self) -> Urgency:
        """Of its worst item."""
        if self.maintenance_until is not None:
            return Urgency.MAINTENANCE
        worst = self.items[0].urgency
        return Urgency.RUN_STRUCK if worst <= Urgency.SILENT and self.run_id else worst


class Hang(msgspec.Struct, frozen=True, kw_only=True):
    """A run that hangs. `node` empty: unlocated."""

    cluster: str
    run_id: str
    attempt: str
    node: str = ""
    onset: float | None = None


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `nodes`: how many agents are scraped."""

    at: float
    clusters: tuple[str, ...]
    nodes: int
    bad: tuple[BadNode, ...]
    hangs: tuple[Hang, ...]
    rules: bool = True


def items_of(
    answers: Mapping[str, list[Sample]], silent: set[NodeKey], kinds: Mapping[str, Kind]
) -> dict[NodeKey, list[Item]]:
    """By node, from the answers to the questions of `bad_nodes`; none has its time yet, but for sources."""
    items: dict[NodeKey, list[Item]] = {}

    def add(sample: Sample, item: Item) -> None:
        items.setdefault(node_key(sample), []).append(item)

    for sample in answers["culprits"]:
        if sample["node"]:
            add(sample, _culprit(sample))
    others = {node_key(sample): sample.value for sample in answers["others"]}
    for sample in answers["up"]:
        if node_key(sample) in silent:
            add(sample, _silent(others.get(node_key(sample))))
    struck = set()
    # Of a silent node the rules keep what it had.
    for sample in (*answers["faults"], *(s for s in answers["kept"] if node_key(s) in silent)):
        if _matters(sample, kinds):
            struck.add((node_key(sample), sample["vendor"], sample["device"]))
            add(sample, _fault(sample))
    for name, kind, words, urgency in (
        ("down", "device_down", "does not answer its driver", Urgency.RUN_ENDING),
        ("health", "health", "reports an alarm", Urgency.DEGRADING),
    ):
        for sample in answers[name]:
            place = (node_key(sample), sample["vendor"], sample["device"])
            if place not in struck:
                struck.add(place)
                add(sample, _device(sample, kind, words, urgency))
    for sample in answers["sources"]:
        # Where a source never succeeded the value is that of `source_up`.
        since = sample.value or None
        text = f"nothing from {sample['source']}"
        add(
            sample,
            Item(kind="source", text=text, urgency=Urgency.SOURCE, source=sample["source"], since=since),
        )
    return items


def _matters(sample: Sample, kinds: Mapping[str, Kind]) -> bool:
    """Not an echo or a part of another's cascade, which reach nobody, nor the job's own doing."""
    return (
        sample["notify"] != Notify.NONE.value
        and sample["fault_severity"] != Severity.INFORMATIONAL.value
        and kinds.get(sample["class"]) is not Kind.APPLICATION
    )


def _silent(other: float | None) -> Item:
    """`other`: whether another exporter of the node answers; `None`: there is none."""
    text = "silent: dark, or its agent is down" if other is None else "its agent is silent" if other else "dark"
    return Item(kind="silent", text=text, urgency=Urgency.SILENT)


def _culprit(sample: Sample) -> Item:
    device = f", by {sample['vendor']} {sample['device']}" if sample["device"] else ""
    return Item(
        kind="hang",
        text=f"holds up run {sample['run_id']}{device} ({sample['rule']})",
        urgency=Urgency.RUN_ENDING,
        vendor=sample["vendor"],
        device=sample["device"],
        run_id=sample["run_id"],
    )


def _fault(sample: Sample) -> Item:
    where = f"{sample['vendor']} {sample['device']}" if sample["device"] else "host"
    code = f" [{sample['code']}]" if sample["code"] else ""
    ends = sample["fault_severity"] == Severity.RUN_ENDING.value
    return Item(
        kind="fault",
        text=f"{where}: {sample['class']}{code}, {sample['fault_severity']}",
        urgency=Urgency.RUN_ENDING if ends else Urgency.DEGRADING,
        vendor=sample["vendor"],
        device=sample["device"],
        class_=sample["class"],
        severity=sample["fault_severity"],
        code=sample["code"],
        run_id=sample["run_id"],
    )


def _device(sample: Sample, kind: str, words: str, urgency: Urgency) -> Item:
    vendor, device = sample["vendor"], sample["device"]
    return Item(kind=kind, text=f"{vendor} {device} {words}", urgency=urgency, vendor=vendor, device=device)


def node_key(sample: Sample) -> NodeKey:
    """Cluster and node of a series."""
    return sample["cluster"], sample["node"]

"""Runs as their nodes' pages and the recording rules tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_history import History

CLUSTER = "c1"
NVIDIA, ASCEND = ("nvidia", "H100"), ("ascend", "910B3")


class Run:
    """A run of eight devices a node; `start` and `end` are what Prometheus saw of it."""

    def __init__(
        self, history: History, run_id: str, nodes: Sequence[str], start: float, end: float, *, attempt: str = "0",
        vendor: tuple[str, str] = NVIDIA, world_size: int | None = None,
    ) -> None:  # fmt: skip
        self.history, self.nodes, self.start, self.end = history, nodes, start, end
        self.vendor, self.model = vendor
        self.of_run = {"cluster": CLUSTER, "run_id": run_id, "attempt": attempt}
        self.run_id = run_id
        self.size = 8 * len(nodes) if world_size is None else world_size

    def page(self, node: str, end: float | None = None, stopped: Mapping[str, float] | None = None) -> None:
        """Its node's page until `end`. `stopped`: last progress by device; the others work all the time."""
        until = self.end if end is None else end
        at = {**self.of_run, "node": node, "rack": f"r-{node[:2]}"}
        add = self.history.add
        add("accelwatch_run_devices", at, self.start, until, 8)
        add("accelwatch_run_world_size", at, self.start, until, self.size)
        add("accelwatch_run_info", {**at, "launcher": "slurm", "rank0": "false"}, self.start, until, 1)
        for number in range(8):
            device = {"vendor": self.vendor, "device": str(number), "model": self.model}
            identity = {"node": node, "cluster": CLUSTER, "rack": at["rack"], **device}
            more = {"serial": f"{node}-{number}", "pci": f"0000:{number:02x}:00.0", "uuid": f"GPU-{node}-{number}"}
            add("accelwatch_device_info", {**identity, **more}, self.start, until, 1)
            name = "accelwatch_device_last_progress_timestamp_seconds"
            last = (stopped or {}).get(str(number))
            add(name, {**at, **device}, self.start, until if last is None else min(last, until))
            if last is not None:
                first = self.start + 15 * -(-(last - self.start) // 15)
                add(name, {**at, **device}, first, until, last)

    def rules(self, end: float | None = None) -> None:
        """What is recorded of a run that goes on."""
        until = self.end if end is None else end
        self.history.add("accelwatch:run:devices", self.of_run, self.start, until, 8 * len(self.nodes))
        self.history.add("accelwatch:hang:tie_seconds", self.of_run, self.start, until, 5)

    def hangs(self, start: float, onset: float, culprit: Mapping[str, str], level: int = 2) -> None:
        """What is recorded of a run that stands still, until the end."""
        self.history.add("accelwatch:run:stalled", self.of_run, start, self.end, level)
        self.history.add("accelwatch:run:onset_timestamp_seconds", self.of_run, start, self.end, onset)
        self.history.add("accelwatch:run:culprit", {**self.of_run, **culprit}, start, self.end, 1)

    def ended(self, node: str, at: float, outcome: str, until: float, lost: float) -> None:
        """The node's page after its end."""
        of_node = {**self.of_run, "node": node}
        whose = {"vendor": self.vendor, "model": self.model}
        self.history.add(
            "accelwatch_run_end_timestamp_seconds", {**of_node, **whose, "outcome": outcome}, at, until, at
        )
        self.history.add("accelwatch_run_lost_device_seconds", of_node, at, until, lost)

    def interrupted(
        self, end: float, outcome: str, cause: Mapping[str, str], at: float, lost: float, until: float
    ) -> None:
        """What is recorded of its interruption."""
        add = self.history.add
        add("accelwatch:run_interruption:end_timestamp_seconds", {**self.of_run, "outcome": outcome}, end, until, end)
        labels = {**self.of_run, "outcome": outcome, **cause}
        add("accelwatch:run_interruption:cause_timestamp_seconds", labels, end, until, at)
        add("accelwatch:run_interruption:lost_device_seconds", self.of_run, end, until, lost)


def fault(
    history: History, node: str, start: float, end: float, *, class_: str, severity: str = "run_ending", code: str = "",
    device: str = "", run_id: str = "", vendor: tuple[str, str] = NVIDIA, drill: str = "",
) -> None:  # fmt: skip
    """Active from `start` to `end`, then 0 for half an hour."""
    labels = {
        "cluster": CLUSTER, "node": node, "rack": f"r-{node[:2]}", "vendor": vendor[0], "device": device,
        "model": vendor[1] if device else "", "class": class_, "fault_severity": severity, "code": code,
        "incident": f"i-{node}-{start:.0f}", "run_id": run_id, "notify": "page", "drill": drill,
    }  # fmt: skip
    history.add("accelwatch_fault_active", labels, start, end, 1)
    history.add("accelwatch_fault_active", labels, end, end + 1800, 0)

"""One run of the fleet: where its ranks are, how they begin, stand still and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accelwatch.simulator.fleet.host import Host, Rank
from accelwatch.simulator.launch import Place

SIGABRT, SIGKILL, SIGTERM = 6, 9, 15
# A checkpoint so often, for so long.
SAVE_EVERY_SECONDS, SAVE_SECONDS = 1800.0, 20.0
# How the rank that the others wait for differs from them: they spin on NVIDIA and are quiet on Ascend.
_CULPRIT = {"nvidia": "quiet", "ascend": "spin"}
# Ends of peers are told this long after the first, one after the other.
_LATE_SECONDS, _APART_SECONDS = 0.5, 0.001


@dataclass
class Run:
    """`devices`: node and device of each rank, in the order of ranks. Times are seconds of the fleet."""

    id: str
    devices: list[tuple[str, int]]
    launcher: str = "slurm"
    partition: str = "train"
    world: int | None = None
    first_rank: int = 0
    master: str | None = None
    attempt: int = 0
    until: float | None = None  # ends well then
    end: str = "completed"  # how it is to end then: completed, failed, killed
    by_hand: bool = False
    started: float = 0.0
    hung_at: float | None = None
    restart_at: float | None = None  # ended, and begins anew then
    pids: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Ranks of the whole run."""
        return self.world or len(self.devices)

    @property
    def nodes(self) -> list[str]:
        """Each once, in the order of ranks."""
        return list(dict.fromkeys(node for node, _ in self.devices))

    def start(self, hosts: Mapping[str, Host], now: float) -> None:
        """Its ranks begin."""
        self.started, self.hung_at, self.restart_at = now, None, None
        local: dict[str, int] = {}
        counts = {name: sum(node == name for node, _ in self.devices) for name in self.nodes}
        for number, (node, device) in enumerate(self.devices):
            place = Place(self.first_rank + number, self.size, local.get(node, 0), counts[node])
            local[node] = place.local + 1
            self.pids[node, device] = hosts[node].launch(
                self.id,
                self.launcher,
                device,
                place,
                master=self.master or self.nodes[0],
                restarted=self.attempt,
                partition=self.partition,
            )

    def ranks(self, hosts: Mapping[str, Host]) -> list[tuple[str, Rank]]:
        """Those that are still there, with their node."""
        found = ((node, hosts[node].ranks.get(pid)) for (node, _), pid in self.pids.items())
        return [(node, rank) for node, rank in found if rank is not None]

    def work(self, hosts: Mapping[str, Host], now: float) -> None:
        """What its ranks do while nothing holds them up: they train, and save at times."""
        phase = "save" if (now - self.started) % (SAVE_EVERY_SECONDS + SAVE_SECONDS) >= SAVE_EVERY_SECONDS else "train"
        for _, rank in self.ranks(hosts):
            if rank.phase in ("train", "save"):
                rank.phase = phase

    def hang(self, hosts: Mapping[str, Host], now: float, culprit: tuple[str, int] | None = None) -> None:
        """All ranks wait for one that does not come. Raises `ValueError` when the culprit is not of the run."""
        if culprit is not None and culprit not in self.pids:
            raise ValueError(f"run {self.id} has no device {culprit[1]} of node {culprit[0]}")
        self.hung_at = now
        for node, rank in self.ranks(hosts):
            own = culprit == (node, rank.device)
            rank.phase = _CULPRIT[hosts[node].spec.vendor] if own else "hang"

    def resume(self, hosts: Mapping[str, Host]) -> None:
        """The ranks work again."""
        self.hung_at = None
        for _, rank in self.ranks(hosts):
            rank.phase = "train"

    def finish(self, hosts: Mapping[str, Host], how: str, first: tuple[str, int] | None = None) -> None:
        """All ranks end: `completed` (status 0), `failed` (`first` aborts, the launcher ends the others), `killed`."""
        ranks = self.ranks(hosts)
        ranks.sort(key=lambda item: (item[0], item[1].device) != first)
        for number, (node, rank) in enumerate(ranks):
            pid = rank.process.pid
            if how == "completed":
                hosts[node].kill(pid, code=0)
            elif how == "failed" and number == 0:
                hosts[node].kill(pid, signal=SIGABRT)
            else:
                late = 0.0 if how == "killed" else _LATE_SECONDS
                hosts[node].kill(pid, signal=SIGTERM, late=late + number * _APART_SECONDS)
        self.pids.clear()

"""One host of the fleet: its hardware, the ranks that run on it, the faults that strike it, as time goes on.

Sums (energy, packets, processor time) grow by what each stretch of time adds, and of a fault that is over only what it
leaves behind is kept, so that a host which has run for months costs no more than a new one.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from accelwatch.config import Duration
from accelwatch.simulator.faults import KINDS
from accelwatch.simulator.launch import LAUNCHERS, Place, cgroup, environment
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Phase
from accelwatch.simulator.state import AscendDevice, Device, Node, NvidiaDevice, Process, ProcessEnd
from accelwatch.simulator.work import load
from accelwatch.simulator.world import active, context, energy_joules, hardware, show, strike

# Of a port's history `hccn_tool -link_stat` prints ten records.
_HISTORY = 16
_FIRST_PID = 20_000


@dataclass
class Rank:
    """A process of a run, on one device. `phase`: what it does now (see `scenario.Phase`)."""

    process: Process
    run: str
    device: int
    phase: str = "train"


class Host:
    """Not for several threads at once. Times are seconds of the fleet."""

    def __init__(self, spec: NodeSpec, start: float) -> None:
        """`start`: wall time of second 0."""
        self.spec = spec
        self.ranks: dict[int, Rank] = {}  # by pid
        self.faults: dict[int, FaultSpec] = {}  # by number, those that are present
        self.ends: list[ProcessEnd] = []  # not told yet
        self.lines: list[str] = []  # of the kernel log, not told yet
        self.boots = 0
        self.changed = True  # more than load and time since the last look
        self._base = hardware(spec)
        self._start = start
        self._joules = [0.0] * spec.devices
        self._launchers: dict[str, Process] = {}  # by run
        self._pids = itertools.count(_FIRST_PID)
        self._random = random.Random(spec.name)
        self.now = 0.0

    @property
    def devices(self) -> Sequence[Device]:
        """All of them, in the order of their index."""
        return [*self._base.nvidia, *self._base.ascend]

    def holders(self, device: int) -> list[Rank]:
        """Who runs on a device."""
        return [rank for rank in self.ranks.values() if rank.device == device]

    def advance(self, now: float) -> None:
        """Time passes; what the ranks do now they did since the last call."""
        seconds, self.now = now - self.now, now
        for number, fault in list(self.faults.items()):
            if not active(fault, now):
                self._over(number, fault)
        for device in self.devices:
            phase = self._phase(device)
            asked = load(self.spec.vendor, phase)
            packets = int(asked.packets * seconds)
            for link in device.links:
                link.packets += packets
            if isinstance(device, NvidiaDevice):
                self._joules[device.index] += energy_joules(self.spec, seconds, asked.share * seconds)
                device.energy_millijoules = int(self._joules[device.index] * 1000)
                device.memory_utilization_percent = float(asked.memory)
            elif isinstance(device, AscendDevice) and device.roce is not None:
                device.roce.packets += packets
                del device.roce.history[:-_HISTORY]
            for rank in self.holders(device.index):
                doing = load(self.spec.vendor, Phase(phase=rank.phase))  # type: ignore[arg-type]
                rank.process.cpu_seconds += doing.cpu * seconds
                rank.process.read_bytes += int(doing.read * seconds)
                rank.process.written_bytes += int(doing.written * seconds)
                rank.process.state = "R" if doing.cpu >= 0.5 else "S"
            show(device, self.spec, phase, asked.share, self._random.uniform(-1, 1))
            device.processes = [rank.process for rank in self.holders(device.index)]
        for port, device in zip(self._base.rdma, self.devices, strict=False):
            port.packets = device.links[0].packets if device.links else 0

    def state(self) -> Node:
        """The true state now; not to be kept, nor changed. Raises `ValueError` for a fault that does not fit."""
        if not self.faults:
            node = self._base
        else:
            node = copy.deepcopy(self._base)
            for fault in sorted(self.faults.values(), key=lambda fault: fault.at):
                strike(node, fault, self.now)
        node.now, node.wall = self.now, self._start + self.now
        return node

    # --- faults

    def begin(self, number: int, fault: FaultSpec) -> None:
        """A fault begins. Raises `ValueError` where it does not fit."""
        self.fits(fault)
        self.faults[number] = fault
        node = self.state()
        self.lines += KINDS[fault.fault].lines(context(node, fault, self.now))
        self.changed = True
        if fault.fault == "hang":
            self._halt(fault, str(fault.parameters.get("kind", "hang")))
        elif fault.fault == "process_death":
            self._die(fault)
        elif KINDS[fault.fault].reboots:
            self.reboot()

    def fits(self, fault: FaultSpec) -> None:
        """Raises `ValueError` where the fault cannot be on this host."""
        strike(copy.deepcopy(self._base), fault, self.now)

    def end(self, number: int) -> bool:
        """It is over now; False when there is none such."""
        fault = self.faults.get(number)
        if fault is None:
            return False
        self._over(number, msgspec.structs.replace(fault, clear_after=Duration(self.now - fault.at)))
        return True

    def _over(self, number: int, fault: FaultSpec) -> None:
        del self.faults[number]
        strike(self._base, fault, max(self.now, float(fault.at) + float(fault.clear_after or 0)))
        if fault.fault == "hang":
            self._halt(fault, "train")
        self.changed = True

    def _halt(self, fault: FaultSpec, phase: str) -> None:
        for rank in self.ranks.values():
            if fault.device in (None, rank.device):
                rank.phase = phase

    def _die(self, fault: FaultSpec) -> None:
        """As the fault says; of a whole node the first process, the launcher then ends the others."""
        struck = [rank for rank in self.ranks.values() if fault.device in (None, rank.device)]
        number = int(fault.parameters.get("signal", 0))
        for place, rank in enumerate(struck):
            if place:
                self.kill(rank.process.pid, signal=15, late=place / 1000)
            elif number:
                self.kill(rank.process.pid, signal=number)
            else:
                self.kill(rank.process.pid, code=int(fault.parameters.get("code", 1)))

    # --- work

    def launch(
        self, run: str, launcher: str, device: int, place: Place, *, master: str, restarted: int, partition: str
    ) -> int:
        """A rank begins on a device; gives its pid."""
        parent = self._launchers.get(run)
        if parent is None:
            name = LAUNCHERS[launcher]
            parent = Process(next(self._pids), name, 0, cpu_seconds=1.0, started=self.now, state="S")
            self._launchers[run] = parent
            self._base.launchers.append(parent)
        pid = next(self._pids)
        memory = (int(self.devices[device].memory_total_mib * 0.86) - 1024) << 20
        self.ranks[pid] = Rank(
            Process(
                pid,
                "python3",
                memory,
                environment(launcher, run, place, master=master, restarted=restarted, partition=partition),
                started=self.now,
                parent=parent.pid,
                cgroup=cgroup(launcher, run, self.spec.name, place.local),
            ),
            run,
            device,
        )
        self.changed = True
        return pid

    def kill(self, pid: int, *, code: int | None = None, signal: int | None = None, late: float = 0.0) -> None:
        """A rank ends, with a code or by a signal, `late` seconds from now."""
        rank = self.ranks.pop(pid, None)
        if rank is None:
            return
        self.ends.append(ProcessEnd(pid, code, signal, self.now + late))
        if not any(other.run == rank.run for other in self.ranks.values()):
            self._base.launchers.remove(self._launchers.pop(rank.run))
        self.changed = True

    def reboot(self) -> None:
        """The host boots anew: its ranks are gone without a word, what drivers count since their load begins at 0."""
        self.ranks.clear()
        self.ends.clear()
        self._launchers.clear()
        self._base.launchers.clear()
        self.boots += 1
        for index, gpu in enumerate(self._base.nvidia):
            self._joules[index] = 0.0
            gpu.ecc_volatile.clear()
            gpu.xid_events.clear()
            gpu.pcie_replays = 0
        for device in self.devices:
            for link in device.links:
                link.errors = dict.fromkeys(link.errors, 0)
        self.changed = True

    def _phase(self, device: Device) -> Phase:
        """Of several ranks on a device the first one's."""
        doing = next((rank.phase for rank in self.ranks.values() if rank.device == device.index), "idle")
        return Phase(phase=doing)  # type: ignore[arg-type]

"""Agents that are killed with SIGKILL at random moments while faults are injected, and whose nodes boot anew.

At the end each fault is in the journal once, counters have never fallen, and each numbered line of the kernel log has
been counted once.
"""

from __future__ import annotations

import collections
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from accelwatch.simulator.scenario import FaultSpec, NodeSpec
from campaign.fleet import Fleet

NODES = (
    NodeSpec(name="nv-1", vendor="nvidia", family="hopper"), NodeSpec(name="as-1", vendor="ascend", family="910B", devices=4),
)  # fmt: skip
# Signs of a class on a device within 60 s are one episode; a line that was written while the agent was down is dated
# by the youngest one of its backlog, which may be some seconds late.
APART_SECONDS = 80.0
# The slowest tier that a fault here is read by (npu_smi, six polls), twice, and a start of the agent.
SETTLE_SECONDS = 60.0
# An agent that is killed before it comes to ask for the codes says so of a card in alarm, and is right.
UNREAD = "its codes cannot be read"
NUMBERED_CLASS = "pcie_host_link"
# A counter that grew twice between two readings shows one growth: here the sum is what has to be right.
COUNTED_CLASS, COUNTED_ERRORS = "mem_correctable", 2
# Counters of the agent's own process begin at 0 with it, as Prometheus expects of a restart.
OWN = (
    "accelwatch_source_", "accelwatch_kernel_log_", "accelwatch_page_render_", "accelwatch_faults_unjournalled_",
    "process_", "python_",
)  # fmt: skip

# (fault, parameters, class, whether it lasts: then each device has it once and keeps it)
Kill = tuple[str, Mapping[str, str | int], str, bool]
_EVENTS: Mapping[str, tuple[Kill, ...]] = {
    "nvidia": (
        *(("xid", {"xid": number}, class_, False) for number, class_ in (
            (13, "app_device_exception"), (46, "compute_engine"), (95, "mem_uncorrectable"), (63, "mem_repair"),
            (74, "intra_node_link"), (140, "onchip_sram"), (120, "control_processor"), (32, "driver_software"), (937, "unknown"),
        )),
        ("ecc_corrected", {"count": COUNTED_ERRORS}, "mem_correctable", False),
        ("thermal", {}, "thermal", True), ("power_brake", {}, "power", True),
    ),
    "ascend": (
        ("kernel_line", {"text": "[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/0:1> Heartbeat lost! (device={number}; old_count=1204; lost_count=4)"}, "device_lost", False),
        ("kernel_line", {"text": "[ascend] [ERROR] [event_sched] [esched_wait 221] Wait event timeout. (devid={number}; wait_time=30000)"}, "driver_software", False),
        ("kernel_line", {"text": "[ascend] [drv_dfx] device_id={number}, Event id=0x80C98000, assertion=1"}, "compute_engine", False),
        ("ecc_corrected", {"count": COUNTED_ERRORS}, "mem_correctable", False),
        *(("error_code", {"code": code}, class_, True) for code, class_ in (
            ("80E21007", "power"), ("80E00209", "thermal"), ("80E18401", "mem_repair"), ("80FA4E00", "control_processor"),
            ("80818C00", "silent_corruption"), ("80A38008", "onchip_sram"),
        )),
    ),
}  # fmt: skip
_CODED = frozenset(class_ for fault, _, class_, _ in _EVENTS["ascend"] if fault == "error_code")
_HOST: tuple[Kill, ...] = (
    ("kernel_line", {"text": "mce: [Hardware Error]: CPU 4: Machine Check Exception: 5 Bank 7: be00000000800400"}, "host", False),
    ("kernel_line", {"text": "nfs: server 10.1.2.3 not responding, still trying"}, "storage", False),
)  # fmt: skip


class Victim:
    """One node, in a thread of its own."""

    def __init__(self, fleet: Fleet, node: str, seed: int, say: Callable[[str], None]) -> None:
        self.fleet, self.node, self._say = fleet, node, say
        self.random = random.Random(f"{seed} {node}")
        self.kills = self.reboots = self.lines = self.episodes = self.unread = 0
        self.injected: collections.Counter[tuple[str, str]] = collections.Counter()  # (class, device or "")
        self.numbered: collections.Counter[str] = collections.Counter()  # lines by device
        self.flaws: list[str] = []
        self.waits: list[float] = []  # from start to the first page
        self._last: dict[tuple[str, str], float] = {}
        self._page: dict[str, float] = {}
        self._stop = threading.Event()
        self._writing = threading.Lock()

    def run(self, kills: int, reboots: int) -> None:
        """All of it. The agent must not run yet."""
        self._up()
        time.sleep(20.0)  # what is there at the first start is not news
        writer = threading.Thread(target=self._write, daemon=True)
        writer.start()
        boots = sorted(self.random.sample(range(1, kills), min(reboots, kills - 1)))
        for number in range(kills):
            if boots and number == boots[0]:
                boots.pop(0)
                self._boot_anew()
            else:
                self._kill()
        self._stop.set()
        writer.join()
        time.sleep(SETTLE_SECONDS)
        self._compare("at the end")
        self._judge()

    # --- kills

    def _kill(self) -> None:
        """At a random moment: most while it runs, some while it starts."""
        starting = self.random.random() < 0.25
        time.sleep(self.random.uniform(0.0, 4.0))
        self._compare("before a kill")
        self.fleet.kill(self.node)
        self.kills += 1
        time.sleep(self.random.uniform(0.0, 2.0))
        if starting:
            self.fleet.start(self.node)
            time.sleep(self.random.uniform(0.0, 1.5))
            self.fleet.kill(self.node)
            self.kills += 1
        self._up()
        self._compare(f"after kill {self.kills}")

    def _boot_anew(self) -> None:
        """What no agent had read of the old log is lost with the boot, as on any host: it has read all."""
        with self._writing:
            time.sleep(4.0)
            self._compare("before a reboot")
            self.fleet.kill(self.node)
            self.kills += 1
            self.fleet.hardware.inject(FaultSpec(fault="reboot", node=self.node))
            self.reboots += 1
        self._up()
        self._compare(f"after reboot {self.reboots}")

    def _up(self) -> None:
        began = time.monotonic()
        self.fleet.start(self.node)
        while time.monotonic() < began + 30:
            try:
                self.fleet.page(self.node)
            except OSError:
                time.sleep(0.05)
            else:
                self.waits.append(time.monotonic() - began)
                return
        raise RuntimeError(f"{self.node}: the agent has no page 30 s after its start; see {self.node}.log")

    def _compare(self, when: str) -> None:
        """Every counter that is kept is at or above what was served before."""
        page = {n: v for n, v in self.fleet.series(self.node).items() if n.partition("{")[0].endswith("_total") and not n.startswith(OWN)}  # fmt: skip
        for name, before in self._page.items():
            after = page.get(name)
            if after is None or after < before:
                self.flaws.append(
                    f"{self.node} {when}: {name} was {before:g} and is {'gone' if after is None else f'{after:g}'}"
                )
        self._page = page

    # --- faults

    def _write(self) -> None:
        """Numbered lines, and faults."""
        spec = self.fleet.specs[self.node]
        while not self._stop.is_set():
            with self._writing:
                self._number(spec)
                if self.random.random() < 0.3:
                    self._inject(spec)
            time.sleep(self.random.uniform(0.1, 0.4))

    def _number(self, spec: NodeSpec) -> None:
        device = self.lines % spec.devices
        state = self.fleet.hardware.state(self.node)
        pci = (state["nvidia"] or state["ascend"])[device]["pci"]
        driver = "nvidia" if spec.vendor == "nvidia" else "devdrv_device_driver"
        text = f"{driver} {pci}: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID) {self.lines}"
        self.fleet.hardware.inject(FaultSpec(fault="kernel_line", node=self.node, parameters={"text": text}))
        self.lines += 1
        self.numbered[str(device)] += 1

    def _inject(self, spec: NodeSpec) -> None:
        now = time.monotonic()
        fits = [(kill, str(device)) for kill in _EVENTS[spec.vendor] for device in range(spec.devices)]
        if self.random.random() < 0.1:
            fits = [(kill, "") for kill in _HOST]
        fits = [
            (kill, device)
            for kill, device in fits
            if (last := self._last.get((kill[2], device))) is None or (not kill[3] and now - last > APART_SECONDS)
        ]
        if not fits:
            return
        (fault, parameters, class_, _), device = self.random.choice(fits)
        filled = {k: v.format(number=device) if isinstance(v, str) else v for k, v in parameters.items()}
        self._last[(class_, device)] = now
        self.injected[(class_, device)] += 1
        self.fleet.hardware.inject(
            FaultSpec(fault=fault, node=self.node, device=int(device) if device else None, parameters=filled)
        )

    # --- the end

    def _judge(self) -> None:
        """The journal against what was injected."""
        found: collections.Counter[tuple[str, str]] = collections.Counter()
        numbered: collections.Counter[str] = collections.Counter()
        errors: collections.Counter[str] = collections.Counter()
        coded = {device for class_, device in self.injected if class_ in _CODED}
        for episode in self.fleet.faults(self.node):
            where = episode.device if episode.device is not None else episode.place or ""
            if episode.historical:
                self.flaws.append(f"{self.node} {where}: historical: {episode.message}")
            if episode.class_ == NUMBERED_CLASS:
                numbered[where] += episode.count
            elif episode.class_ == "unknown" and UNREAD in episode.message and (episode.device or "") in coded:
                self.unread += 1
            elif episode.class_ == COUNTED_CLASS:
                errors[where] += episode.count
            else:
                found[(episode.class_, where)] += 1
        counted = {key[1]: times * COUNTED_ERRORS for key, times in self.injected.items() if key[0] == COUNTED_CLASS}
        for device in sorted(counted.keys() | errors.keys()):
            if counted.get(device, 0) != errors[device]:
                self.flaws.append(
                    f"{self.node} {device} {COUNTED_CLASS}: {counted.get(device, 0)} errors, {errors[device]} counted"
                )
        for key in sorted(key for key in self.injected.keys() | found.keys() if key[0] != COUNTED_CLASS):
            if self.injected[key] != found[key]:
                self.flaws.append(
                    f"{self.node} {key[1] or 'host'} {key[0]}: {self.injected[key]} injected, {found[key]} episodes"
                )
        for device in sorted(self.numbered.keys() | numbered.keys()):
            if self.numbered[device] != numbered[device]:
                self.flaws.append(
                    f"{self.node} {device}: {self.numbered[device]} numbered lines, {numbered[device]} counted"
                )
        self.episodes = sum(found.values())


def run(fleet: Fleet, seed: int, kills: int, reboots: int, report: Path, say: Callable[[str], None]) -> list[str]:
    """`kills` over all nodes; gives what is wrong."""
    victims = [Victim(fleet, node, seed, say) for node in fleet.specs]
    each = -(-kills // len(victims))
    problems: list[str] = []

    def guarded(victim: Victim) -> None:
        try:
            victim.run(each, reboots)
        except Exception as error:  # noqa: BLE001 - of a thread: told by the caller
            problems.append(f"{victim.node}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(victim,)) for victim in victims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems += [flaw for victim in victims for flaw in victim.flaws]
    for victim in victims:
        say(
            f"{victim.node}: {victim.kills} kills, {victim.reboots} reboots, {sum(victim.injected.values())} faults, "
            f"{victim.lines} numbered lines, {victim.unread} alarms whose codes were not read in time, first page after {max(victim.waits, default=0):.1f} s at most"
        )
    document = {
        "seed": seed, "kills": sum(v.kills for v in victims), "reboots": sum(v.reboots for v in victims),
        "faults": sum(sum(v.injected.values()) for v in victims), "lines": sum(v.lines for v in victims), "failures": problems,
    }  # fmt: skip
    report.mkdir(parents=True, exist_ok=True)
    (report / "kills.json").write_text(json.dumps(document, indent=1))
    return problems

"""Simulated hosts in a process of their own: `hosts.py DIRECTORY DEVICES NODE=PORT...`, until its input ends.

A node's name says what it is: `nvidia-healthy`, `ascend-storm`. What is a file on a simulated host is a FIFO here where
the real thing wakes its reader (`/dev/kmsg`, process events): an agent has to look into files several times a second.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

from accelwatch.clock import SystemClock
from accelwatch.simulator.faults_nvidia import xid_text
from accelwatch.simulator.hardware import Hardware
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Scenario
from accelwatch.sources.process_events import EXITS_FILE

FAMILIES = {"nvidia": "hopper", "ascend": "A3"}
# As often as the fastest source reads: what moves in between nobody sees.
TICK_SECONDS = 1.0
# Each device of a storm has a line of the kernel log every so many seconds.
LINE_SECONDS = 4
XIDS = (31, 43, 13, 94, 63, 74)
_READ_WRITE = os.O_RDWR | os.O_CLOEXEC


def node_spec(name: str, devices: int) -> NodeSpec:
    """The node of a name."""
    vendor = name.partition("-")[0]
    return NodeSpec(name=name, vendor=vendor, family=FAMILIES[vendor], devices=devices)  # type: ignore[arg-type]


def storm(node: NodeSpec) -> list[FaultSpec]:
    """Every device counts errors and is too hot; of each four one is to be repaired, of each eight one loses a link."""
    faults = []
    for device in range(node.devices):
        kinds: dict[str, dict[str, str | int | float]] = {
            "ecc_corrected": {"per_second": 1},
            "link_errors": {"per_second": 10},
            "thermal": {},
        }
        if device % 4 == 0 and node.vendor == "nvidia":
            kinds["row_remap"] = {}
        if device % 4 == 0 and node.vendor == "ascend":
            kinds["error_code"] = {"code": "80E01801"}
        if device % 8 == 1:
            kinds["link_flap"] = {"link": 1}
        faults += [FaultSpec(fault=kind, node=node.name, device=device, parameters=p) for kind, p in kinds.items()]
    return faults


def lines(hardware: Hardware, name: str, second: int) -> list[str]:
    """What the kernel log of a storm gets in a second. NPUs tell little there: a line for each eighth device."""
    state = hardware.state(name)
    struck = [device for device in (*state["nvidia"], *state["ascend"]) if device["index"] % LINE_SECONDS == second % 4]
    if state["nvidia"]:
        xid = XIDS[second // LINE_SECONDS % len(XIDS)]
        return [f"NVRM: Xid (PCI:{d['pci'].rpartition('.')[0]}): {xid}, {xid_text(xid)}" for d in struck]
    return [
        f"[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/0:1> Heartbeat lost! (device={d['phy_id']};"
        f" old_count={second}; lost_count=4)"
        for d in struck
        if d["index"] % 8 == 0
    ]


def hold_fifos(home: Path) -> list[int]:
    """Puts FIFOs in place, and holds them open: a writer never waits for a reader that is not there yet."""
    (home / "kmsg").unlink()
    (home / "proc").mkdir(exist_ok=True)
    descriptors = []
    for path in (home / "kmsg", home / "proc" / EXITS_FILE):
        os.mkfifo(path)
        descriptors.append(os.open(path, _READ_WRITE))
    return descriptors


def main() -> None:
    """Says `ready` when the hosts are there."""
    directory, devices = Path(sys.argv[1]), int(sys.argv[2])
    wanted = dict(word.split("=") for word in sys.argv[3:])
    nodes = tuple(node_spec(name, devices) for name in wanted)
    stormy = [node for node in nodes if node.name.endswith("-storm")]
    scenario = Scenario(nodes=nodes, faults=tuple(itertools.chain.from_iterable(map(storm, stormy))))
    ports = [int(port) for port in wanted.values()]
    hardware = Hardware(scenario, directory, SystemClock(), ports, TICK_SECONDS)
    held = [descriptor for node in nodes for descriptor in hold_fifos(directory / node.name)]
    hardware.start()
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("ready", flush=True)
    for second in itertools.count():
        if over.wait(1.0):
            break
        for node in stormy:
            hardware.kernel_lines(node.name, lines(hardware, node.name, second))
    hardware.close()
    for descriptor in held:
        os.close(descriptor)


if __name__ == "__main__":
    main()

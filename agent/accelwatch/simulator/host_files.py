"""What a simulated host shows besides its accelerators: kernel log, /proc, RDMA ports, and a configuration."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import yaml

from accelwatch.simulator.scenario import NodeSpec
from accelwatch.simulator.state import AscendDevice, Node, Process, RdmaPort
from accelwatch.sources.process_events import EXITS_FILE

_BOOTED_BEFORE = 86400.0
_TICKS = os.sysconf("SC_CLK_TCK")
_COUNTERS = (
    "symbol_error",
    "port_rcv_errors",
    "port_xmit_discards",
    "link_error_recovery",
    "local_link_integrity_errors",
)
_HW_COUNTERS = ("out_of_sequence", "packet_seq_err", "local_ack_timeout_err", "rnr_nak_retry_err")


class HostFiles:
    """The directory of one node."""

    def __init__(self, directory: Path, spec: NodeSpec, port: int) -> None:
        """Writes what does not change."""
        self.directory = directory
        self._sequence = 1000
        self._booted = -_BOOTED_BEFORE  # scenario seconds
        self._pids: set[int] = set()
        self._ended: set[int] = set()
        self._vendor = spec.vendor
        (directory / "kmsg").write_bytes(b"")
        if (directory / "proc").is_dir():
            _remove(directory / "proc")
        (directory / "sys" / "class" / "infiniband").mkdir(parents=True, exist_ok=True)
        self._written: dict[Path, str] = {}
        self._configuration(spec, port)

    def write(self, node: Node) -> None:
        """Processes, RDMA ports and NPUs on PCI as they are now."""
        self._processes(node)
        for port in node.rdma:
            self._rdma(port)
        for device in node.ascend:
            self._pci(device)

    def _pci(self, device: AscendDevice) -> None:
        """What sysfs shows of an accelerator, if it is on PCI; one that is gone has no directory."""
        home = self.directory / "sys" / "bus" / "pci" / "devices" / device.pci
        if not device.pci:
            return
        if device.present:
            home.mkdir(parents=True, exist_ok=True)
            for name, text in (("vendor", "0x19e5"), ("class", "0x120000"), ("device", "0xd802")):
                self._put(home / name, text + "\n")
        elif home.is_dir():
            self._written = {path: text for path, text in self._written.items() if home not in path.parents}
            _remove(home)

    def _processes(self, node: Node) -> None:
        kind = "nvidia" if self._vendor == "nvidia" else "davinci"
        wanted: dict[int, tuple[Process, str | None]] = {process.pid: (process, None) for process in node.launchers}
        for device in (*node.nvidia, *node.ascend):
            # A process outlives its device: it ends when it next asks something of it.
            number = device.index if self._vendor == "nvidia" else getattr(device, "phy_id", device.index)
            wanted |= {process.pid: (process, f"/dev/{kind}{number}") for process in device.processes}
        proc = self.directory / "proc"
        proc.mkdir(exist_ok=True)
        if not (proc / "stat").exists():
            self._boot(node)
        for pid in self._pids - set(wanted):
            _remove(proc / str(pid))
            self._written = {path: text for path, text in self._written.items() if proc / str(pid) not in path.parents}
        for pid, (process, target) in wanted.items():
            if pid not in self._pids:
                _begin(proc / str(pid), process, target)
            for name, text in _moving(process, self._booted).items():
                self._put(proc / str(pid) / name, text)
        self._pids = set(wanted)
        self._exits(proc / EXITS_FILE, node)

    def _boot(self, node: Node) -> None:
        """What tells one boot from another."""
        proc = self.directory / "proc"
        self._put(proc / "stat", f"cpu 0 0 0 0 0 0 0 0 0 0\nbtime {int(node.wall - node.now + self._booted)}\n")
        (proc / "sys" / "kernel" / "random").mkdir(parents=True, exist_ok=True)
        self._put(proc / "sys" / "kernel" / "random" / "boot_id", f"{uuid.uuid4()}\n")

    def reboot(self, node: Node) -> None:
        """The host boots anew: another boot id, and a kernel log that counts from 0.

        An agent that runs on it meanwhile has to be killed first: no process outlives a reboot. The work is started
        again at once, with the pids that it had.
        """
        self._booted, self._sequence = node.now, 0
        scratch = self.directory / ".kmsg.new"
        scratch.write_bytes(b"")
        scratch.replace(self.directory / "kmsg")
        self._boot(node)

    def _exits(self, path: Path, node: Node) -> None:
        """How processes ended, as `sources.process_events` reads it where there is no kernel to tell of them."""
        new = sorted((end for end in node.ends if end.pid not in self._ended), key=lambda end: end.at)
        if not new and path.exists():
            return
        with path.open("a") as file:
            for end in new:
                code, number = ("-" if word is None else str(word) for word in (end.code, end.signal))
                file.write(f"{end.pid} {code} {number} {node.wall - node.now + end.at:.6f}\n")
        self._ended |= {end.pid for end in new}

    def _put(self, path: Path, text: str) -> None:
        """Writes what has changed; a reader finds the old text or the new one."""
        if self._written.get(path) == text:
            return
        scratch = path.with_name(f".{path.name}.new")
        scratch.write_text(text)
        scratch.replace(path)
        self._written[path] = text

    def kernel_lines(self, lines: list[str], node: Node) -> None:
        """Appends records of the kernel facility, as a driver writes them."""
        with (self.directory / "kmsg").open("ab") as log:
            for line in lines:
                microseconds = int((node.now - self._booted) * 1e6)
                log.write(f"4,{self._sequence},{microseconds},-;{line}\n".encode())
                self._sequence += 1

    def _rdma(self, port: RdmaPort) -> None:
        home = self.directory / "sys" / "class" / "infiniband" / port.name / "ports" / "1"
        for name in ("counters", "hw_counters"):
            (home / name).mkdir(parents=True, exist_ok=True)
        files = {
            "state": "4: ACTIVE" if port.up else "1: DOWN",
            "phys_state": "5: LinkUp" if port.up else "3: Disabled",
            "rate": port.rate,
            "link_layer": port.link_layer,
            "counters/link_downed": str(port.link_downed),
            "counters/port_xmit_packets": str(port.packets),
            "counters/port_rcv_packets": str(port.packets),
        }
        for name in _COUNTERS:
            files[f"counters/{name}"] = str(port.errors.get(name, 0))
        for name in _HW_COUNTERS:
            files[f"hw_counters/{name}"] = str(port.errors.get(name, 0))
        for name, text in files.items():
            self._put(home / name, text + "\n")

    def _configuration(self, spec: NodeSpec, port: int) -> None:
        home = self.directory
        nvidia = spec.vendor == "nvidia"
        sources = {
            "nvml": {"library": str(home / "libnvidia-ml.so.1")} if nvidia else {"enabled": False},
            "npu_smi": {"enabled": False}
            if nvidia
            else {"command": str(home / "npu-smi"), "sysfs": str(home / "sys/bus/pci/devices"), "interval": "5s"},
            "hccn_tool": {"enabled": False} if nvidia else {"command": str(home / "hccn_tool"), "interval": "5s"},
            "kernel_log": {"path": str(home / "kmsg")},
            "rdma": {"sysfs": str(home / "sys/class/infiniband")},
            "processes": {"proc": str(home / "proc")},
        }
        configuration = {
            "node": spec.name,
            "listen": f"127.0.0.1:{port}",
            "state_dir": str(home / "state"),
            "sources": sources,
            "labels": {"cluster": "simulated", "simulated": "true"},
        }
        (home / "accelwatch.yml").write_text(yaml.safe_dump(configuration, sort_keys=False))


def _begin(home: Path, process: Process, device: str | None) -> None:
    """What of a process does not change."""
    (home / "fd").mkdir(parents=True, exist_ok=True)
    (home / "comm").write_text(f"{process.name[:15]}\n")
    (home / "cmdline").write_bytes(f"{process.name}\0train.py\0".encode())
    (home / "environ").write_bytes("".join(f"{key}={value}\0" for key, value in process.environ.items()).encode())
    (home / "cgroup").write_text(f"0::{process.cgroup}\n")
    if device is not None:
        (home / "fd" / "7").symlink_to(device)


def _moving(process: Process, booted: float) -> dict[str, str]:
    """stat, status and io as proc(5) describes them; times in hundredths of a second."""
    # The fields of stat from the third on: state, ppid, pgrp, session, then up to starttime (the 22nd).
    started = int(max(0.0, process.started - booted) * _TICKS)
    fields: list[str | int] = [
        process.state,
        process.parent,
        process.pid,
        process.pid,
        *[0] * 7,
        int(process.cpu_seconds * _TICKS),
    ]
    fields += [0, 0, 0, 20, 0, 1, 0, started, *[0] * 30]
    words = {"R": "running", "S": "sleeping", "D": "disk sleep"}
    state = f"{process.state} ({words.get(process.state, 'unknown')})"
    return {
        "stat": f"{process.pid} ({process.name[:15]}) {' '.join(str(field) for field in fields)}\n",
        "status": f"Name:\t{process.name[:15]}\nState:\t{state}\nTgid:\t{process.pid}\nPid:\t{process.pid}\nPPid:\t{process.parent}\n"
        "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\n",
        "io": f"rchar: {process.read_bytes}\nwchar: {process.written_bytes}\nsyscr: 0\nsyscw: 0\n"
        f"read_bytes: {process.read_bytes}\nwrite_bytes: {process.written_bytes}\ncancelled_write_bytes: 0\n",
    }


def _remove(home: Path) -> None:
    for path in sorted(home.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    home.rmdir()

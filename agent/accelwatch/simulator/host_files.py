"""What a simulated host shows besides its accelerators: kernel log, /proc, RDMA ports, and a configuration."""

from __future__ import annotations

from pathlib import Path

import yaml

from accelwatch.simulator.scenario import NodeSpec
from accelwatch.simulator.state import Node

_BOOTED_BEFORE = 86400.0


class HostFiles:
    """The directory of one node."""

    def __init__(self, directory: Path, spec: NodeSpec, port: int) -> None:
        """Writes what does not change."""
        self.directory = directory
        self._sequence = 1000
        self._pids: set[int] = set()
        self._vendor = spec.vendor
        (directory / "kmsg").write_bytes(b"")
        self._rdma(8 if spec.vendor == "nvidia" else 0)
        self._configuration(spec, port)

    def write(self, node: Node) -> None:
        """Processes as they are now."""
        wanted = {p.pid: (p, d) for d in (*node.nvidia, *node.ascend) if d.present for p in d.processes}
        if set(wanted) == self._pids:
            return
        proc = self.directory / "proc"
        proc.mkdir(exist_ok=True)
        (proc / "stat").write_text(f"cpu 0 0 0 0 0 0 0 0 0 0\nbtime {int(node.wall - node.now - _BOOTED_BEFORE)}\n")
        for pid in self._pids - set(wanted):
            _remove(proc / str(pid))
        for pid in set(wanted) - self._pids:
            process, device = wanted[pid]
            number = device.index if self._vendor == "nvidia" else getattr(device, "phy_id", device.index)
            _process(
                proc / str(pid),
                pid,
                process.name,
                f"/dev/{'nvidia' if self._vendor == 'nvidia' else 'davinci'}{number}",
            )
        self._pids = set(wanted)

    def kernel_lines(self, lines: list[str], node: Node) -> None:
        """Appends records of the kernel facility, as a driver writes them."""
        with (self.directory / "kmsg").open("ab") as log:
            for line in lines:
                microseconds = int((node.now + _BOOTED_BEFORE) * 1e6)
                log.write(f"4,{self._sequence},{microseconds},-;{line}\n".encode())
                self._sequence += 1

    def _rdma(self, ports: int) -> None:
        root = self.directory / "sys" / "class" / "infiniband"
        root.mkdir(parents=True, exist_ok=True)
        for number in range(ports):
            port = root / f"mlx5_{number}" / "ports" / "1"
            (port / "counters").mkdir(parents=True, exist_ok=True)
            files = {
                "state": "4: ACTIVE", "phys_state": "5: LinkUp", "rate": "400 Gb/sec (4X NDR)", "link_layer": "InfiniBand",
                "counters/link_downed": "0", "counters/symbol_error": "0", "counters/port_rcv_errors": "0",
                "counters/port_xmit_packets": "0", "counters/port_rcv_packets": "0",
            }  # fmt: skip
            for name, text in files.items():
                (port / name).write_text(text + "\n")

    def _configuration(self, spec: NodeSpec, port: int) -> None:
        home = self.directory
        nvidia = spec.vendor == "nvidia"
        sources = {
            "nvml": {"library": str(home / "libnvidia-ml.so.1")} if nvidia else {"enabled": False},
            "npu_smi": {"enabled": False} if nvidia else {"command": str(home / "npu-smi"), "interval": "5s"},
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


def _process(home: Path, pid: int, name: str, device: str) -> None:
    (home / "fd").mkdir(parents=True, exist_ok=True)
    fields = [
        "R",
        "1",
        str(pid),
        str(pid),
        *["0"] * 9,
        "6000",
        "500",
        "0",
        "0",
        "20",
        "0",
        "1",
        "0",
        "8000000",
        *["0"] * 30,
    ]
    (home / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
    (home / "status").write_text(f"Name:\t{name}\nState:\tR (running)\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t1\n")
    (home / "cmdline").write_bytes(f"{name}\0train.py\0".encode())
    (home / "io").write_text(
        "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"
    )
    link = home / "fd" / "7"
    if not link.is_symlink():
        link.symlink_to(device)


def _remove(home: Path) -> None:
    for path in sorted(home.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    home.rmdir()

"""Compiles the simulated libnvidia-ml.so.1 when it is first needed, and writes the state that it shows."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from accelwatch.simulator import nvml_layout as layout
from accelwatch.simulator.state import Node, NvidiaDevice

SOURCES = Path(__file__).parent / "libnvml"
LIBRARY, STATE = "libnvidia-ml.so.1", "state.bin"
MIB = 1 << 20

# In the order of nvmlMemoryLocation_t; what a place without a key gives: device memory and SRAM count from 0.
_PLACES = (
    ("l1", layout.NO_COUNT), ("l2", layout.NO_COUNT), ("hbm", 0), ("register", layout.NO_COUNT),
    ("texture", layout.NO_COUNT), ("shared", layout.NO_COUNT), ("cbu", layout.NO_COUNT), ("sram", 0),
)  # fmt: skip
_VIOLATIONS = (
    "power", "thermal", "sync_boost", "board_limit", "low_utilization", "reliability", "app_clocks", "base_clocks",
)  # fmt: skip
_LINK_ERRORS = ("replay", "recovery", "crc_flit", "crc_data")
# Fields 201 to 222; "" is told by no simulated GPU.
_NVLINK5 = (
    "sent_packets", "", "received_packets", "", "", "malformed", "buffer_overrun", "rx_errors", "rx_remote",
    "rx_general", "local_integrity", "discards", "recovery_ok", "recovery_failed", "recovery_events", "", "", "",
    "effective_errors", "", "symbol_errors", "",
)  # fmt: skip


class CompilerMissing(Exception):
    """No C compiler, or one that fails; the message says what to install."""


def install(directory: Path) -> Path:
    """Puts the library into a node's directory; gives its path. Raises `CompilerMissing`."""
    target = directory / LIBRARY
    shutil.copyfile(_compiled(), target)
    return target


def _compiled() -> Path:
    files = sorted(path for path in SOURCES.iterdir() if path.suffix in (".c", ".h"))
    header = layout.header().encode()
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files) + header).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accelwatch"
    result = cache / f"libnvml-{digest}.so"
    if result.exists():
        return result
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise CompilerMissing(
            "no C compiler for the simulated NVML: on Debian and Ubuntu apt-get install gcc libc6-dev"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        Path(scratch, "layout.h").write_bytes(header)
        made = Path(scratch, LIBRARY)
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-O2",
            "-fvisibility=hidden",
            f"-Wl,-soname,{LIBRARY}",
            f"-I{scratch}",
        ]
        done = subprocess.run(
            [*command, "-o", str(made), *(str(path) for path in files if path.suffix == ".c"), "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CompilerMissing(f"{compiler} cannot compile the simulated NVML: {done.stderr.strip()[:500]}")
        made.replace(result)
    return result


class StateFile:
    """The memory that the library of one node reads."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / STATE
        self._events = 0
        size = ctypes.sizeof(layout.NodeEntry)
        with self._path.open("wb") as file:
            file.truncate(size)
        with self._path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), size)
        self._entry = layout.NodeEntry.from_buffer(self._memory)

    def write(self, node: Node) -> None:
        """Shows the node's present state."""
        entry = self._entry
        entry.init_result = node.init_result
        entry.driver, entry.nvml = node.driver.encode(), node.tool.encode()
        entry.device_count = len(node.nvidia)
        results = {symbol: (result, 0) for symbol, result in node.call_results.items()}
        _overrides(entry, results | dict.fromkeys(node.blocked_library_calls, (0, 1)))
        for place, device in enumerate(node.nvidia):
            _fill(entry.devices[place], device, node.family == "blackwell")
        entry.magic = layout.MAGIC
        events = sum(len(device.xid_events) for device in node.nvidia)
        if events != self._events:
            self._events = events
            os.utime(self._path)  # wakes those who wait for events


def _overrides(entry: layout.NodeEntry | layout.DeviceEntry, wanted: dict[str, tuple[int, int]]) -> None:
    for place, (symbol, (result, block)) in enumerate(list(wanted.items())[: layout.OVERRIDES]):
        entry.overrides[place] = layout.Override(symbol.encode(), result, block)
    entry.override_count = min(len(wanted), layout.OVERRIDES)


def _fill(entry: layout.DeviceEntry, device: NvidiaDevice, blackwell: bool) -> None:
    entry.name, entry.uuid = device.model.encode(), device.uuid.encode()
    entry.serial, entry.vbios = (device.serial or "").encode(), (device.firmware or "").encode()
    entry.bus_id = f"0000{device.pci}".upper().encode()
    entry.present, entry.status = int(device.present), device.status
    entry.power_milliwatts = _scaled(device.power_watts, 1000)
    entry.power_limit_milliwatts = _scaled(device.power_limit_watts, 1000)
    entry.energy_millijoules = device.energy_millijoules
    entry.temperature = _scaled(device.temperature_celsius)
    entry.memory_temperature = _scaled(device.memory_temperature_celsius)
    entry.utilization = _scaled(device.utilization_percent)
    entry.recovery_action = device.recovery_action
    entry.memory_total, entry.memory_used = device.memory_total_mib * MIB, device.memory_used_mib * MIB
    for place, domain in enumerate(("graphics", "sm", "memory", "video")):
        entry.clocks[place] = device.clocks_mhz.get(domain, layout.NO_VALUE)
    entry.throttle = device.throttle_bits
    for error, kind in enumerate(("corrected", "uncorrected")):
        for counter, counts in enumerate((device.ecc_volatile, device.ecc_aggregate)):
            for place, (memory, unreported) in enumerate(_PLACES):
                entry.ecc[(error * 2 + counter) * layout.PLACES + place] = counts.get(f"{memory}_{kind}", unreported)
    _repairs(entry, device)
    for place, policy in enumerate(_VIOLATIONS):
        entry.violations[place] = device.violation_nanoseconds.get(policy, 0)
    entry.memory_utilization = _scaled(device.memory_utilization_percent)
    entry.architecture = {"A": 7, "H": 9, "B": 10}.get(device.model.removeprefix("NVIDIA ")[:1], layout.NO_VALUE)
    entry.sram_threshold = int(device.sram_threshold_exceeded)
    _links(entry, device, blackwell)
    for name in ("pcie_generation", "pcie_generation_max", "pcie_width", "pcie_width_max", "pcie_replays"):
        setattr(entry, name, getattr(device, name))
    entry.fabric_state, entry.fabric_status = device.fabric_state, device.fabric_status
    entry.fabric_health = device.fabric_health_mask
    for place, process in enumerate(device.processes[: layout.PROCESSES]):
        entry.processes[place] = layout.ProcessEntry(process.pid, 0, process.memory_bytes, process.name.encode())
    entry.process_count = min(len(device.processes), layout.PROCESSES)
    _overrides(entry, {s: (r, 0) for s, r in device.call_results.items()} | dict.fromkeys(device.blocked_calls, (0, 1)))
    for place, (number, result) in enumerate(list(device.field_results.items())[: layout.OVERRIDES]):
        entry.field_results[place] = layout.FieldResult(number, result)
    entry.field_result_count = min(len(device.field_results), layout.OVERRIDES)
    _mig(entry, device)
    total = len(device.xid_events)
    for number in range(max(0, total - layout.XIDS), total):
        entry.xids[number % layout.XIDS] = device.xid_events[number]
    entry.xid_total = total  # last: a set that sees it finds the numbers


def _repairs(entry: layout.DeviceEntry, device: NvidiaDevice) -> None:
    rows = (device.rows_corrected, device.rows_uncorrected, int(device.rows_pending), int(device.rows_failed))
    pages = (device.retired_pages_corrected, device.retired_pages_uncorrected)
    for place, value in enumerate(rows):
        entry.remapped[place] = value if device.row_remapping else layout.NO_VALUE
    for place, value in enumerate(pages):
        entry.retired[place] = layout.NO_VALUE if device.row_remapping else value
    entry.retired_pending = layout.NO_VALUE if device.row_remapping else int(device.retired_pages_pending)


def _links(entry: layout.DeviceEntry, device: NvidiaDevice, blackwell: bool) -> None:
    entry.nvlink5 = int(blackwell)
    entry.link_count = len(device.links)
    for link in device.links:
        entry.link_state[link.number] = int(link.up)
        for place, name in enumerate(_LINK_ERRORS):
            entry.link_errors[link.number * 4 + place] = link.errors.get(name, 0)
        for place, counter in enumerate(_NVLINK5):
            count = link.packets if counter in ("sent_packets", "received_packets") else link.errors.get(counter, 0)
            entry.link_counts[link.number * layout.NVLINK5_COUNT + place] = count if counter else layout.NO_COUNT


def _mig(entry: layout.DeviceEntry, device: NvidiaDevice) -> None:
    entry.mig_enabled = int(bool(device.mig))
    for place, mig in enumerate(device.mig[: layout.MIG_DEVICES]):
        entry.mig[place] = layout.MigEntry(
            mig.name.encode(),
            mig.uuid.encode(),
            mig.gpu_instance,
            mig.compute_instance,
            mig.memory_total_mib * MIB,
            mig.memory_used_mib * MIB,
        )
    entry.mig_count = min(len(device.mig), layout.MIG_DEVICES)


def _scaled(value: float | None, factor: float = 1) -> int:
    return layout.NO_VALUE if value is None else round(value * factor)

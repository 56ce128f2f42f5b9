"""What the vendor's own tool says of the device, each call with a deadline and under the host-wide lock."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import msgspec

from accelwatch.config import Sources
from accelwatch.evidence.archive import Archive
from accelwatch.faults.episode import Episode
from accelwatch.journal.rows import DeviceRow
from accelwatch.readings.identity import Identity, Vendor
from accelwatch.sources import npu_smi
from accelwatch.sources.base import SourceError
from accelwatch.sources.commands import Runner, find_tool
from accelwatch.sources.privileged import HCCN_INSTALLED

NVIDIA_INSTALLED = ("/usr/bin/nvidia-smi",)
# A sick driver blocks each call: nvidia-smi -q on eight healthy GPUs takes 2 s.
CALL_SECONDS = 20.0
OUTPUT_LIMIT_BYTES = 1 << 20
NPU_TYPES = ("board", "health", "common", "ecc", "memory", "usages")
HCCN_QUERIES = ("link", "link_stat", "stat", "optical", "net_health")
# nvidia-smi prints a process with its whole command line where the driver gives it.
_PROCESS = re.compile(r"^(\s*(?:Process )?Name\s*:\s*)(\S.*)$", re.MULTILINE | re.IGNORECASE)
_UNKNOWN_NAMES = ("N/A", "[")


class Call(msgspec.Struct, frozen=True):
    """One call: the file that its output goes to, the tool, and its arguments."""

    file: str
    tool: str
    arguments: tuple[str, ...]


def add_dumps(
    archive: Archive, fault: Episode, row: DeviceRow | None, sources: Sources, runner: Runner, left: Callable[[], float]
) -> None:
    """A file per call; what is absent, fails or has no time left is said. `left`: seconds that there are."""
    paths = {
        "nvidia-smi": find_tool("nvidia-smi", None, NVIDIA_INSTALLED),
        "npu-smi": find_tool("npu-smi", sources.npu_smi.command, npu_smi.INSTALLED),
        "hccn_tool": find_tool("hccn_tool", sources.hccn_tool.command, HCCN_INSTALLED),
    }
    absent: set[str] = set()
    for call in calls(fault, None if row is None else row.identity):
        path = paths[call.tool]
        if path is None:
            if call.tool not in absent:
                archive.lacks(call.tool, "is not on PATH, nor where the driver installs it")
            absent.add(call.tool)
            continue
        line = " ".join((call.tool, *call.arguments))
        seconds = min(CALL_SECONDS, left())
        if seconds <= 0:
            archive.lacks(line, "no time was left")
            continue
        try:
            output = runner.run([path, *call.arguments], seconds)
        except SourceError as error:
            archive.lacks(line, str(error))
            continue
        text = without_arguments(output.stdout + (f"\n--- stderr\n{output.stderr}" if output.stderr else ""))
        archive.add(call.file, text, f"{line} (status {output.status})", OUTPUT_LIMIT_BYTES)


def calls(fault: Episode, identity: Identity | None) -> Iterator[Call]:
    """Of the device, else of all that the tool lists without naming processes."""
    if fault.vendor == Vendor.NVIDIA.value:
        of_device = () if identity is None or identity.pci is None else ("-i", identity.pci)
        yield Call("tools/nvidia-smi-q.txt", "nvidia-smi", ("-q", *of_device))
        yield Call("tools/nvidia-smi-nvlink-e.txt", "nvidia-smi", ("nvlink", "-e", *of_device))
    if fault.vendor != Vendor.ASCEND.value:
        return
    yield Call("tools/npu-smi-m.txt", "npu-smi", ("info", "-m"))
    if identity is None or identity.npu_id is None:
        return
    for name in NPU_TYPES:
        yield Call(f"tools/npu-smi-{name}.txt", "npu-smi", ("info", "-t", name, "-i", str(identity.npu_id)))
    number = identity.phy_id if identity.phy_id is not None else identity.npu_id
    for query in HCCN_QUERIES:
        yield Call(f"tools/hccn_tool-{query}.txt", "hccn_tool", ("-i", str(number), f"-{query}", "-g"))


def without_arguments(text: str) -> str:
    """Processes by the name of their program alone: arguments may hold secrets."""

    def program(match: re.Match[str]) -> str:
        name = match[2]
        if not name.startswith(_UNKNOWN_NAMES):
            name = PurePosixPath(name.split()[0]).name
        return match[1] + name

    return _PROCESS.sub(program, text)

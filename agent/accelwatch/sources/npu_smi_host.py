"""What the host tells of its Ascend accelerators without `npu-smi`, which can leave a chip out altogether.

PCI in sysfs, the driver's device nodes, lines of `lspci`, and the file with the installed driver's version.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

HUAWEI = "0x19e5"
# PCI base class 12h, subclass 00: processing accelerators (PCI Code and ID Assignment Specification).
_ACCELERATOR_CLASS = "0x1200"
# Kunpeng processors have engines of the same vendor and class: the ZIP engine is 19e5:a250 (Linux,
# drivers/crypto/hisilicon/zip). Ascend ids begin with d1, d5, d8 (reference/ascend.md section 2.1).
_KUNPENG_IDS = re.compile(r"^(?:0x)?a[0-9a-f]{3}$", re.IGNORECASE)
_NODE = re.compile(r"davinci[0-9]+", re.ASCII)
_LSPCI = re.compile(
    r"^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) Processing accelerators(?: \[1200\])?: "
    r"Huawei Technologies Co\., Ltd\. (.*?)(?: \[19e5:([0-9a-f]{4})\])?(?: \(rev ([0-9a-f]{2})\))?\s*$",
    re.IGNORECASE | re.ASCII,
)
_UNNAMED = re.compile(r"Device ([0-9a-f]{4})", re.IGNORECASE | re.ASCII)
# A container sees the PCI devices of the whole host, whichever of them it was given.
_CONTAINER_MARKS = (".dockerenv", "run/.containerenv")


class PciAccelerator(msgspec.Struct, frozen=True):
    """One line of `lspci`."""

    address: str  # as printed: 3d:00.0, with -D 0000:3d:00.0
    device_id: str | None  # d801; `None` where lspci prints a name without numbers
    revision: str | None


def parse_lspci(output: str) -> tuple[PciAccelerator, ...]:
    """Ascend accelerators, with or without `-nn` and `-D`; other devices, Kunpeng's own engines too, are left out."""
    found = []
    for line in output.splitlines():
        match = _LSPCI.match(line.strip())
        if match is None or "HiSilicon" in match[2]:
            continue
        unnamed = _UNNAMED.fullmatch(match[2])
        number = match[3] or (unnamed[1] if unnamed else None)
        if number is None or not _KUNPENG_IDS.match(number):
            found.append(PciAccelerator(match[1].lower(), number and number.lower(), match[4] and match[4].lower()))
    return tuple(found)


def pci_devices(root: Path) -> Path | None:
    """Where to count below the root of a host; `None` in a container, whose own share sysfs does not tell."""
    if any((root / mark).exists() for mark in _CONTAINER_MARKS) or "KUBERNETES_SERVICE_HOST" in os.environ:
        return None
    return root / "sys/bus/pci/devices"


class ChipsOnHost:
    """Counts Ascend accelerators of the host: those on PCI, else the driver's nodes `/dev/davinciN`.

    Chips of a SoC (310B) and on UnifiedBus (some 950) are not on PCI. A virtual function is no chip of its own.
    """

    def __init__(self, pci: Path | None, dev: Path | None) -> None:
        """`pci`: see `pci_devices`; `dev`: /dev."""
        self._pci, self._dev = pci, dev
        # What a device is never changes, and a large host has hundreds of them: each is read once. One that comes to
        # the address of another has another inode (kernfs numbers each entry of sysfs when it is made).
        self._known: dict[tuple[str, int], bool] = {}

    def count(self) -> int | None:
        """`None` without either."""
        return (self._pci and self._on_pci(self._pci)) or (self._dev and _nodes(self._dev)) or None

    def _on_pci(self, devices: Path) -> int:
        try:
            with os.scandir(devices) as entries:
                found = [(entry.name, entry.inode()) for entry in entries]
        except OSError:
            return 0
        known: dict[tuple[str, int], bool] = {}
        for entry in found:
            told = self._known.get(entry)
            if told is None:
                told = _is_accelerator(devices / entry[0])
            if told is not None:
                known[entry] = told
        self._known = known
        return sum(known.values())


def _is_accelerator(device: Path) -> bool | None:
    """`None`: it was removed just now."""
    try:
        return (
            (device / "vendor").read_text().strip().lower() == HUAWEI
            and (device / "class").read_text().strip().lower().startswith(_ACCELERATOR_CLASS)
            and not _KUNPENG_IDS.match((device / "device").read_text().strip())
            and not (device / "physfn").exists()
        )
    except (OSError, UnicodeDecodeError):
        return None


def _nodes(dev: Path) -> int:
    try:
        return sum(bool(_NODE.fullmatch(entry)) for entry in os.listdir(dev))
    except OSError:
        return 0


def parse_version_info(text: str) -> dict[str, str]:
    """`/usr/local/Ascend/driver/version.info`: its `key=value` lines; `Version` is the installed driver's."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals and key.strip()}

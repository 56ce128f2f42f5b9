"""What the NVIDIA driver's lines said of its GPUs: their identity, printed once before a GPU's first Xid."""

from __future__ import annotations

import re

from accelwatch.logs.family import PCI, address

# The driver has at most 32 GPUs; a log can hold those of several hosts.
GPUS_LIMIT = 256

_UUID = re.compile(rf"NVRM: GPU at (?:PCI:)?{PCI}: (GPU-[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})\b")
_SERIAL = re.compile(r"NVRM: GPU Board Serial Number:\s*(\d+)?\s*$")
_SERIAL_OF = re.compile(rf"NVRM: GPU {PCI}: GPU serial number is (\d+)")
_INSTANCE = re.compile(r"\bGPU(\d{1,2})\b")


class Gpus:
    """Remembers UUID, serial number and the driver's own instance number (GPU4) by PCI address; see the module."""

    def __init__(self) -> None:
        self._uuids: dict[str, str] = {}
        self._serials: dict[str, str] = {}
        self._instances: dict[int, str] = {}
        self._named_last: str | None = None

    def learn(self, text: str) -> None:
        """Takes in an identity line; any other line of the driver changes nothing."""
        if " at " not in text and "erial" not in text:
            return
        if (match := _UUID.search(text)) is not None:
            self._named_last = address(match[1], match[2], match[3])
            _keep(self._uuids, self._named_last, match[4])
        elif (match := _SERIAL.search(text)) is not None:
            if self._named_last is not None and match[1] is not None and match[1].strip("0"):
                _keep(self._serials, self._named_last, match[1])
        elif (match := _SERIAL_OF.search(text)) is not None and match[4].strip("0"):
            _keep(self._serials, address(match[1], match[2], match[3]), match[4])

    def learn_instance(self, pci: str, text: str) -> None:
        """`text` is of the GPU at `pci` and may hold the driver's number for it (`from GPU4 GSP`)."""
        if (match := _INSTANCE.search(text)) is not None:
            self._instances[int(match[1])] = pci

    def instance(self, text: str) -> str | None:
        """The address of the GPU that `text` calls GPU4; `None` while nothing has told which that is."""
        match = _INSTANCE.search(text)
        return None if match is None else self._instances.get(int(match[1]))

    def uuid(self, pci: str | None) -> str | None:
        """As the driver printed it."""
        return None if pci is None else self._uuids.get(pci)

    def serial(self, pci: str | None) -> str | None:
        """As the driver printed it; `None` also for an empty or zero one."""
        return None if pci is None else self._serials.get(pci)


def _keep(table: dict[str, str], key: str, value: str) -> None:
    if key not in table and len(table) >= GPUS_LIMIT:
        table.pop(next(iter(table)))
    table[key] = value

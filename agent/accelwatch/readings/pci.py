"""One spelling for PCI addresses; apart from the readings for a process that has no use for the rest."""

from __future__ import annotations


def normalise_pci(address: str) -> str:
    """One spelling for a PCI address: `0000:3b:00.0`, lower case, domain of at least four digits.

    NVML writes `00000000:3B:00.0`, the kernel log `0000:3b:00`, npu-smi `0000:3B:00.0`
    (reference/nvidia.md section 2). Raises `ValueError` for anything else.
    """
    domain, bus, rest = address.strip().split(":")
    slot, _, function = rest.partition(".")
    return f"{int(domain, 16):04x}:{int(bus, 16):02x}:{int(slot, 16):02x}.{int(function or '0', 16):x}"

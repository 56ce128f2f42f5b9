"""Drivers that are loaded after the agent: its unit lets it at the device nodes of those that were there at its start.

systemd resolves `DeviceAllow=char-NAME` against /proc/devices when the unit starts (systemd.resource-control(5)), so
the nodes of a driver that comes later, or comes back with another major number, are refused until the next start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

# Set by the unit that closes the device nodes; anywhere else nothing has to be done.
CLOSED_VARIABLE = "ACCELWATCH_DEVICES_AS_OF_START"
# Names in /proc/devices: NVIDIA's; Ascend's /dev/davinciN are `devdrv-cdev`, in a virtual machine `vdevdrv-cdev`
# (MindCluster, container runtime), and /dev/davinci_manager is `hisi_davinci_intf` (its driver, davinci_intf_init.c).
_CHARACTER = re.compile(r"^\s*(\d+) ((?:nvidia|davinci|v?devdrv|devmm|hisi)[\w-]*)$", re.MULTILINE)


def drivers(devices: str) -> frozenset[tuple[str, str]]:
    """Major number and name of each accelerator driver in the text of /proc/devices (proc(5))."""
    characters, _, _ = devices.partition("Block devices:")
    return frozenset(_CHARACTER.findall(characters))


class LateDrivers:
    """What of `path` was not there when this was made."""

    def __init__(self, path: Path = Path("/proc/devices"), environment: Mapping[str, str] = os.environ) -> None:
        self._path = path
        self._closed = bool(environment.get(CLOSED_VARIABLE))
        self._known = self._last = self._read()

    def arrived(self) -> tuple[str, ...]:
        """Names of drivers that came since the start, once two calls have found the same: a driver comes in parts."""
        if not self._closed:
            return ()
        now = self._read()
        settled, self._last = now == self._last, now
        return tuple(sorted({name for _, name in now - self._known})) if settled else ()

    def _read(self) -> frozenset[tuple[str, str]]:
        try:
            return drivers(self._path.read_text()) if self._closed else frozenset()
        except OSError:
            return frozenset()

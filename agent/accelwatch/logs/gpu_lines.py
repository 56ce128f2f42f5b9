"""Lines of the NVIDIA driver that carry no Xid (reference/nvidia.md section 5.1)."""

from __future__ import annotations

import re

from accelwatch.logs.family import PCI, address
from accelwatch.logs.gpus import Gpus
from accelwatch.readings.log_event import LogEvent

# The message of a GPU lost at probe is one record of three lines.
PROBE_LINES_LIMIT = 4

_PROBE = re.compile(rf"NVRM: The NVIDIA GPU {PCI}")
_FALLEN = re.compile(rf"NVRM: GPU (?:at )?(?:PCI:)?{PCI}:?,? (?:GPU )?has fallen off the bus")
_INIT = re.compile(rf"NVRM: GPU {PCI}: (RmInitAdapter|rm_init_adapter) failed")
_HEARTBEAT = re.compile(r"NVRM:.*_kgspIsHeartbeatTimedOut|NVRM:.*\bGSP\b.*[Hh]eartbeat timed out")
_RATE_LIMIT = re.compile(rf"NVRM: Rate limiting GSP RPC error prints for GPU at (?:PCI:)?{PCI}")
_XID_79 = re.compile(rf"NVRM: Xid \((?:PCI:)?{PCI}[^)]*\):\s*79\b")


class GpuLines:
    """See the module. Also teaches `gpus` what identity lines say."""

    needles = ("NVRM: ",)

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus
        self._probe: tuple[str, str, int] | None = None  # address, text so far, lines left
        self._init_failed: str | None = None
        self._lost: str | None = None  # of the last Xid 79: the line after it says the same

    @property
    def waiting(self) -> bool:
        """Inside the record of a GPU lost at probe."""
        return self._probe is not None

    def feed(self, text: str) -> list[LogEvent]:
        """One event per fault; the driver's second line of a failed start does not count again."""
        if "NVRM: Xid (" in text:
            self._probe = None
            if (match := _XID_79.search(text)) is not None:
                self._lost = address(match[1], match[2], match[3])
            return []
        self._gpus.learn(text)
        if (match := _PROBE.search(text)) is not None:
            self._probe = (address(match[1], match[2], match[3]), text[match.start() :], PROBE_LINES_LIMIT)
            return self._probed(self._probe, "")
        if self._probe is not None:
            return self._probed(self._probe, text)
        if (match := _FALLEN.search(text)) is not None:
            pci = address(match[1], match[2], match[3])
            return [] if pci == self._lost else [self._event("gpu_lost_assert", pci, text, match.start())]
        if (match := _INIT.search(text)) is not None:
            pci = address(match[1], match[2], match[3])
            repeated = match[4] == "rm_init_adapter" and self._init_failed == pci
            self._init_failed = pci if match[4] == "RmInitAdapter" else None
            return [] if repeated else [self._event("rm_init_failed", pci, text, match.start())]
        return self._without_address(text)

    def flush(self) -> list[LogEvent]:
        """Half a record tells nothing."""
        self._probe = None
        return []

    def _without_address(self, text: str) -> list[LogEvent]:
        start = text.find("NVRM: ")
        if "NV_ERR_RESET_REQUIRED" in text:
            return [self._event("gpu_reset_required", self._gpus.instance(text), text, start)]
        if "NV_ERR_GPU_IS_LOST" in text:
            return [self._event("gpu_lost_assert", self._gpus.instance(text), text, start)]
        if (match := _HEARTBEAT.search(text)) is not None:
            return [self._event("gsp_heartbeat", self._gpus.instance(text), text, start)]
        if (match := _RATE_LIMIT.search(text)) is not None:
            return [self._event("gpu_reset_required", address(match[1], match[2], match[3]), text, start)]
        return []

    def _probed(self, probe: tuple[str, str, int], text: str) -> list[LogEvent]:
        pci, before, left = probe
        whole = f"{before} {text.strip().removeprefix('NVRM: ')}".rstrip()
        if "fallen off the bus" in whole:
            self._probe = None
            return [self._event("gpu_probe_lost", pci, whole, 0)]
        self._probe = (pci, whole, left - 1) if left > 1 and len(whole) < 1000 else None
        return []

    def _event(self, kind: str, pci: str | None, text: str, start: int) -> LogEvent:
        return LogEvent(
            kind=kind,
            vendor="nvidia",
            pci=pci,
            uuid=self._gpus.uuid(pci),
            serial=self._gpus.serial(pci),
            text=text[max(0, start) :],
        )

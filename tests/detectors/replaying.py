"""A detector fed by hand: every state goes through JSON, and at the end all of it is fed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from accelwatch.detectors.base import Answered, Context, Detector, Known, Logged, Reading, Silent
from accelwatch.faults.sign import Finding, Gone, Sign
from accelwatch.readings.health import Health
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.link import Link
from accelwatch.readings.log_event import Entry, LogEvent
from accelwatch.readings.snapshot import Device, Snapshot

GPU = DeviceKey(Vendor.NVIDIA, "0000:3b:00.0")
GPU_2 = DeviceKey(Vendor.NVIDIA, "0000:5e:00.0")
NPU = DeviceKey(Vendor.ASCEND, "npu0/chip0")
NPU_2 = DeviceKey(Vendor.ASCEND, "npu1/chip0")
INTERVALS = {"nvml": 1.0, "npu_smi": 10.0, "hccn_tool": 10.0, "rdma": 5.0}


class Fed:
    """Feeds one detector. `now` is moved by `after` before each reading."""

    def __init__(self, detector: Detector, context: Context | None = None) -> None:
        self.detector = detector
        self.context = context or Context()
        self.state: Any = detector.start()
        self.now = 1000.0
        self._fed: list[tuple[Reading, float, Context]] = []
        self._found: list[list[Finding]] = []

    def feed(self, reading: Reading, after: float = 10.0) -> list[Finding]:
        """One step; the state is what the journal would give back."""
        self.now += after
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=self.detector.state_type)
        before = msgspec.json.encode(self.state)
        state, findings = self.detector.step(self.state, reading, self.now, self.context)
        assert msgspec.json.encode(self.state) == before, "a step must not change the state that it was given"
        assert state is self.state or state != self.state, "an equal state must be the same object"
        self.state = state
        self._fed.append((reading, self.now, self.context))
        self._found.append(list(findings))
        return list(findings)

    def signs(self, reading: Reading, after: float = 10.0) -> list[Sign]:
        """The signs of one step."""
        return [finding for finding in self.feed(reading, after) if isinstance(finding, Sign)]

    def gone(self, reading: Reading, after: float = 10.0) -> list[Gone]:
        """What one step takes back."""
        return [finding for finding in self.feed(reading, after) if isinstance(finding, Gone)]

    def quiet(self, reading: Reading, after: float = 10.0) -> None:
        """One step that finds nothing."""
        assert self.feed(reading, after) == []

    def replayed(self) -> None:
        """The same readings give the same findings."""
        state = self.detector.start()
        for (reading, now, context), found in zip(self._fed, self._found, strict=True):
            state, findings = self.detector.step(state, reading, now, context)
            assert list(findings) == found


def answered(source: str, *devices: Device, links: Sequence[Link] = (), **values: Any) -> Answered:
    """An answer with these devices and loose links; `missing` and fields of the snapshot by name."""
    missing = values.pop("missing", ())
    interval = values.pop("interval", INTERVALS.get(source, 10.0))
    snapshot = Snapshot(devices=devices, links=tuple(links), **values)
    return Answered(source=source, snapshot=snapshot, missing=missing, interval=interval)


def device(key: DeviceKey, **families: Any) -> Device:
    """A device with the families given; `serial`, `uuid`, `model` and `parent` go to its identity."""
    identity = {name: families.pop(name) for name in ("serial", "uuid", "model", "parent") if name in families}
    return Device(identity=Identity(key=key, **identity), **families)


def known(key: DeviceKey, label: str = "0", **values: Any) -> Known:
    """A device of the inventory."""
    pci = key.native if key.vendor is Vendor.NVIDIA else None
    return Known(**{"key": key, "label": label, "pci": pci, **values})


def inventory(*devices: Known, **values: Any) -> Context:
    """A context with these devices."""
    return Context(devices={one.key: one for one in devices}, **values)


def npu(codes: tuple[str, ...] | None, level: Any = None, key: DeviceKey = NPU, **families: Any) -> Device:
    """An NPU with health."""
    return device(key, health=Health(level=level, error_codes=codes), **families)


def silent(source: str, error: str = "it failed", **values: Any) -> Silent:
    """A source that failed."""
    return Silent(source=source, error=error, **values)


def logged(source: str, *entries: Entry) -> Logged:
    """Lines of a log."""
    return Logged(source=source, entries=entries)


def entry(at: float, kind: str = "xid", vendor: str = "nvidia", text: str = "NVRM: Xid", **values: Any) -> Entry:
    """One line; fields of the entry and of the event by name."""
    own = {name: values.pop(name) for name in ("historical", "backlog", "boot_id", "kernel_seconds") if name in values}
    event = LogEvent(kind=kind, vendor=vendor, text=text, **values)
    return Entry(event=event, at=at, wall=1_790_000_000.0 + at, **own)

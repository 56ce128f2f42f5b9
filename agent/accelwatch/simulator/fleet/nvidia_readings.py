"""From the true state of a simulated NVIDIA node to what `sources.nvml` gives of it, without a worker process.

`tests/replay/test_readings_of.py` holds it against the real source.
"""

from __future__ import annotations

import msgspec

from accelwatch.readings.health import DeviceState, Health
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.link import Fabric, Link, LinkKind, LinkState, Pcie
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.memory import EccCount, ErrorKind, Repairs
from accelwatch.readings.process import DeviceProcess
from accelwatch.readings.sensors import Clock as DeviceClock
from accelwatch.readings.sensors import Sensors, Throttle
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.simulator import state

_THROTTLES = {0x08: Throttle.HW_SLOWDOWN, 0x40: Throttle.HW_THERMAL, 0x80: Throttle.POWER_BRAKE}
_LOST, _RESET_REQUIRED = 15, 16
_FULL_PERIOD = 10


class Nvml:
    """Polls of `sources.nvml`: power, utilization and throttling each time, the rest with every tenth.

    GPUs that answer, that are lost (15), need a reset (16) or are gone from the list; no blocking calls.
    """

    def __init__(self, full_period: int = _FULL_PERIOD) -> None:
        """`full_period`: polls between two full readings, ten where they come every second."""
        self._full_period = full_period
        self._polls = 0
        self._last: dict[DeviceKey, Device] = {}
        self._told: dict[DeviceKey, int] = {}

    def poll(self, node: state.Node) -> Snapshot:
        """What the next poll gives."""
        full = self._polls % self._full_period == 0
        self._polls += 1
        devices = [self._device(node, gpu, full) for gpu in node.nvidia if gpu.present]
        self._last = {device.key: device for device in devices}
        return Snapshot(devices=tuple(devices), events=tuple(self._events(node)))

    def _device(self, node: state.Node, gpu: state.NvidiaDevice, full: bool) -> Device:
        key = DeviceKey(Vendor.NVIDIA, gpu.pci)
        last = self._last.get(key)
        if gpu.status in (_LOST, _RESET_REQUIRED):
            condition = DeviceState.LOST if gpu.status == _LOST else DeviceState.RESET_REQUIRED
            return Device(identity=_gpu_identity(node, gpu) if last is None else last.identity, state=condition)
        # An Xid or a GPU that is back has everything read at once.
        news = len(gpu.xid_events) > self._told.get(key, len(gpu.xid_events))
        if last is None or last.sensors is None or full or news:
            return _gpu(node, gpu, last)
        sensors = msgspec.structs.replace(
            last.sensors,
            power_watts=gpu.power_watts,
            energy_joules=gpu.energy_millijoules / 1000,
            utilization_ratio=None if gpu.utilization_percent is None else int(gpu.utilization_percent) / 100,
            throttle=_throttle(gpu),
        )
        return msgspec.structs.replace(last, sensors=sensors)

    def _events(self, node: state.Node) -> list[LogEvent]:
        """Xids since the poll before: a set tells only what comes after it was made."""
        events: list[LogEvent] = []
        for gpu in node.nvidia:
            key = DeviceKey(Vendor.NVIDIA, gpu.pci)
            new = gpu.xid_events[self._told.get(key, len(gpu.xid_events)) :]
            self._told[key] = len(gpu.xid_events)
            events += (
                LogEvent(
                    kind="xid", vendor="nvidia", code=str(number), pci=gpu.pci.partition(".")[0], wall=node.wall,
                    text="NVML event",
                )
                for number in new
            )  # fmt: skip
        return events


def _gpu_identity(node: state.Node, gpu: state.NvidiaDevice) -> Identity:
    return Identity(
        key=DeviceKey(Vendor.NVIDIA, gpu.pci), model=gpu.model, uuid=gpu.uuid, serial=gpu.serial, pci=gpu.pci,
        driver=node.driver, firmware=gpu.firmware, library=node.tool, index=gpu.index,
    )  # fmt: skip


def _gpu(node: state.Node, gpu: state.NvidiaDevice, last: Device | None) -> Device:
    """A full reading. The identity is read once, and stays the same object while the worker lives."""
    identity = _gpu_identity(node, gpu) if last is None or last.sensors is None else last.identity
    return Device(
        identity=identity,
        sensors=Sensors(
            power_watts=gpu.power_watts,
            power_limit_watts=gpu.power_limit_watts,
            energy_joules=gpu.energy_millijoules / 1000,
            temperature_celsius=gpu.temperature_celsius,
            memory_temperature_celsius=gpu.memory_temperature_celsius,
            utilization_ratio=None if gpu.utilization_percent is None else int(gpu.utilization_percent) / 100,
            memory_used_bytes=gpu.memory_used_mib << 20,
            memory_total_bytes=gpu.memory_total_mib << 20,
            clocks=tuple(DeviceClock(domain, megahertz * 1e6) for domain, megahertz in gpu.clocks_mhz.items()),
            throttle=_throttle(gpu),
        ),
        health=Health(recovery_action=gpu.recovery_action),
        ecc=tuple(
            EccCount(memory=memory, kind=kind, count=counts.get(f"{memory}_{kind.value}", 0), lifetime=lifetime)
            for counts, lifetime in ((gpu.ecc_volatile, False), (gpu.ecc_aggregate, True))
            for kind in (ErrorKind.CORRECTED, ErrorKind.UNCORRECTED)
            for memory in ("hbm", "sram")
        ),
        repairs=Repairs(
            rows_corrected=gpu.rows_corrected, rows_uncorrected=gpu.rows_uncorrected, pending=gpu.rows_pending,
            failed=gpu.rows_failed, banks_without_spare=int(gpu.rows_failed),
            sram_threshold_exceeded=gpu.sram_threshold_exceeded,
        ),
        pcie=Pcie(
            generation=gpu.pcie_generation, generation_max=gpu.pcie_generation_max, width=gpu.pcie_width,
            width_max=gpu.pcie_width_max, replays=gpu.pcie_replays,
        ),
        fabric=Fabric(state="completed", status=0, healthy=True),
        links=tuple(_nvlink(node, identity.key, link) for link in gpu.links),
        processes=tuple(_holder(process) for process in gpu.processes),
    )  # fmt: skip


def _throttle(gpu: state.NvidiaDevice) -> tuple[Throttle, ...]:
    return tuple(word for bit, word in _THROTTLES.items() if gpu.throttle_bits & bit)


def _nvlink(node: state.Node, key: DeviceKey, link: state.Link) -> Link:
    names = (
        ("buffer_overrun", "rx_errors", "local_integrity", "recovery_failed", "effective_errors", "symbol_errors")
        if node.family == "blackwell"
        else ("replay", "recovery", "crc_flit", "crc_data")
    )
    return Link(
        key=key,
        link=f"nvlink{link.number}",
        kind=LinkKind.NVLINK,
        state=LinkState.UP if link.up else LinkState.DOWN,
        errors={name: link.errors.get(name, 0) for name in names} if link.up else None,
    )


def _holder(process: state.Process) -> DeviceProcess:
    return DeviceProcess(pid=process.pid, name=process.name, memory_bytes=process.memory_bytes)

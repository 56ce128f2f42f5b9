"""From the true state of a simulated Ascend node to what `sources.npu_smi` and `sources.hccn_tool` give of it.

The real sources read the simulated tools, in this process. That costs more than all the rest of a node, so while
nothing changes but the load of its devices, the last answer is given again with the present load in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from accelwatch.clock import Clock
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.link import Link, LinkChange
from accelwatch.readings.snapshot import Device, Snapshot
from accelwatch.simulator import hccn_tool, npu_smi, state
from accelwatch.simulator.answer import encoded
from accelwatch.sources.base import AscendDevice, SourceTimeout
from accelwatch.sources.commands import Output
from accelwatch.sources.hccn_tool import HccnTool
from accelwatch.sources.npu_smi import NpuSmi

# After a change everything is read for so long, since detectors want to see some things twice; then this often.
SETTLED_SECONDS, RENEWED_SECONDS = 90.0, 900.0
TIMEOUT_SECONDS = 10.0
# `hccn_tool -stat` counts what was sent and what was received, and simulated ports do as much of both.
_WAYS = 2


class Tools:
    """Runs the simulated tools of a node's state; see `sources.commands.Runner`."""

    def __init__(self) -> None:
        self.node = state.Node("none", "ascend", "", "", "910B")

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        """Raises `SourceTimeout` for a call that does not return in time; it has not waited for it."""
        tool = hccn_tool if argv[0] == "hccn_tool" else npu_smi
        printed = tool.answer(self.node, list(argv[1:]))
        if printed.block or printed.delay_seconds > timeout:
            raise SourceTimeout(f"{' '.join(argv)}: no answer within {timeout:g} s; killed")
        stdout, stderr = (part.decode(errors="replace") for part in encoded(printed))
        return Output(printed.status, stdout, stderr)


class Ascend:
    """Polls of one node. `devices`: those that hccn_tool is asked about."""

    def __init__(self, clock: Clock, interval: float, devices: Callable[[], Sequence[AscendDevice]]) -> None:
        self._tools = Tools()
        self._npu_smi = NpuSmi(
            command="npu-smi", timeout=TIMEOUT_SECONDS, interval=interval, runner=self._tools, clock=clock
        )
        self._hccn_tool = HccnTool(
            command="hccn_tool",
            timeout=TIMEOUT_SECONDS,
            interval=interval,
            runner=self._tools,
            clock=clock,
            devices=devices,
        )
        self._chips = _Kept()
        self._ports = _Kept()

    def npu_smi(self, node: state.Node, changed: bool = True) -> Snapshot:
        """What a poll of npu-smi gives. `changed`: more than load, packets and time since the poll before.

        Raises `SourceError`.
        """
        last = self._chips.holds(node, changed)
        if last is None:
            self._tools.node = node
            return self._chips.keep(node, self._npu_smi.poll(everything=True))
        chips = {key_of(chip): chip for chip in node.ascend}
        return msgspec.structs.replace(last, devices=tuple(_loaded(d, chips[d.key]) for d in last.devices))

    def hccn_tool(self, node: state.Node, changed: bool = True) -> Snapshot:
        """What a poll of hccn_tool gives; the same. Raises `SourceError`."""
        last = self._ports.holds(node, changed)
        if last is None:
            self._tools.node = node
            return self._ports.keep(node, self._hccn_tool.poll(everything=True))
        passed = node.now - self._ports.read_at
        moved = {key: _WAYS * (now - self._ports.packets[key]) for key, now in _packets(node).items()}
        links = tuple(_later(link, passed, moved) for link in last.links)
        return msgspec.structs.replace(last, links=links)


class _Kept:
    """The last answer that was really read, and the packets of each chip's port at that moment."""

    def __init__(self) -> None:
        self.read_at = 0.0
        self.packets: dict[DeviceKey, int] = {}
        self._changed_at = float("-inf")
        self._snapshot: Snapshot | None = None

    def holds(self, node: state.Node, changed: bool) -> Snapshot | None:
        if changed:
            self._changed_at = node.now
        settled = node.now - self._changed_at > SETTLED_SECONDS
        return self._snapshot if settled and node.now - self.read_at < RENEWED_SECONDS else None

    def keep(self, node: state.Node, snapshot: Snapshot) -> Snapshot:
        self._snapshot, self.read_at, self.packets = snapshot, node.now, _packets(node)
        return snapshot


def _packets(node: state.Node) -> dict[DeviceKey, int]:
    return {key_of(chip): chip.roce.packets for chip in node.ascend if chip.roce is not None}


def key_of(chip: state.AscendDevice) -> DeviceKey:
    """As npu-smi names the chip."""
    return DeviceKey(Vendor.ASCEND, f"npu{chip.npu_id}/chip{chip.chip_id}")


def _loaded(device: Device, chip: state.AscendDevice) -> Device:
    """The reading with what the chip's work shows now, as the tool prints it."""
    old = device.sensors
    if old is None:
        return device
    sensors = msgspec.structs.replace(
        old,
        power_watts=None if old.power_watts is None else chip.power_watts,
        temperature_celsius=chip.temperature_celsius,
        memory_temperature_celsius=None if old.memory_temperature_celsius is None else chip.memory_temperature_celsius,
        utilization_ratio=None if chip.utilization_percent is None else chip.utilization_percent / 100,
    )
    return msgspec.structs.replace(device, sensors=sensors, links=_moved(device.links, chip))


def _moved(links: tuple[Link, ...] | None, chip: state.AscendDevice) -> tuple[Link, ...] | None:
    """HCCS links with what they have carried by now; the very same while nothing was."""
    packets = {f"hccs{link.number}": _WAYS * link.packets for link in chip.links}
    if not any(link.packets is not None and link.packets != packets.get(link.link) for link in links or ()):
        return links
    return tuple(
        link if link.packets is None else msgspec.structs.replace(link, packets=packets[link.link])
        for link in links or ()
    )


def _later(link: Link, seconds: float, moved: Mapping[DeviceKey, int]) -> Link:
    """The port's reading when so much time has passed."""
    if link.key is None:
        return link
    history = link.history
    if history:
        history = tuple(LinkChange(change.seconds_ago + round(seconds), change.up) for change in history)
    packets = None if link.packets is None else link.packets + moved.get(link.key, 0)
    return msgspec.structs.replace(link, history=history, packets=packets)

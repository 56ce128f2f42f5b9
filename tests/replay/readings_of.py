"""From the true state of a simulated node to what the agent's sources give of it, without a file or a process.

The simulated fleet of the product reads its nodes like that; a replay has the tools of Ascend read at every poll.
`test_readings_of` holds all of it against real sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from accelwatch.clock import Clock
from accelwatch.readings.snapshot import Snapshot
from accelwatch.simulator import state
from accelwatch.simulator.fleet.host_readings import exits, kernel_records, processes, rdma
from accelwatch.simulator.fleet.nvidia_readings import Nvml
from accelwatch.sources.base import AscendDevice
from accelwatch.sources.hccn_tool import HccnTool
from accelwatch.sources.npu_smi import NpuSmi
from support import SimulatedTools

__all__ = ["Ascend", "Nvml", "exits", "kernel_records", "processes", "rdma"]


class Ascend:
    """Polls of the real `sources.npu_smi` and `sources.hccn_tool` on simulated tools, with their own schedule."""

    def __init__(self, clock: Clock, interval: float, devices: Callable[[], Sequence[AscendDevice]]) -> None:
        """`devices`: those that hccn_tool is asked about."""
        self._tools = SimulatedTools(state.Node("none", "ascend", "", "", "910B"))
        common = {"timeout": 10.0, "interval": interval, "runner": self._tools, "clock": clock}
        self._npu_smi = NpuSmi(command="npu-smi", **common)  # type: ignore[arg-type]
        self._hccn_tool = HccnTool(command="hccn_tool", devices=devices, **common)  # type: ignore[arg-type]

    def npu_smi(self, node: state.Node) -> Snapshot:
        """What the next poll of npu-smi gives. Raises `SourceError`."""
        self._tools.node = node
        return self._npu_smi.poll()

    def hccn_tool(self, node: state.Node) -> Snapshot:
        """What the next poll of hccn_tool gives. Raises `SourceError`."""
        self._tools.node = node
        return self._hccn_tool.poll()

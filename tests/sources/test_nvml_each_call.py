"""Every driver call that the worker makes, blocked for ever, one at a time: in a real worker on a C library."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelwatch.readings.health import DeviceState
from accelwatch.simulator import nvml_library
from accelwatch.sources.base import SourceTimeout
from sources.test_nvml_failures import Rig
from support import node_of

DEADLINE = 0.5  # twice this is what a worker may take to start
PACKAGE = Path(nvml_library.__file__).resolve().parents[1] / "sources"
# One GPU's: it is set apart, and the others are read in the same poll.
OF_A_DEVICE = (
    "nvmlDeviceGetClockInfo", "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetCurrPcieLinkGeneration",
    "nvmlDeviceGetCurrPcieLinkWidth", "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetFieldValues", "nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetMaxPcieLinkGeneration",
    "nvmlDeviceGetMaxPcieLinkWidth", "nvmlDeviceGetMemoryErrorCounter", "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetMigMode", "nvmlDeviceGetName", "nvmlDeviceGetNvLinkErrorCounter", "nvmlDeviceGetNvLinkState",
    "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPcieReplayCounter", "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetRowRemapperHistogram", "nvmlDeviceGetSerial", "nvmlDeviceGetSramEccErrorStatus",
    "nvmlDeviceGetTemperature", "nvmlDeviceGetUUID", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetVbiosVersion",
)  # fmt: skip
# What they serve is done without for a while, and every GPU is read.
OF_EVENTS = ("nvmlDeviceGetSupportedEventTypes", "nvmlDeviceRegisterEvents", "nvmlEventSetCreate")
# Nothing is known of any GPU without these.
OF_THE_LIBRARY = (
    "nvmlInitWithFlags", "nvmlSystemGetDriverVersion", "nvmlSystemGetNVMLVersion", "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
)  # fmt: skip
# Others that the package names, and why they are not among these.
ELSEWHERE = {
    "nvmlSystemGetProcessName": "test_nvml_failures: a process whose name blocks costs names only",
    "nvmlShutdown": "called when an operator releases the driver, and then waited for no longer than a call may take",
    "nvmlEventSetWait": "test_nvml_events: it waits in a thread of its own",
    "nvmlDeviceGetGpuInstanceId": "of MIG instances, as the other calls of their GPU",
    "nvmlDeviceGetComputeInstanceId": "of MIG instances",
    "nvmlDeviceGetMaxMigDeviceCount": "of MIG instances",
    "nvmlDeviceGetMigDeviceHandleByIndex": "of MIG instances",
    "nvmlDeviceGetPowerUsage": "of GPUs without the field of it",
    "nvmlDeviceGetTotalEnergyConsumption": "of GPUs without the field of it",
    "nvmlDeviceGetTotalEccErrors": "of GPUs without memory error counters",
    "nvmlDeviceGetRetiredPages": "of GPUs before Ampere",
    "nvmlDeviceGetRetiredPagesPendingStatus": "of GPUs before Ampere",
    "nvmlDeviceGetCurrentClocksThrottleReasons": "the older name",
    "nvmlDeviceGetTemperatureV": "the newer one, where a driver has it",
}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, node_of("hopper", 3))
    made.source._child._timeout = made.source._timeout = DEADLINE
    yield made
    made.source.close()


@pytest.mark.parametrize("call", OF_A_DEVICE)
def test_a_call_that_blocks_on_one_gpu_costs_that_gpu(rig: Rig, call: str) -> None:
    """Its identity is known from before; when the call returns again, so does the GPU."""
    rig.source.poll()
    rig.source._child.end()  # a call that is made once for each worker is made again
    rig.node.nvidia[1].blocked_calls.append(call)
    rig.show()
    snapshot = rig.source.poll()
    states = {device.identity.index: device.state for device in snapshot.devices}
    assert states == {0: DeviceState.UP, 1: DeviceState.BLOCKED, 2: DeviceState.UP}
    assert all(device.sensors is not None for device in snapshot.devices if device.state is DeviceState.UP)
    assert call.partition("_")[0] in " ".join(snapshot.problems)
    rig.node.nvidia[1].blocked_calls.clear()
    rig.show()
    rig.clock.now += 31.0
    assert rig.states() == [DeviceState.UP] * 3


@pytest.mark.parametrize("call", OF_EVENTS)
def test_a_call_for_events_that_blocks_costs_events(rig: Rig, call: str) -> None:
    rig.node.blocked_library_calls.append(call)
    for gpu in rig.node.nvidia:
        gpu.blocked_calls.append(call)
    rig.show()
    assert rig.states() == [DeviceState.UP] * 3


@pytest.mark.parametrize("call", OF_THE_LIBRARY)
def test_a_call_of_the_library_that_blocks_is_a_timeout(rig: Rig, call: str) -> None:
    rig.node.blocked_library_calls.append(call)
    rig.show()
    with pytest.raises(SourceTimeout, match=call.partition("_")[0].removesuffix("WithFlags")):
        rig.source.poll()


def test_no_call_of_the_worker_is_left_out(tmp_path: Path) -> None:
    """A new one has to be put into one of the lists."""
    named = set()
    for path in PACKAGE.glob("nvml_*.py"):
        named |= set(re.findall(r"\bnvml(?:Device|System|Event|Init|Shutdown)\w*", path.read_text()))
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", str(nvml_library.install(tmp_path))], capture_output=True, text=True, check=True
    ).stdout.split()
    functions = {re.sub(r"_v\d$", "", name) for name in exported if name.startswith("nvml")}
    called = {name for one in named if (name := re.sub(r"_v\d$", "", one)) in functions} - {"nvmlInit"}
    listed = {re.sub(r"_v\d$", "", name) for name in (*OF_A_DEVICE, *OF_EVENTS, *OF_THE_LIBRARY, *ELSEWHERE)}
    assert called <= listed, sorted(called - listed)

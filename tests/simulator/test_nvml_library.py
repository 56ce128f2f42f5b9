"""The simulated libnvidia-ml.so.1, driven through the real pynvml in a process of its own."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pynvml
import pytest

from accelwatch.simulator import nvml_layout, nvml_library
from accelwatch.simulator.state import MigDevice, Node
from support import CORPUS, node_of

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
BEGIN = """
import ctypes, json, time, pynvml as p
p.nvmlInit()
h = p.nvmlDeviceGetHandleByIndex(0)
def code(call, *arguments):
    try:
        call(*arguments)
    except p.NVMLError as error:
        return error.value
    return 0
"""


class Simulated:
    """A node directory with its library, and children that ask it."""

    def __init__(self, directory: Path, node: Node) -> None:
        self.directory, self.node = directory, node
        nvml_library.install(directory)
        self.file = nvml_library.StateFile(directory)
        self.file.write(node)

    def start(self, text: str, begin: str = BEGIN) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", begin + textwrap.dedent(text)],
            env={"LD_LIBRARY_PATH": str(self.directory)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, text: str, begin: str = BEGIN) -> Any:
        with self.start(f"print(json.dumps({text}))", begin) as child:
            out, _ = child.communicate(timeout=20)
        assert child.returncode == 0
        return json.loads(out)


@pytest.fixture
def simulated(tmp_path: Path) -> Simulated:
    return Simulated(tmp_path, node_of("hopper", 2))


def test_values_are_those_of_the_state(simulated: Simulated) -> None:
    """Identity, sensors, memory, ECC, rows, PCIe, links and processes come out as the state has them."""
    gpu = simulated.node.nvidia[0]
    gpu.ecc_volatile, gpu.ecc_aggregate = {"hbm_uncorrected": 3, "l2_corrected": 4}, {"sram_uncorrected": 5}
    gpu.rows_uncorrected, gpu.rows_pending, gpu.sram_threshold_exceeded = 2, True, True
    gpu.links[3].up, gpu.links[4].errors = False, {"crc_flit": 7}
    gpu.throttle_bits, gpu.recovery_action, gpu.pcie_width, gpu.pcie_replays = 0x48, 2, 8, 11
    simulated.file.write(simulated.node)
    got = simulated.ask(
        """{
        "name": p.nvmlDeviceGetName(h), "uuid": p.nvmlDeviceGetUUID(h), "pci": p.nvmlDeviceGetPciInfo(h).busId,
        "power": p.nvmlDeviceGetPowerUsage(h), "celsius": p.nvmlDeviceGetTemperatureV(h, 0),
        "rates": [p.nvmlDeviceGetUtilizationRates(h).gpu, p.nvmlDeviceGetUtilizationRates(h).memory],
        "memory": p.nvmlDeviceGetMemoryInfo(h, version=p.nvmlMemory_v2).used,
        "uncorrected": p.nvmlDeviceGetTotalEccErrors(h, 1, 0), "l2": p.nvmlDeviceGetMemoryErrorCounter(h, 0, 0, 1),
        "l1": code(p.nvmlDeviceGetMemoryErrorCounter, h, 0, 0, 0), "sram": p.nvmlDeviceGetMemoryErrorCounter(h, 1, 1, 7),
        "rows": p.nvmlDeviceGetRemappedRows(h), "pages": code(p.nvmlDeviceGetRetiredPages, h, 0),
        "links": [p.nvmlDeviceGetNvLinkState(h, n) for n in range(18)], "crc": p.nvmlDeviceGetNvLinkErrorCounter(h, 4, 2),
        "pcie": [p.nvmlDeviceGetCurrPcieLinkWidth(h), p.nvmlDeviceGetPcieReplayCounter(h)],
        "throttle": p.nvmlDeviceGetCurrentClocksEventReasons(h),
        "processes": [[r.pid, r.usedGpuMemory, p.nvmlSystemGetProcessName(r.pid)] for r in p.nvmlDeviceGetComputeRunningProcesses(h)],
        "by_address": p.nvmlDeviceGetUUID(p.nvmlDeviceGetHandleByPciBusId(b"0000:18:00.0")),
        }"""
    )
    assert got == {
        "name": gpu.model, "uuid": gpu.uuid, "pci": f"0000{gpu.pci}".upper(),
        "power": round((gpu.power_watts or 0) * 1000), "celsius": gpu.temperature_celsius,
        "rates": [gpu.utilization_percent, 55], "memory": gpu.memory_used_mib << 20,
        "uncorrected": 3, "l2": 4, "l1": 3, "sram": 5, "rows": [0, 2, 1, 0], "pages": 3,
        "links": [int(n != 3) for n in range(18)], "crc": 7, "pcie": [8, 11], "throttle": 0x48,
        "processes": [[20000, gpu.processes[0].memory_bytes, "python3"]], "by_address": gpu.uuid,
    }  # fmt: skip


FIELDS = (
    "[[v.nvmlReturn, v.value.ullVal] for v in p.nvmlDeviceGetFieldValues(h, [230, 186, 91, (207, 1), (161, 1), 9999])]"
)


def test_fields_have_a_result_each(simulated: Simulated) -> None:
    """One field that is not supported, or made to fail, leaves the others of the call alone."""
    gpu = simulated.node.nvidia[0]
    gpu.recovery_action, gpu.field_results, gpu.links[1].errors = 1, {186: 999}, {"replay": 6}
    simulated.file.write(simulated.node)
    assert simulated.ask(FIELDS) == [[0, 1], [999, 0], [0, 18], [3, 0], [0, 6], [3, 0]]


def test_blackwell_has_nvlink5_counters_only(tmp_path: Path) -> None:
    """On Blackwell fields 201 to 222 count by link, and the older counters are not supported."""
    node = node_of("blackwell", 1)
    node.nvidia[0].links[1].errors = {"buffer_overrun": 9}
    got = Simulated(tmp_path, node).ask(f"[{FIELDS}, code(p.nvmlDeviceGetNvLinkErrorCounter, h, 1, 0)]")
    assert [got[0][3], got[0][4], got[1]] == [[0, 9], [3, 0], 3]


@pytest.mark.parametrize("status", [15, 16, 999])
def test_status_of_one_device(simulated: Simulated, status: int) -> None:
    """A sick GPU answers its status to every call while the other one goes on."""
    simulated.node.nvidia[1].status = status
    simulated.file.write(simulated.node)
    by_index = "p.nvmlDeviceGetHandleByIndex(1)"
    call = f"code(lambda: p.nvmlDeviceGetPowerUsage({by_index}))"
    assert simulated.ask(f"[{call}, code(p.nvmlDeviceGetPowerUsage, h)]") == [status, 0]


def test_forced_results_and_absent_symbols(simulated: Simulated) -> None:
    """A call can be made to fail on one device, or for the whole library as on an older driver."""
    simulated.node.nvidia[0].call_results = {"nvmlDeviceGetPowerUsage": 999}
    simulated.node.call_results = {"nvmlDeviceGetTemperatureV": 13}
    simulated.file.write(simulated.node)
    got = simulated.ask(
        "[code(p.nvmlDeviceGetPowerUsage, h), code(p.nvmlDeviceGetTemperatureV, h, 0), code(p.nvmlDeviceGetName, h)]"
    )
    assert got == [999, 13, 0]


def test_init_fails(simulated: Simulated) -> None:
    """nvmlInit gives what the state says."""
    simulated.node.init_result = 18
    simulated.file.write(simulated.node)
    assert (
        simulated.ask("code(p.nvmlInit)", BEGIN.replace("p.nvmlInit()\nh = p.nvmlDeviceGetHandleByIndex(0)", "")) == 18
    )


def test_a_device_that_vanished_is_not_counted(simulated: Simulated) -> None:
    """The count drops, indexes move, and an old handle is lost."""
    with simulated.start(
        "print(); input(); g = p.nvmlDeviceGetHandleByIndex(0)\n"
        "print(json.dumps([p.nvmlDeviceGetCount(), p.nvmlDeviceGetUUID(g), code(p.nvmlDeviceGetName, h)]))"
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        simulated.node.nvidia[0].present = False
        simulated.file.write(simulated.node)
        out, _ = child.communicate("\n", timeout=20)
    assert json.loads(out) == [1, simulated.node.nvidia[1].uuid, 15]


def test_a_blocked_call_returns_when_the_fault_is_over(simulated: Simulated) -> None:
    """A blocked call stands until the state says otherwise, and then gives its value."""
    simulated.node.nvidia[0].blocked_calls = ["nvmlDeviceGetPowerUsage"]
    simulated.file.write(simulated.node)
    with simulated.start("print(p.nvmlDeviceGetName(h), flush=True)\nprint(p.nvmlDeviceGetPowerUsage(h))") as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == simulated.node.nvidia[0].model
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
        simulated.node.nvidia[0].blocked_calls = []
        simulated.file.write(simulated.node)
        assert int(child.stdout.readline()) > 0


def test_an_event_set_delivers_each_xid_once(simulated: Simulated) -> None:
    """Only Xids after registration come, in order, once each; then the wait times out."""
    simulated.node.nvidia[0].xid_events = [13]
    simulated.file.write(simulated.node)
    with simulated.start(
        """
        s = p.nvmlEventSetCreate()
        print(p.nvmlDeviceGetSupportedEventTypes(h) & p.nvmlEventTypeXidCriticalError)
        print(code(p.nvmlDeviceRegisterEvents, h, 1 << 40, s))
        p.nvmlDeviceRegisterEvents(h, p.nvmlEventTypeXidCriticalError, s)
        print("ready", flush=True)
        for _ in range(2):
            e = p.nvmlEventSetWait_v2(s, 10000)
            print(e.eventType, e.eventData, e.gpuInstanceId, flush=True)
        print(code(p.nvmlEventSetWait_v2, s, 50), code(p.nvmlEventSetFree, s))
        """
    ) as child:
        assert child.stdout is not None
        assert [child.stdout.readline().strip() for _ in range(3)] == ["8", "3", "ready"]
        simulated.node.nvidia[0].xid_events = [13, 79, 45]
        simulated.file.write(simulated.node)
        out, _ = child.communicate(timeout=20)
    assert out.split("\n")[:3] == ["8 79 4294967295", "8 45 4294967295", "10 0"]


def test_mig_devices(simulated: Simulated) -> None:
    """A MIG device has name, ids and memory of its own; calls about the board are not supported on it."""
    simulated.node.nvidia[0].mig = [MigDevice(3, 0, "MIG-1", "NVIDIA H100 MIG 1g.10gb", 9728, 12)]
    simulated.file.write(simulated.node)
    m = "p.nvmlDeviceGetMigDeviceHandleByIndex(h, 0)"
    got = simulated.ask(
        f"[p.nvmlDeviceGetMigMode(h)[0], p.nvmlDeviceGetName({m}), p.nvmlDeviceGetGpuInstanceId({m}), "
        f"p.nvmlDeviceGetMemoryInfo({m}).total >> 20, code(p.nvmlDeviceGetPowerUsage, {m}), "
        "code(p.nvmlDeviceGetMigDeviceHandleByIndex, h, 1)]"
    )
    assert got == [1, "NVIDIA H100 MIG 1g.10gb", 3, 9728, 3, 6]


def test_before_ampere_pages_are_retired(simulated: Simulated) -> None:
    """A GPU without row remapping answers 3 to it and lists its retired pages."""
    gpu = simulated.node.nvidia[0]
    gpu.row_remapping, gpu.retired_pages_uncorrected, gpu.retired_pages_pending = False, 2, True
    simulated.file.write(simulated.node)
    got = simulated.ask(
        "[code(p.nvmlDeviceGetRemappedRows, h), len(p.nvmlDeviceGetRetiredPages(h, 1)), p.nvmlDeviceGetRetiredPagesPendingStatus(h)]"
    )
    assert got == [3, 2, 1]


def test_wrong_version_words_are_refused(simulated: Simulated) -> None:
    """A structure with another version word is answered with 25."""
    wrong = "x.version = 7"
    with simulated.start(
        f"""
        out = []
        for form, call in ((p.c_nvmlGpuFabricInfo_v3_t, "nvmlDeviceGetGpuFabricInfoV"), (p.c_nvmlTemperature_v1_t, "nvmlDeviceGetTemperatureV"),
                           (p.c_nvmlEccSramErrorStatus_v1_t, "nvmlDeviceGetSramEccErrorStatus"), (p.c_nvmlMemory_v2_t, "nvmlDeviceGetMemoryInfo_v2")):
            x = form(); {wrong}
            out.append(p._nvmlGetFunctionPointer(call)(h, ctypes.byref(x)))
        print(json.dumps(out))
        """
    ) as child:
        out, _ = child.communicate(timeout=20)
    assert json.loads(out) == [25, 25, 25, 25]


@pytest.mark.parametrize(
    ("name", "size", "offsets"),
    [
        ("nvmlPciInfo_t", 68, {"pciDeviceId": 28, "busId": 36}),
        ("c_nvmlFieldValue_t", 40, {"valueType": 24, "nvmlReturn": 28, "value": 32}),
        ("c_nvmlEventData_t", 32, {"eventType": 8, "eventData": 16, "computeInstanceId": 28}),
        ("c_nvmlProcessInfo_v3_t", 24, {"usedGpuMemory": 8, "gpuInstanceId": 16}),
        ("c_nvmlGpuFabricInfo_v3_t", 40, {"status": 20, "state": 28, "healthMask": 32, "healthSummary": 36}),
        ("c_nvmlEccSramErrorStatus_v1_t", 104, {"bThresholdExceeded": 96}),
        ("c_nvmlMemory_v2_t", 40, {"total": 8, "free": 24, "used": 32}),
        ("c_nvmlRowRemapperHistogramValues", 20, {"none": 16}),
        ("c_nvmlViolationTime_t", 16, {"violationTime": 8}),
    ],
)
def test_structures_are_those_of_the_binding(name: str, size: int, offsets: dict[str, int]) -> None:
    """The sizes and offsets that the C source asserts are those of the installed binding."""
    form = getattr(pynvml, name)
    assert ctypes.sizeof(form) == size
    assert {field: getattr(form, field).offset for field in offsets} == offsets


def test_exports_no_more_than_a_real_library(simulated: Simulated) -> None:
    """Every exported symbol is one of driver 590's library."""
    real = CORPUS / "nvidia" / "nvml" / "libnvidia-ml-590-exported-symbols.txt"
    if not real.exists():
        pytest.skip("the corpus of captures is not here")
    if shutil.which("nm") is None:
        pytest.skip("no nm")
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", str(simulated.directory / nvml_library.LIBRARY)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    own = {line.split()[-1] for line in listing.splitlines()}
    assert "nvmlInitWithFlags" in own
    assert own - set(real.read_text().split()) == set()


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is compiled yet and there is no cc, the error names the packages."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(nvml_library.CompilerMissing, match="apt-get install gcc"):
        nvml_library.install(tmp_path)


def test_the_header_is_made_from_the_layout() -> None:
    """Every structure of the layout is in the C header with its size asserted."""
    header = nvml_layout.header()
    for form in (nvml_layout.Override, nvml_layout.DeviceEntry, nvml_layout.NodeEntry):
        assert f'sizeof(struct {form.__name__}) == {ctypes.sizeof(form)}, "layout"' in header

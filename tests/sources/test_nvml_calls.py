"""The calls that go straight to the library: what they give is what the binding gives."""

from __future__ import annotations

import ctypes
import json
import struct
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest

from accelwatch.simulator import nvml_library
from accelwatch.sources.nvml_calls import FIELD, _member, _Rates
from accelwatch.sources.nvml_progress import Progress
from accelwatch.sources.nvml_text import Written, members, row
from support import node_of

# In a process of its own: the library is loaded once for all.
BOTH = """
import ctypes, json, sys
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
import pynvml
from accelwatch.sources.nvml_calls import Calls
calls = Calls(pynvml, ctypes.CDLL("libnvidia-ml.so.1"))
calls.nvmlInit()
handles = [calls.nvmlDeviceGetHandleByIndex(n) for n in range(2)]
found = []
def ask(module, name, *arguments):
    try:
        return getattr(module, name)(*arguments)
    except pynvml.NVMLError as error:
        return f"code {error.value}"
def plain(values):
    members = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    return [[v.nvmlReturn, getattr(v.value, members[v.valueType])] for v in values]
for handle in handles:
    for name, arguments in [
        ("nvmlDeviceGetClockInfo", (1,)), ("nvmlDeviceGetClockInfo", (77,)), ("nvmlDeviceGetTemperature", (0,)),
        ("nvmlDeviceGetCurrPcieLinkGeneration", ()), ("nvmlDeviceGetCurrPcieLinkWidth", ()),
        ("nvmlDeviceGetMaxPcieLinkGeneration", ()), ("nvmlDeviceGetMaxPcieLinkWidth", ()),
        ("nvmlDeviceGetEnforcedPowerLimit", ()), ("nvmlDeviceGetPcieReplayCounter", ()),
        ("nvmlDeviceGetNvLinkState", (3,)), ("nvmlDeviceGetNvLinkState", (99,)),
        ("nvmlDeviceGetNvLinkErrorCounter", (3, 0)), ("nvmlDeviceGetCurrentClocksEventReasons", ()),
        ("nvmlDeviceGetMemoryErrorCounter", (0, 1, 2)), ("nvmlDeviceGetMemoryErrorCounter", (1, 0, 7)),
        ("nvmlDeviceGetTotalEccErrors", (0, 1)), ("nvmlDeviceGetPowerUsage", ()),
        ("nvmlDeviceGetTotalEnergyConsumption", ()), ("nvmlDeviceGetName", ()),
    ]:
        found.append([name, ask(calls, name, handle, *arguments), ask(pynvml, name, handle, *arguments)])
    ours, theirs = ask(calls, "nvmlDeviceGetUtilizationRates", handle), ask(pynvml, "nvmlDeviceGetUtilizationRates", handle)
    found.append(["rates", [ours.gpu, ours.memory], [theirs.gpu, theirs.memory]])
    wanted = [(186, 0), (185, 0), (83, 0), (82, 0), (91, 0), (230, 0), (4711, 0), (161, 2)]
    ours = ask(calls, "nvmlDeviceGetFieldValues", handle, wanted)
    found.append(["fields", [list(pair) for pair in ours], plain(ask(pynvml, "nvmlDeviceGetFieldValues", handle, wanted))])
print(json.dumps(found))
"""


def test_they_give_what_the_binding_gives(tmp_path: Path) -> None:
    """Numbers, codes and field values; of two GPUs in turn, so that nothing of the one stays for the other."""
    node = node_of("hopper", 2)
    node.nvidia[1].ecc_volatile = {"hbm_uncorrected": 3}
    nvml_library.StateFile(tmp_path).write(node)
    library = str(nvml_library.install(tmp_path))
    printed = subprocess.run([sys.executable, "-c", BOTH, library], capture_output=True, text=True, check=True).stdout
    found = json.loads(printed)
    assert [(name, ours) for name, ours, _ in found] == [(name, theirs) for name, _, theirs in found]
    assert any(ours == "code 3" or ours == "code 2" for _, ours, _ in found)


def test_structures_are_those_of_the_binding() -> None:
    """Which follows nvml.h."""
    form = pynvml.c_nvmlFieldValue_t
    assert ctypes.sizeof(form) == FIELD.size
    assert [getattr(form, field[0]).offset for field in form._fields_] == [0, 4, 8, 16, 24, 28, 32]
    rates = pynvml.c_nvmlUtilization_t
    assert [(f[0], getattr(rates, f[0]).offset) for f in rates._fields_] == [
        (f[0], getattr(_Rates, f[0]).offset) for f in _Rates._fields_
    ]


@pytest.mark.parametrize(
    ("kind", "packed", "value"),
    [(0, struct.pack("=d", 1.5), 1.5), (1, struct.pack("=I", 7), 7), (2, struct.pack("=Q", 1 << 40), 1 << 40),
     (4, struct.pack("=q", -5), -5), (5, struct.pack("=i", -6), -6), (6, struct.pack("=H", 9), 9), (77, bytes(8), 0)],
)  # fmt: skip
def test_a_value_is_the_member_that_its_type_names(kind: int, packed: bytes, value: float) -> None:
    """Whatever stands in the rest of the union."""
    assert _member(kind, int.from_bytes(packed.ljust(8, b"\0"), sys.byteorder)) == value


def test_one_call_after_another_is_announced_once() -> None:
    """The agent sees the call that is under way, between two of them none, and then again the same one."""
    progress = Progress()
    started = progress.announce(3, "nvmlDeviceGetNvLinkErrorCounter")
    assert progress.current() is None
    for _ in range(2):
        started[0] = 1
        call = progress.current()
        assert call is not None
        assert (call.device, call.name) == (3, "nvmlDeviceGetNvLinkErrorCounter")
        started[0] = 0
        assert progress.current() is None
    progress.enter(-1, "nvmlInit")
    call = progress.current()
    assert call is not None
    assert (call.device, call.name) == (-1, "nvmlInit")
    progress.leave()
    assert progress.current() is None
    progress.close()


def test_what_has_not_changed_is_not_written_anew() -> None:
    """And what has is."""
    written, built = Written(), []

    def build(values: list[int]) -> dict[str, int]:
        built.append(list(values))
        return {"sum": sum(values)}

    assert [written.text("a", [1, 2], build), written.text("a", [1, 2], build), written.text("a", [1, 3], build)] == [
        '{"sum":3}', '{"sum":3}', '{"sum":4}',
    ]  # fmt: skip
    assert built == [[1, 2], [1, 3]]
    assert json.loads(members({"x": written.text("a", [1, 3], build), "y": "null"})) == {"x": {"sum": 4}, "y": None}


def test_a_row_is_json() -> None:
    """Of what a fast reading consists of."""
    values = (3, 1e-9, 1.5e21, None, ["hw_thermal", "power_brake"])
    assert json.loads(row(values)) == [3, 1e-9, 1.5e21, None, ["hw_thermal", "power_brake"]]


def test_the_worker_imports_nothing_of_weight() -> None:
    """It stays for as long as the agent: these are 5 MB of memory that nobody shares."""
    told = "import sys; from accelwatch.sources import nvml_worker as w; w._pynvml(); print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout
    loaded = set(printed.split())
    assert "pynvml" in loaded
    heavy = {"msgspec", "typing", "subprocess", "tempfile", "pathlib", "logging", "dataclasses", "psutil", "runpy"}
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout
    assert loaded & heavy - set(bare.split()) == set()
    assert not {name for name in loaded if name.startswith("accelwatch.readings.")} - {"accelwatch.readings.pci"}

"""The memory that a simulated node shares with its libnvidia-ml.so.1: one definition for Python and C."""

from __future__ import annotations

import ctypes
from typing import Any

DEVICES, LINKS, PROCESSES, OVERRIDES, MIG_DEVICES = 64, 18, 16, 24, 7
XIDS = 64  # the last ones, in a ring: `xid_total` counts all
PLACES = 8  # nvmlMemoryLocation_t: L1, L2, device memory, register, texture, shared, CBU, SRAM
NVLINK5_FIRST, NVLINK5_COUNT = 201, 22  # NVML_FI_DEV_NVLINK_COUNT_*, Blackwell's counters per link
NO_VALUE = 0xFFFFFFFF  # the device does not report it: NVML_ERROR_NOT_SUPPORTED
NO_COUNT = 0xFFFFFFFFFFFFFFFF  # the same for 64 bits


class Override(ctypes.Structure):
    """How a call misbehaves; `symbol` "*" means all of them."""

    _fields_ = (("symbol", ctypes.c_char * 56), ("result", ctypes.c_int32), ("block", ctypes.c_uint32))


class ProcessEntry(ctypes.Structure):
    """A compute process."""

    _fields_ = (
        ("pid", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("memory", ctypes.c_uint64),
        ("name", ctypes.c_char * 64),
    )


class FieldResult(ctypes.Structure):
    """What the element of nvmlDeviceGetFieldValues for one field gives as its own nvmlReturn."""

    _fields_ = (("field", ctypes.c_uint32), ("result", ctypes.c_int32))


class MigEntry(ctypes.Structure):
    """A MIG device; its address is its handle."""

    _fields_ = (
        ("name", ctypes.c_char * 64),
        ("uuid", ctypes.c_char * 64),
        ("gpu_instance", ctypes.c_uint32),
        ("compute_instance", ctypes.c_uint32),
        ("memory_total", ctypes.c_uint64),
        ("memory_used", ctypes.c_uint64),
    )


class DeviceEntry(ctypes.Structure):
    """A GPU."""

    _fields_ = (
        ("name", ctypes.c_char * 64),
        ("uuid", ctypes.c_char * 64),
        ("serial", ctypes.c_char * 32),
        ("bus_id", ctypes.c_char * 32),
        ("vbios", ctypes.c_char * 32),
        ("present", ctypes.c_uint32),
        ("status", ctypes.c_int32),
        ("power_milliwatts", ctypes.c_uint32),
        ("power_limit_milliwatts", ctypes.c_uint32),
        ("energy_millijoules", ctypes.c_uint64),
        ("temperature", ctypes.c_uint32),
        ("memory_temperature", ctypes.c_uint32),
        ("utilization", ctypes.c_uint32),
        ("recovery_action", ctypes.c_uint32),
        ("memory_total", ctypes.c_uint64),
        ("memory_used", ctypes.c_uint64),
        ("clocks", ctypes.c_uint32 * 4),
        ("throttle", ctypes.c_uint64),
        ("ecc", ctypes.c_uint64 * (4 * PLACES)),  # [corrected, uncorrected][volatile, aggregate][place]
        ("violations", ctypes.c_uint64 * 8),  # nvmlPerfPolicyType_t, nanoseconds
        ("remapped", ctypes.c_uint32 * 4),
        (
            "retired",
            ctypes.c_uint32 * 2,
        ),  # pages by cause: corrected errors, an uncorrected one; NO_VALUE from Ampere on
        ("retired_pending", ctypes.c_uint32),
        ("memory_utilization", ctypes.c_uint32),
        ("architecture", ctypes.c_uint32),
        ("sram_threshold", ctypes.c_uint32),
        ("link_count", ctypes.c_uint32),
        ("link_state", ctypes.c_uint32 * LINKS),
        ("link_errors", ctypes.c_uint64 * (LINKS * 4)),
        ("link_counts", ctypes.c_uint64 * (LINKS * NVLINK5_COUNT)),
        ("nvlink5", ctypes.c_uint32),
        ("pcie_generation", ctypes.c_uint32),
        ("pcie_generation_max", ctypes.c_uint32),
        ("pcie_width", ctypes.c_uint32),
        ("pcie_width_max", ctypes.c_uint32),
        ("pcie_replays", ctypes.c_uint32),
        ("fabric_state", ctypes.c_uint32),
        ("fabric_status", ctypes.c_uint32),
        ("fabric_health", ctypes.c_uint32),
        ("process_count", ctypes.c_uint32),
        ("processes", ProcessEntry * PROCESSES),
        ("override_count", ctypes.c_uint32),
        ("overrides", Override * OVERRIDES),
        ("field_result_count", ctypes.c_uint32),
        ("field_results", FieldResult * OVERRIDES),
        ("mig_enabled", ctypes.c_uint32),
        ("mig_count", ctypes.c_uint32),
        ("mig", MigEntry * MIG_DEVICES),
        ("xid_total", ctypes.c_uint32),
        ("xids", ctypes.c_uint32 * XIDS),
    )


class NodeEntry(ctypes.Structure):
    """The node's driver and its GPUs."""

    _fields_ = (
        ("magic", ctypes.c_uint32),
        ("init_result", ctypes.c_int32),
        ("driver", ctypes.c_char * 32),
        ("nvml", ctypes.c_char * 32),
        ("device_count", ctypes.c_uint32),
        ("override_count", ctypes.c_uint32),
        ("overrides", Override * OVERRIDES),
        ("devices", DeviceEntry * DEVICES),
    )


MAGIC = 0x41574C33

_C_TYPES: dict[Any, str] = {
    ctypes.c_uint32: "uint32_t",
    ctypes.c_int32: "int32_t",
    ctypes.c_uint64: "uint64_t",
    ctypes.c_char: "char",
    Override: "struct Override",
    ProcessEntry: "struct ProcessEntry",
    FieldResult: "struct FieldResult",
    MigEntry: "struct MigEntry",
    DeviceEntry: "struct DeviceEntry",
}


def header() -> str:
    """The same in C."""
    lines = [
        "/* Made from nvml_layout.py. */",
        "#pragma once",
        "#include <stdint.h>",
        f"#define STATE_MAGIC 0x{MAGIC:x}u",
        f"#define NO_VALUE 0x{NO_VALUE:x}u",
        f"#define NO_COUNT 0x{NO_COUNT:x}ull",
        f"#define LINKS {LINKS}",
        f"#define PLACES {PLACES}",
        f"#define XIDS {XIDS}",
        f"#define MIG_DEVICES {MIG_DEVICES}",
        f"#define DEVICES {DEVICES}",
        f"#define NVLINK5_FIRST {NVLINK5_FIRST}",
        f"#define NVLINK5_COUNT {NVLINK5_COUNT}",
    ]
    for structure in (Override, ProcessEntry, FieldResult, MigEntry, DeviceEntry, NodeEntry):
        lines.append(f"struct {structure.__name__} {{")
        for name, kind in ((field[0], field[1]) for field in structure._fields_):
            length = getattr(kind, "_length_", None)
            element = getattr(kind, "_type_", None) if length is not None else kind
            lines.append(f"    {_C_TYPES[element]} {name}{'' if length is None else f'[{length}]'};")
        lines.append("};")
        lines.append(f'_Static_assert(sizeof(struct {structure.__name__}) == {ctypes.sizeof(structure)}, "layout");')
    return "\n".join(lines) + "\n"

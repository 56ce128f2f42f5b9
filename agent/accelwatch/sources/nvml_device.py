"""Reads one GPU through NVML (reference/nvidia.md section 3).

Into plain dictionaries with the readings' own names: what is not in one is not told.
"""

from __future__ import annotations

import ctypes
import re

from accelwatch.readings.pci import normalise_pci
from accelwatch.sources.nvml_wire import PROCESS_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from accelwatch.sources.nvml_driver import Driver, Row

    # Of device memory, and since driver load and lifetime each corrected and uncorrected: the device's, SRAM's, and the
    # places'.
    Ecc = tuple[str, list[tuple[int | None, ...]]]

# Field ids (nvml.h NVML_FI_DEV_*).
MEMORY_TEMPERATURE, ENERGY, POWER_AVERAGE, POWER_INSTANT, RECOVERY_ACTION = 82, 83, 185, 186, 230

# GPUs with stacked memory, for those whose field 82 is silent; the others have GDDR.
_STACKED = re.compile(r"\b(?:G?[PVAHB](?:100|200|300|800)|GH200|A30|H20|HBM\w*)\b")

_FAST = ((POWER_INSTANT, 0), (POWER_AVERAGE, 0), (ENERGY, 0))
# nvmlClocksEventReasons, by the values of `readings.sensors.Throttle`.
_THROTTLES = (
    (0x04, "sw_power_cap"),
    (0x08, "hw_slowdown"),
    (0x20, "sw_thermal"),
    (0x40, "hw_thermal"),
    (0x80, "power_brake"),
    (0x200, "board_limit"),
    (0x400, "reliability"),
)
_CLOCKS = (("graphics", 0), ("sm", 1), ("memory", 2), ("video", 3))
_KINDS = (("corrected", 0), ("uncorrected", 1))
# nvmlMemoryLocation_t; device memory and SRAM are counters of their own, the others say where.
_DRAM, _SRAM = 2, 7
_PLACES = {"l1": 0, "l2": 1, "register": 3, "texture": 4, "shared": 5, "cbu": 6}
# By kind of error and counter (0: since driver load, 1: lifetime).
_ECC_ROWS: dict[tuple[int, int], list[Row]] = {
    (error, counter): [
        (f"{error}{counter}{place}", (error, counter, place)) for place in (_DRAM, _SRAM, *_PLACES.values())
    ]
    for counter in (0, 1)
    for _, error in _KINDS
}
_CLOCK_ROWS: list[Row] = [(domain, (number,)) for domain, number in _CLOCKS]
_FABRIC_STATES = ("not_supported", "not_started", "in_progress", "completed")
_FABRIC_PROBLEMS = (
    (0, "degraded_bandwidth"),
    (2, "route_recovery"),
    (4, "route_unhealthy"),
    (6, "access_timeout_recovery"),
)


class Gpu:
    """One GPU (or MIG device) behind a handle that lives as long as the worker."""

    def __init__(self, driver: Driver, ordinal: int, handle: object, identity: dict[str, Any], mark: str = "") -> None:
        self._driver = driver
        self._mark = mark  # of a MIG device: what it lacks, its GPU may have
        self.ordinal = ordinal
        self.handle = handle
        self.identity = identity
        self._hbm = False

    def call(self, name: str, *arguments: object, mark: str = "") -> Any:
        """One NVML call on this handle."""
        return self._driver.call(self.ordinal, name, self.handle, *arguments, mark=self._mark + mark)

    def fields(self, *wanted: int) -> dict[int, int | float]:
        """Field values without a scope."""
        values = self._driver.fields(self.ordinal, self.handle, [(field, 0) for field in wanted])
        return {pair[0]: value for pair, value in values.items()}

    def fast(self) -> tuple[float | None, float | None, float | None, list[str] | None]:
        """What every poll reads: power, energy, utilization and throttle reasons, as in `nvml_answer.Fast`."""
        driver, ordinal, handle = self._driver, self.ordinal, self.handle
        fields = driver.fields(ordinal, handle, _FAST)
        milliwatts = fields.get(_FAST[0], fields.get(_FAST[1]))
        if milliwatts is None:
            milliwatts = driver.call(ordinal, "nvmlDeviceGetPowerUsage", handle)
        rates = driver.call(ordinal, "nvmlDeviceGetUtilizationRates", handle)
        load = None if rates is None else rates.gpu / 100
        reasons = driver.call(ordinal, "nvmlDeviceGetCurrentClocksEventReasons", handle)
        if reasons is None:
            reasons = driver.call(ordinal, "nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        energy = fields.get(_FAST[2])
        if energy is None:
            energy = driver.call(ordinal, "nvmlDeviceGetTotalEnergyConsumption", handle)
        return (
            None if milliwatts is None else milliwatts / 1000,
            None if energy is None else energy / 1000,
            load,
            None if reasons is None else [name for bit, name in _THROTTLES if reasons & bit],
        )

    def slow_sensors(self) -> dict[str, Any]:
        """Temperatures, limit, memory and clocks."""
        limit = self.call("nvmlDeviceGetEnforcedPowerLimit")
        hbm = self.fields(MEMORY_TEMPERATURE).get(MEMORY_TEMPERATURE) or None  # 0: a board without the sensor
        self._hbm = self._hbm or hbm is not None
        memory = self.memory()
        clocks = self._driver.each(self.ordinal, "nvmlDeviceGetClockInfo", self.handle, _CLOCK_ROWS)
        sensors = {
            "temperature_celsius": self._temperature(),
            "memory_temperature_celsius": _float(hbm),
            "clocks": [
                {"domain": domain, "hertz": megahertz * 1e6}
                for (domain, _), megahertz in zip(_CLOCKS, clocks, strict=True)
                if megahertz is not None
            ],
        }
        if limit is not None:
            sensors["power_limit_watts"] = limit / 1000
        if memory is not None:
            sensors["memory_used_bytes"], sensors["memory_total_bytes"] = memory.used, memory.total
        return sensors

    def _temperature(self) -> float | None:
        """Of the core; the older function is deprecated in the newest drivers."""
        celsius = self.call("nvmlDeviceGetTemperature", 0)
        return _float(self.call("nvmlDeviceGetTemperatureV", 0) if celsius is None else celsius)

    def memory(self) -> Any:
        """nvmlMemory_t in bytes, or `None`: version 2, since version 1 counts what the driver reserves as used."""
        version = getattr(self._driver.module, "nvmlMemory_v2", None)
        if version is not None:
            memory = self.call("nvmlDeviceGetMemoryInfo", version, mark="v2")
            if memory is not None:
                return memory
        return self.call("nvmlDeviceGetMemoryInfo")

    def health(self) -> dict[str, Any]:
        """What the driver asks for; NVIDIA has no health word."""
        action = self.fields(RECOVERY_ACTION).get(RECOVERY_ACTION)
        return {"recovery_action": None if action is None else int(action)}

    def read_ecc(self) -> Ecc:
        """Kind of memory, and the counters; what `ecc` makes readings of."""
        counters = []
        for counter in (0, 1):
            for _, error in _KINDS:
                rows = _ECC_ROWS[error, counter]
                found = self._driver.each(self.ordinal, "nvmlDeviceGetMemoryErrorCounter", self.handle, rows)
                counters.append((*self._dram_and_sram(error, counter, found[0], found[1]), *found[2:]))
        return "hbm" if self._hbm or _STACKED.search(self.identity.get("model") or "") else "ddr", counters

    def _dram_and_sram(
        self, error: int, counter: int, dram: int | None, sram: int | None
    ) -> tuple[int | None, int | None]:
        """Before Hopper there is no counter of all SRAM: it is what the total has beyond device memory."""
        if sram is not None:
            return dram, sram
        total = self.call("nvmlDeviceGetTotalEccErrors", error, counter, mark=f"{error}{counter}")
        if dram is None or total is None:
            return (total if dram is None else dram), None
        return dram, total - dram if total >= dram else None  # counted up between the two calls

    def repairs(self) -> dict[str, Any] | None:
        """Row remapping, or retired pages before Ampere."""
        remapped = self.call("nvmlDeviceGetRemappedRows")
        threshold = self._sram_threshold()
        if remapped is not None:
            corrected, uncorrected, pending, failed = remapped
            histogram = self.call("nvmlDeviceGetRowRemapperHistogram")
            return {
                "rows_corrected": corrected,
                "rows_uncorrected": uncorrected,
                "pending": bool(pending),
                "failed": bool(failed),
                "banks_without_spare": None if histogram is None else histogram.none,
                "sram_threshold_exceeded": threshold,
            }
        single = self.call("nvmlDeviceGetRetiredPages", 0, mark="0")
        double = self.call("nvmlDeviceGetRetiredPages", 1, mark="1")
        pending = self.call("nvmlDeviceGetRetiredPagesPendingStatus")
        if single is None and double is None and pending is None and threshold is None:
            return None
        return {
            "rows_corrected": None if single is None else len(single),
            "rows_uncorrected": None if double is None else len(double),
            "pending": None if pending is None else bool(pending),
            "sram_threshold_exceeded": threshold,
        }

    def _sram_threshold(self) -> bool | None:
        form = getattr(self._driver.module, "c_nvmlEccSramErrorStatus_v1_t", None)
        if form is None:
            return None
        status = form()
        status.version = getattr(self._driver.module, "nvmlEccSramErrorStatus_v1", 0x1000068)
        if self.call("nvmlDeviceGetSramEccErrorStatus", ctypes.byref(status)) is None:
            return None
        return bool(status.bThresholdExceeded)

    def pcie(self) -> dict[str, Any]:
        """Never the throughput: each such call samples for 20 ms."""
        return {
            "generation": self.call("nvmlDeviceGetCurrPcieLinkGeneration"),
            "generation_max": self.call("nvmlDeviceGetMaxPcieLinkGeneration"),
            "width": self.call("nvmlDeviceGetCurrPcieLinkWidth"),
            "width_max": self.call("nvmlDeviceGetMaxPcieLinkWidth"),
            "replays": self.call("nvmlDeviceGetPcieReplayCounter"),
        }

    def fabric(self) -> dict[str, Any] | None:
        """NVSwitch fabric registration; its status counts only once it is completed."""
        module = self._driver.module
        for form_name, version_name in (
            ("c_nvmlGpuFabricInfo_v3_t", "nvmlGpuFabricInfo_v3"),
            ("c_nvmlGpuFabricInfo_v2_t", "nvmlGpuFabricInfo_v2"),
        ):
            form, version = getattr(module, form_name, None), getattr(module, version_name, None)
            if form is None or version is None:
                continue
            info = form()
            info.version = version
            if self.call("nvmlDeviceGetGpuFabricInfoV", ctypes.byref(info), mark=form_name) is not None:
                return decode_fabric(info.state, info.status, info.healthMask, getattr(info, "healthSummary", 0))
        return None

    def processes(self) -> list[dict[str, Any]] | None:
        """Compute processes by the driver's account; pids are the host's."""
        rows = self.call("nvmlDeviceGetComputeRunningProcesses")
        if rows is None:
            return None
        return [
            {"pid": row.pid, "name": self._process_name(row.pid), "memory_bytes": row.usedGpuMemory} for row in rows
        ]

    def _process_name(self, pid: int) -> str | None:
        """The program's name only: the driver gives its path, at times with arguments."""
        name = self._driver.call(-1, PROCESS_NAME, pid)
        words = (name or "").split()
        return words[0].rpartition("/")[2] or None if words else None


def ecc(read: Ecc) -> list[dict[str, Any]] | None:
    """The fields of each `EccCount`: device memory and SRAM since driver load and lifetime; where they are not told
    apart, the totals.
    """
    device_memory, counters = read
    counts: list[dict[str, Any]] = []
    kinds = [(kind, lifetime) for lifetime in (False, True) for kind, _ in _KINDS]
    for (kind, lifetime), (dram, sram, *places) in zip(kinds, counters, strict=True):
        told = {"kind": kind, "lifetime": lifetime}
        for memory, count in ((device_memory, dram), ("sram", sram)):
            if count is not None:
                counts.append({"memory": memory, "count": count} | told)
        for name, count in zip(_PLACES, places, strict=True):
            if count is not None:
                counts.append({"memory": name, "count": count, "place": True} | told)
    return counts or None


def decode_fabric(state: int, status: int, mask: int, summary: int = 0) -> dict[str, Any] | None:
    """nvmlGpuFabricInfoV: 2-bit fields (0 not told, 1 true, 2 false), 4 bits of configuration (1: none wrong).

    `summary` of version 3: 0 not told, 1 healthy, 2 unhealthy, 3 limited.
    """
    word = _FABRIC_STATES[state] if state < len(_FABRIC_STATES) else f"state_{state}"
    if word == "not_supported":
        return None
    problems = [name for shift, name in _FABRIC_PROBLEMS if (mask >> shift) & 3 == 1]
    configuration = (mask >> 8) & 15
    if configuration > 1:
        problems.append("misconfigured")
    completed = word == "completed"
    healthy = (status == 0 and not problems and summary <= 1) if completed else None
    return {"state": word, "status": status if completed else None, "healthy": healthy, "problems": problems}


def identify(driver: Driver, ordinal: int, handle: object, system: dict[str, str | None]) -> dict[str, Any]:
    """Who the GPU behind a handle is. Raises `DeviceError`, or `ValueError` for an address that is none."""
    pci = normalise_pci(driver.must(ordinal, "nvmlDeviceGetPciInfo", handle).busId)
    serial = driver.call(ordinal, "nvmlDeviceGetSerial", handle)
    return {
        "key": {"vendor": "nvidia", "native": pci},
        "model": driver.call(ordinal, "nvmlDeviceGetName", handle),
        "uuid": driver.call(ordinal, "nvmlDeviceGetUUID", handle),
        "serial": serial if serial and serial.strip(" 0") else None,
        "pci": pci,
        "driver": system["driver"],
        "firmware": driver.call(ordinal, "nvmlDeviceGetVbiosVersion", handle),
        "library": system["library"],
        "index": ordinal,
    }


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)

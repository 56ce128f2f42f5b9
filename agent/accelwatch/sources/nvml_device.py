"""Reads one GPU through NVML into readings (reference/nvidia.md section 3)."""

from __future__ import annotations

import ctypes
import re
from typing import Any

from accelwatch.readings.health import Health
from accelwatch.readings.identity import DeviceKey, Identity, Vendor, normalise_pci
from accelwatch.readings.link import Fabric, Pcie
from accelwatch.readings.memory import EccCount, ErrorKind, Repairs
from accelwatch.readings.process import DeviceProcess
from accelwatch.readings.sensors import Clock, Sensors, Throttle
from accelwatch.sources.nvml_driver import Driver

# Field ids (nvml.h NVML_FI_DEV_*).
MEMORY_TEMPERATURE, ENERGY, POWER_AVERAGE, POWER_INSTANT, RECOVERY_ACTION = 82, 83, 185, 186, 230

# GPUs with stacked memory, for those whose field 82 is silent; the others have GDDR.
_STACKED = re.compile(r"\b(?:G?[PVAHB](?:100|200|300|800)|GH200|A30|H20|HBM\w*)\b")

_THROTTLES = (
    (0x04, Throttle.SW_POWER_CAP),
    (0x08, Throttle.HW_SLOWDOWN),
    (0x20, Throttle.SW_THERMAL),
    (0x40, Throttle.HW_THERMAL),
    (0x80, Throttle.POWER_BRAKE),
    (0x200, Throttle.BOARD_LIMIT),
    (0x400, Throttle.RELIABILITY),
)
_CLOCKS = (("graphics", 0), ("sm", 1), ("memory", 2), ("video", 3))
_KINDS = ((ErrorKind.CORRECTED, 0), (ErrorKind.UNCORRECTED, 1))
# nvmlMemoryLocation_t; device memory and SRAM are counters of their own, the others say where.
_DRAM, _SRAM = 2, 7
_PLACES = ((0, "l1"), (1, "l2"), (3, "register"), (4, "texture"), (5, "shared"), (6, "cbu"))
_FABRIC_STATES = ("not_supported", "not_started", "in_progress", "completed")
_FABRIC_PROBLEMS = (
    (0, "degraded_bandwidth"),
    (2, "route_recovery"),
    (4, "route_unhealthy"),
    (6, "access_timeout_recovery"),
)


class Gpu:
    """One GPU (or MIG device) behind a handle that lives as long as the worker."""

    def __init__(self, driver: Driver, ordinal: int, handle: object, identity: Identity, mark: str = "") -> None:
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

    def fast(self) -> Sensors:
        """Power, utilization and throttle reasons: what every poll reads."""
        fields = self.fields(POWER_INSTANT, POWER_AVERAGE, ENERGY)
        milliwatts = fields.get(POWER_INSTANT, fields.get(POWER_AVERAGE))
        if milliwatts is None:
            milliwatts = self.call("nvmlDeviceGetPowerUsage")
        rates = self.call("nvmlDeviceGetUtilizationRates")
        reasons = self.call("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = self.call("nvmlDeviceGetCurrentClocksThrottleReasons")
        energy = fields[ENERGY] if ENERGY in fields else self.call("nvmlDeviceGetTotalEnergyConsumption")
        return Sensors(
            power_watts=None if milliwatts is None else milliwatts / 1000,
            energy_joules=None if energy is None else energy / 1000,
            utilization_ratio=None if rates is None else rates.gpu / 100,
            throttle=None if reasons is None else tuple(name for bit, name in _THROTTLES if reasons & bit),
        )

    def slow_sensors(self) -> Sensors:
        """Temperatures, limit, memory and clocks."""
        limit = self.call("nvmlDeviceGetEnforcedPowerLimit")
        hbm = self.fields(MEMORY_TEMPERATURE).get(MEMORY_TEMPERATURE) or None  # 0: a board without the sensor
        self._hbm = self._hbm or hbm is not None
        memory = self.memory()
        clocks = ((domain, self.call("nvmlDeviceGetClockInfo", number, mark=domain)) for domain, number in _CLOCKS)
        return Sensors(
            power_limit_watts=None if limit is None else limit / 1000,
            temperature_celsius=self._temperature(),
            memory_temperature_celsius=_float(hbm),
            memory_used_bytes=None if memory is None else memory.used,
            memory_total_bytes=None if memory is None else memory.total,
            clocks=tuple(Clock(domain, megahertz * 1e6) for domain, megahertz in clocks if megahertz is not None),
        )

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

    def health(self) -> Health:
        """What the driver asks for; NVIDIA has no health word."""
        action = self.fields(RECOVERY_ACTION).get(RECOVERY_ACTION)
        return Health(recovery_action=None if action is None else int(action))

    def ecc(self) -> tuple[EccCount, ...] | None:
        """Device memory and SRAM since driver load and lifetime; where they are not told apart, the totals."""
        counts: list[EccCount] = []
        device_memory = "hbm" if self._hbm or _STACKED.search(self.identity.model or "") else "ddr"
        for counter, lifetime in ((0, False), (1, True)):
            for kind, error in _KINDS:
                places = [(name, self._place(error, counter, place)) for place, name in _PLACES]
                dram, sram = self._dram_and_sram(error, counter)
                for memory, count in ((device_memory, dram), ("sram", sram)):
                    if count is not None:
                        counts.append(EccCount(memory=memory, kind=kind, count=count, lifetime=lifetime))
                counts += (
                    EccCount(memory=name, kind=kind, count=count, lifetime=lifetime, place=True)
                    for name, count in places
                    if count is not None
                )
        return tuple(counts) or None

    def _dram_and_sram(self, error: int, counter: int) -> tuple[int | None, int | None]:
        """Before Hopper there is no counter of all SRAM: it is what the total has beyond device memory."""
        dram, sram = self._place(error, counter, _DRAM), self._place(error, counter, _SRAM)
        if sram is not None:
            return dram, sram
        total = self.call("nvmlDeviceGetTotalEccErrors", error, counter, mark=f"{error}{counter}")
        if dram is None or total is None:
            return (total if dram is None else dram), None
        return dram, total - dram if total >= dram else None  # counted up between the two calls

    def _place(self, error: int, counter: int, place: int) -> int | None:
        mark = f"{error}{counter}{place}"
        count: int | None = self.call("nvmlDeviceGetMemoryErrorCounter", error, counter, place, mark=mark)
        return count

    def repairs(self) -> Repairs | None:
        """Row remapping, or retired pages before Ampere."""
        remapped = self.call("nvmlDeviceGetRemappedRows")
        threshold = self._sram_threshold()
        if remapped is not None:
            corrected, uncorrected, pending, failed = remapped
            histogram = self.call("nvmlDeviceGetRowRemapperHistogram")
            return Repairs(
                rows_corrected=corrected,
                rows_uncorrected=uncorrected,
                pending=bool(pending),
                failed=bool(failed),
                banks_without_spare=None if histogram is None else histogram.none,
                sram_threshold_exceeded=threshold,
            )
        single = self.call("nvmlDeviceGetRetiredPages", 0, mark="0")
        double = self.call("nvmlDeviceGetRetiredPages", 1, mark="1")
        pending = self.call("nvmlDeviceGetRetiredPagesPendingStatus")
        if single is None and double is None and pending is None and threshold is None:
            return None
        return Repairs(
            rows_corrected=None if single is None else len(single),
            rows_uncorrected=None if double is None else len(double),
            pending=None if pending is None else bool(pending),
            sram_threshold_exceeded=threshold,
        )

    def _sram_threshold(self) -> bool | None:
        form = getattr(self._driver.module, "c_nvmlEccSramErrorStatus_v1_t", None)
        if form is None:
            return None
        status = form()
        status.version = getattr(self._driver.module, "nvmlEccSramErrorStatus_v1", 0x1000068)
        if self.call("nvmlDeviceGetSramEccErrorStatus", ctypes.byref(status)) is None:
            return None
        return bool(status.bThresholdExceeded)

    def pcie(self) -> Pcie:
        """Never the throughput: each such call samples for 20 ms."""
        return Pcie(
            generation=self.call("nvmlDeviceGetCurrPcieLinkGeneration"),
            generation_max=self.call("nvmlDeviceGetMaxPcieLinkGeneration"),
            width=self.call("nvmlDeviceGetCurrPcieLinkWidth"),
            width_max=self.call("nvmlDeviceGetMaxPcieLinkWidth"),
            replays=self.call("nvmlDeviceGetPcieReplayCounter"),
        )

    def fabric(self) -> Fabric | None:
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

    def processes(self) -> tuple[DeviceProcess, ...] | None:
        """Compute processes by the driver's account; pids are the host's."""
        rows = self.call("nvmlDeviceGetComputeRunningProcesses")
        if rows is None:
            return None
        return tuple(
            DeviceProcess(pid=row.pid, name=self._process_name(row.pid), memory_bytes=row.usedGpuMemory) for row in rows
        )

    def _process_name(self, pid: int) -> str | None:
        """The program's name only: the driver gives its path, at times with arguments."""
        name = self._driver.call(-1, "nvmlSystemGetProcessName", pid)
        words = (name or "").split()
        return words[0].rpartition("/")[2] or None if words else None


def decode_fabric(state: int, status: int, mask: int, summary: int = 0) -> Fabric | None:
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
    return Fabric(state=word, status=status if completed else None, healthy=healthy, problems=tuple(problems))


def identify(driver: Driver, ordinal: int, handle: object, system: dict[str, str | None]) -> Identity:
    """Who the GPU behind a handle is. Raises `DeviceError`, or `ValueError` for an address that is none."""
    pci = normalise_pci(driver.must(ordinal, "nvmlDeviceGetPciInfo", handle).busId)
    serial = driver.call(ordinal, "nvmlDeviceGetSerial", handle)
    return Identity(
        key=DeviceKey(Vendor.NVIDIA, pci),
        model=driver.call(ordinal, "nvmlDeviceGetName", handle),
        uuid=driver.call(ordinal, "nvmlDeviceGetUUID", handle),
        serial=serial if serial and serial.strip(" 0") else None,
        pci=pci,
        driver=system["driver"],
        firmware=driver.call(ordinal, "nvmlDeviceGetVbiosVersion", handle),
        library=system["library"],
        index=ordinal,
    )


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)

"""The true state of a simulated node at one moment: what its tools and libraries show."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Process:
    """A process that holds a device."""

    pid: int
    name: str
    memory_bytes: int
    environ: dict[str, str] = field(default_factory=dict)
    cpu_seconds: float = 0.0  # of user time
    read_bytes: int = 0
    written_bytes: int = 0
    started: float = 0.0  # scenario seconds
    state: str = "R"  # the letter of /proc/<pid>/stat
    parent: int = 1
    cgroup: str = "/"


@dataclass(slots=True)
class ProcessEnd:
    """How a process ended: with an exit code or by a signal."""

    pid: int
    code: int | None
    signal: int | None
    at: float  # scenario seconds


@dataclass(slots=True)
class Link:
    """One link of a device: NVLink or HCCS by number, RoCE port 0."""

    number: int
    up: bool = True
    speed_gbps: float = 200.0
    drops: int = 0
    ups: int = 1
    history: list[tuple[float, bool]] = field(default_factory=list)  # (scenario seconds, up), oldest first
    errors: dict[str, int] = field(default_factory=dict)  # counter name of the interface -> count
    packets: int = 0


@dataclass(slots=True)
class Device:
    """What both vendors' devices have. `None`: this device does not report it."""

    index: int
    model: str
    pci: str  # 0000:3b:00.0
    serial: str | None = None
    firmware: str | None = None
    temperature_celsius: float | None = 40.0
    memory_temperature_celsius: float | None = None
    power_watts: float | None = 90.0
    power_limit_watts: float | None = None
    utilization_percent: float | None = 0.0
    memory_used_mib: int = 0
    memory_total_mib: int = 65536
    processes: list[Process] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)  # NVLink; on Ascend: HCCS
    present: bool = True  # False: gone from the bus


@dataclass(slots=True)
class MigDevice:
    """A MIG device of a GPU, by its GPU instance and compute instance."""

    gpu_instance: int
    compute_instance: int
    uuid: str
    name: str
    memory_total_mib: int
    memory_used_mib: int = 0


@dataclass(slots=True)
class RdmaPort:
    """Port 1 of an RDMA device of the host, as sysfs tells it."""

    name: str  # mlx5_0
    up: bool = True
    link_layer: str = "InfiniBand"
    rate: str = "400 Gb/sec (4X NDR)"
    link_downed: int = 0
    errors: dict[str, int] = field(default_factory=dict)  # file below counters/ or hw_counters/ -> count
    packets: int = 0


@dataclass(slots=True)
class NvidiaDevice(Device):
    """A GPU behind libnvidia-ml.so.1."""

    uuid: str = ""
    clocks_mhz: dict[str, int] = field(
        default_factory=lambda: {"graphics": 1980, "sm": 1980, "memory": 2619, "video": 1545}
    )
    throttle_bits: int = 0
    energy_millijoules: int = 0
    ecc_volatile: dict[str, int] = field(
        default_factory=dict
    )  # "hbm_corrected", "hbm_uncorrected", "sram_corrected", ...; places that are not reported have no key
    ecc_aggregate: dict[str, int] = field(default_factory=dict)
    rows_corrected: int = 0
    rows_uncorrected: int = 0
    rows_pending: bool = False
    rows_failed: bool = False
    sram_threshold_exceeded: bool = False
    pcie_replays: int = 0
    pcie_generation: int = 5
    pcie_generation_max: int = 5
    pcie_width: int = 16
    pcie_width_max: int = 16
    fabric_state: int = 3
    fabric_status: int = 0
    fabric_health_mask: int = 0
    recovery_action: int = 0
    status: int = 0  # nvmlReturn_t that every call on this device gives: 15 lost, 16 reset required, 999
    blocked_calls: list[str] = field(default_factory=list)  # C symbols that never return; "*": all on this device
    call_results: dict[str, int] = field(default_factory=dict)  # C symbol -> nvmlReturn_t
    field_results: dict[int, int] = field(default_factory=dict)  # field id -> nvmlReturn_t
    xid_events: list[int] = field(default_factory=list)  # all so far, oldest first; a set delivers each once
    memory_utilization_percent: float | None = None
    row_remapping: bool = True  # False: before Ampere, which retires pages instead
    retired_pages_corrected: int = 0
    retired_pages_uncorrected: int = 0
    retired_pages_pending: bool = False
    violation_nanoseconds: dict[str, int] = field(default_factory=dict)  # "power", "thermal", "board_limit", ...
    mig: list[MigDevice] = field(default_factory=list)  # empty: MIG mode is off


@dataclass(slots=True)
class AscendDevice(Device):
    """A chip (die) behind npu-smi and hccn_tool. `index` is its logic id."""

    npu_id: int = 0
    chip_id: int = 0
    phy_id: int = 0
    health: str = "OK"  # the word that npu-smi prints; "" : outside 0..4, so `info` leaves the first line out
    error_codes: list[str] = field(default_factory=list)
    ddr_used_mib: int = 0
    ddr_total_mib: int = 0
    hbm_clock_mhz: int = 1600
    aicore_clock_mhz: int = 1650
    aicore_count: int = 25
    ecc: dict[str, int] = field(
        default_factory=dict
    )  # "hbm_single", "hbm_double", "hbm_single_aggregate", "hbm_single_isolated", "ddr_...", ...
    roce: Link | None = None
    net_health: str = "Success"
    optical_present: bool = True
    optical_temperature_celsius: float = 47.0
    rx_power_milliwatts: list[float] = field(default_factory=lambda: [1.02, 1.01, 0.99, 1.02])
    tx_power_milliwatts: list[float] = field(default_factory=lambda: [1.40, 1.41, 1.39, 1.42])
    hccs_healthy: bool = True
    sio_errors: dict[str, int] = field(default_factory=dict)  # "tx_error", "rx_error": between the dies of A3 and 950
    fec: str = "rs FEC mode"
    hugepages_used: int = 0
    hugepages_total: int = 0


@dataclass(slots=True)
class ToolTrouble:
    """How a vendor tool misbehaves now: for every call, or for one whose arguments hold `match`."""

    kind: str  # block, garbage, truncate, empty, flood, language, error_8005, slow
    match: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Node:
    """A simulated host."""

    name: str
    vendor: str  # nvidia, ascend
    driver: str  # 570.124.06; 24.1.rc1
    tool: str  # NVML version; npu-smi's own version
    family: str  # nvidia: hopper, ampere, blackwell; ascend: 310, 310B, 310P, 910, 910B, A3, 950
    nvidia: list[NvidiaDevice] = field(default_factory=list)
    ascend: list[AscendDevice] = field(default_factory=list)
    npu_smi_trouble: list[ToolTrouble] = field(default_factory=list)
    hccn_tool_trouble: list[ToolTrouble] = field(default_factory=list)
    init_result: int = 0  # nvmlReturn_t of nvmlInitWithFlags
    blocked_library_calls: list[str] = field(default_factory=list)  # device-less NVML symbols that never return
    call_results: dict[str, int] = field(default_factory=dict)  # C symbol -> nvmlReturn_t, without or on any device
    rdma: list[RdmaPort] = field(default_factory=list)
    launchers: list[Process] = field(default_factory=list)  # they hold no device
    ends: list[ProcessEnd] = field(default_factory=list)  # all so far
    now: float = 0.0  # scenario seconds
    wall: float = 0.0  # the same moment in seconds since the epoch
    process_table: bool = True  # `npu-smi info` ends with it; not on every board, nor in 21.x and 22.x

"""What each simulated fault ought to be told as: one line per case.

`also`: further episodes that a fault legitimately brings, such as the driver that blocks behind a GSP time-out. The
kinds of the simulator that are in no case stand in `EXCEPTIONS`, each with its reason. `log` is no kind of the simulator:
the campaign itself writes the line into a file that the agent follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Source and its polls between two readings of the tier (design.md, Configuration). "kernel": within a second.
TIERS: Mapping[str, tuple[str, int]] = {
    "kernel": ("kernel_log", 0), "nvml": ("nvml", 1), "nvml_full": ("nvml", 10), "npu": ("npu_smi", 1),
    "npu_slow": ("npu_smi", 6), "hccn": ("hccn_tool", 1), "hccn_slow": ("hccn_tool", 6), "hccn_rare": ("hccn_tool", 60),
    "rdma": ("rdma", 1), "log": ("hccl_log", 1), "stall": ("processes", 0),
}  # fmt: skip


@dataclass(frozen=True)
class Also:
    """A further episode of the same device, or of the host."""

    class_: str
    where: str = "device"
    must: bool = True
    code: str | None = None


@dataclass(frozen=True)
class Case:
    """`severity`: at its worst, while the fault lasts for `lasts` seconds. `where`: device, host, switch (its PCI), run.

    `held`: seconds that its detector waits by design before it believes the reading. `clears`: the episode ends by
    evidence within so many seconds after the fault; `None`: its class asks for a reset or a longer quiet.
    `after`: seconds of undisturbed work that come first. `alone`: nothing that is polled on the node meanwhile, since its source stands.
    """

    vendor: str
    fault: str
    tier: str
    class_: str
    code: str | None
    severity: str
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    where: str = "device"
    held: float = 0.0
    lasts: float = 0.0
    clears: float | None = None
    also: tuple[Also, ...] = ()
    families: tuple[str, ...] = ()
    alone: bool = False
    after: float = 0.0
    stays: bool = False  # until the device is replaced: nothing takes it back
    settles: float = 0.0  # seconds after its end in which its last condition is seen to be gone; 0: two of its tier

    @property
    def name(self) -> str:
        """Vendor, kind, and what is special."""
        words = [f"{k}={str(v)[:40]}" for k, v in self.parameters.items()]
        return " ".join((self.vendor, self.fault, *words))


END, SLOW, NOTE = "run_ending", "degrading", "informational"
NV, AS = "nvidia", "ascend"
# A lost GPU's worker is replaced after 60 s (sources/nvml.py), a GPU that blocked one is left alone for 30 s.
GPU_BACK, GPU_UNBLOCKED = 75.0, 40.0
COUNTED = 205.0  # a counter of errors is over when it has stood still for three minutes
CALM = 40.0  # thermal and power: half a minute of good readings, and one more reading


def _xid(number: int, class_: str, severity: str, **more: object) -> Case:
    return Case(NV, "xid", "kernel", class_, str(number), severity, {"xid": number}, **more)  # type: ignore[arg-type]


def _line(vendor: str, class_: str, severity: str, text: str, where: str = "device", code: str | None = None) -> Case:
    """{pci}, {pid}, {process}, {number} and {bank} are filled in."""
    return Case(vendor, "kernel_line", "kernel", class_, code, severity, {"text": text}, where)


def _log(vendor: str, class_: str, severity: str, text: str, where: str = "host", code: str | None = None) -> Case:
    """A line of a training log or plog; {pid} is filled in."""
    return Case(vendor, "log", "log", class_, code, severity, {"text": text}, where)


def _plog(text: str) -> str:
    return f"[ERROR] HCCL({{pid}},python3):2026-03-18-10:33:52.113.403 [file.cc:797] [18744]{text}"


def _code(code: str, class_: str, severity: str, health: str = "Alarm", **more: object) -> Case:
    return Case(AS, "error_code", "npu_slow", class_, code, severity, {"code": code, "health": health}, **more)  # type: ignore[arg-type]


def _host(vendor: str) -> tuple[Case, ...]:
    """Lines of the host's own kernel, which read the same on every node."""
    return (
        _line(vendor, "host", END, "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x2fb9 offset:0x0 grain:32)", "host"),
        _line(vendor, "host", NOTE, "EDAC MC0: 2 CE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x2fb9 offset:0x0 grain:32 syndrome:0x0)", "host"),
        _line(vendor, "host", END, "mce: [Hardware Error]: CPU 4: Machine Check Exception: 5 Bank 7: be00000000800400", "host"),
        _line(vendor, "host", NOTE, "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 9: 8c00004000010092", "host"),
        _line(vendor, "host", END, "Kernel panic - not syncing: Fatal exception in interrupt", "host"),
        _line(vendor, "host", SLOW, "watchdog: BUG: soft lockup - CPU#12 stuck for 26s! [kworker/12:1:4242]", "host"),
        _line(vendor, "host", SLOW, "INFO: task kworker/u64:3:4243 blocked for more than 120 seconds.", "host"),
        _line(vendor, "storage", SLOW, "blk_update_request: I/O error, dev nvme0n1, sector 1953525160 op 0x0:(READ) flags 0x80700 phys_seg 1", "host"),
        _line(vendor, "storage", SLOW, "nfs: server 10.1.2.3 not responding, still trying", "host"),
        _line(vendor, "storage", SLOW, "INFO: task kworker/u64:4:4244 blocked for more than 120 seconds.\\n      Tainted: G           OE     5.15.0-91-generic #101-Ubuntu\\nCall Trace:\\n nfs4_proc_getattr+0x6e/0x100 [nfsv4]", "host"),
        _line(vendor, "software_job", END, "Out of memory: Killed process {pid} ({process}) total-vm:912345678kB, anon-rss:512345678kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:1012345kB oom_score_adj:0"),
        _line(vendor, "software_job", END, "{process}[{pid}]: segfault at 7f3b00000010 ip 00007f3c12345678 sp 00007ffd12345678 error 4 in libtorch_cpu.so[7f3c10000000+a000000]"),
        Case(vendor, "hung_task", "kernel", "driver_software", None, SLOW),
        Case(vendor, "aer", "kernel", "pcie_host_link", None, NOTE, {"severity": "Corrected"}),
        Case(vendor, "aer", "kernel", "pcie_host_link", None, SLOW, {"severity": "Uncorrected (Non-Fatal)"}),
        Case(vendor, "aer", "kernel", "pcie_host_link", None, END, {"severity": "Uncorrected (Fatal)"}),
    )  # fmt: skip


CASES: tuple[Case, ...] = (
    # --- a GPU that is gone, or whose driver is
    Case(NV, "lost", "kernel", "device_lost", "79", END, clears=GPU_BACK, lasts=4),
    Case(NV, "reset_required", "nvml", "driver_software", None, END, settles=GPU_BACK),
    Case(NV, "unknown_999", "nvml", "device_lost", None, END, held=2, clears=GPU_BACK),
    Case(NV, "vanish", "nvml", "device_lost", None, END, clears=GPU_BACK),
    Case(NV, "blocked", "nvml", "driver_software", None, END, held=2, settles=GPU_UNBLOCKED, alone=True),
    Case(NV, "gsp_timeout", "kernel", "control_processor", "119", END, also=(Also("driver_software"),), settles=GPU_UNBLOCKED, alone=True),
    Case(NV, "recovery_action", "nvml_full", "driver_software", None, SLOW, {"action": 1}),
    Case(NV, "recovery_action", "nvml_full", "driver_software", None, END, {"action": 2}),
    Case(NV, "recovery_action", "nvml_full", "driver_software", None, SLOW, {"action": 4}),
    # --- its memory
    Case(NV, "ecc_corrected", "nvml_full", "mem_correctable", None, NOTE, {"count": 3}),
    Case(NV, "ecc_corrected", "nvml_full", "mem_correctable", None, SLOW, {"per_second": 500}, lasts=50, settles=70),
    Case(NV, "ecc_uncorrected", "kernel", "mem_uncorrectable", "48", END, lasts=21),
    Case(NV, "ecc_uncorrected", "kernel", "mem_uncorrectable", "48", END, {"cascade": 1}, lasts=21,
         also=(Also("mem_repair", code="63"), Also("app_device_exception", code="45"), Also("driver_software", code="154"))),
    Case(NV, "ecc_uncorrected", "kernel", "mem_uncorrectable", "48", END, {"memory": "sram"}, lasts=21, also=(Also("onchip_sram"),)),
    Case(NV, "row_remap", "kernel", "mem_repair", "63", SLOW, lasts=12),
    Case(NV, "row_remap", "kernel", "mem_repair", "63", SLOW, {"rows": 2, "failed": 1}, lasts=12),
    Case(NV, "row_remap_failed", "kernel", "mem_uncorrectable", "64", SLOW, lasts=21, also=(Also("mem_repair"),)),
    Case(NV, "sram_threshold", "nvml_full", "onchip_sram", None, SLOW),
    # --- links
    Case(NV, "link_down", "nvml_full", "intra_node_link", None, END, {"link": 3}),
    Case(NV, "link_flap", "nvml_full", "intra_node_link", None, END, {"link": 7, "period": 400, "down": 30}),
    Case(NV, "link_errors", "nvml_full", "intra_node_link", None, SLOW, {"link": 2, "counter": "replay"}, families=("hopper",), settles=COUNTED),
    Case(NV, "link_errors", "nvml_full", "intra_node_link", None, SLOW, {"link": 2, "per_second": 100}, settles=COUNTED),
    Case(NV, "fabric", "nvml_full", "fabric_switch", None, SLOW),
    Case(NV, "fabric", "nvml_full", "fabric_switch", None, SLOW, {"state": 2, "mask": 0}, held=60),
    Case(NV, "sxid", "kernel", "fabric_switch", "20034", END, where="switch"),
    Case(NV, "sxid", "kernel", "fabric_switch", "22013", SLOW, {"sxid": 22013, "fatal": 0, "text": "Minion Link DLREQ interrupt"}, "switch"),
    Case(NV, "sxid", "kernel", "thermal", "10004", SLOW, {"sxid": 10004, "fatal": 0, "text": "Host_thermal_event_start"}, "switch"),
    Case(NV, "pcie_degraded", "nvml_full", "pcie_host_link", None, SLOW, {"width": 8, "replays": 0}, held=10),
    Case(NV, "pcie_degraded", "nvml_full", "pcie_host_link", None, SLOW, {"width": 16, "generation": 3, "replays": 0}, held=30),
    Case(NV, "pcie_degraded", "nvml_full", "pcie_host_link", None, SLOW, {"replays": 100}, settles=COUNTED),
    Case(NV, "rdma_down", "kernel", "net_link_down", None, SLOW, where="host", lasts=4),
    Case(NV, "rdma_down", "kernel", "net_link_down", None, END, where="host", lasts=26),
    Case(NV, "rdma_silent_down", "rdma", "net_link_down", None, SLOW, where="host"),
    Case(NV, "rdma_flap", "rdma", "net_link_flap", None, SLOW, where="host"),
    Case(NV, "rdma_errors", "rdma", "net_errors", None, SLOW, {"per_second": 100}, where="host", settles=COUNTED),
    # --- heat and power
    Case(NV, "thermal", "nvml", "thermal", None, SLOW, clears=CALM),
    Case(NV, "power_brake", "nvml", "power", None, SLOW, clears=CALM),
    # --- Xids
    _xid(13, "app_device_exception", END), _xid(31, "app_device_exception", END), _xid(43, "app_device_exception", END),
    _xid(45, "app_device_exception", NOTE), _xid(32, "driver_software", END), _xid(69, "compute_engine", END),
    _xid(46, "compute_engine", END), _xid(62, "compute_engine", END), _xid(109, "compute_engine", END), _xid(158, "compute_engine", END),
    _xid(63, "mem_repair", SLOW), _xid(64, "mem_uncorrectable", SLOW), _xid(74, "intra_node_link", END), _xid(149, "intra_node_link", END),
    _xid(92, "mem_correctable", SLOW), _xid(94, "mem_uncorrectable", END), _xid(95, "mem_uncorrectable", END), _xid(140, "onchip_sram", END),
    _xid(119, "control_processor", END), _xid(120, "control_processor", END), _xid(122, "control_processor", SLOW),
    _xid(154, "driver_software", NOTE), _xid(167, "pcie_host_link", END),
    Case(NV, "xid", "kernel", "unknown", "937", SLOW, {"xid": 937, "text": "a number that no catalogue has"}),
    Case(NV, "xid", "kernel", "compute_engine", "46", END, {"xid": 46, "times": 8}),
    # --- lines of the driver without an Xid
    _line(NV, "device_lost", END, "NVRM: GPU {pci}: RmInitAdapter failed! (0x26:0x56:1474)"),
    _line(NV, "device_lost", END, "NVRM: GPU {pci}: GPU has fallen off the bus."),
    _line(NV, "power", SLOW, "mlx5_core 0000:9a:00.0: mlx5_pcie_event:299:(pid 268269): Detected insufficient power on the PCIe slot (27W).", "switch"),
    # --- what its jobs write, and jobs that stand still
    _log(NV, "collective_timeout", END, "[rank3]:[E810 15:46:05.7 ProcessGroupNCCL.cpp:632] [Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=51753, OpType=ALLREDUCE, NumelIn=5057683, NumelOut=5057683, Timeout(ms)=600000) ran for 600072 milliseconds before timing out."),
    _log(NV, "collective_timeout", END, "[rank1]: ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely."),
    _log(NV, "app_device_exception", END, "[rank2]: RuntimeError: CUDA error: an illegal memory access was encountered"),
    _log(NV, "mem_uncorrectable", END, "[rank2]: RuntimeError: CUDA error: uncorrectable ECC error encountered"),
    Case(NV, "hang", "stall", "hang_no_error", None, END, where="run", held=330, clears=120, after=150, families=("ampere",)),
    *_host(NV),

    # --- an NPU that is gone
    Case(AS, "lost", "kernel", "device_lost", "40F84E00", END, clears=15, lasts=8),
    Case(AS, "vanish", "npu", "device_lost", None, END, clears=15),
    # --- its memory
    Case(AS, "ecc_corrected", "npu_slow", "mem_correctable", None, NOTE, {"count": 5}),
    Case(AS, "ecc_uncorrected", "npu_slow", "mem_uncorrectable", "80E01801", END, lasts=37),
    Case(AS, "isolated_pages", "npu_slow", "mem_repair", None, SLOW, {"pages": 2}, also=(Also("mem_uncorrectable"),)),
    Case(AS, "isolated_pages", "npu_slow", "mem_repair", "80E18402", END, {"pages": 64}, lasts=37, stays=True, also=(Also("mem_uncorrectable"),)),
    # --- its codes
    _code("80E18401", "mem_repair", SLOW), _code("80C98008", "onchip_sram", END), _code("80A38008", "onchip_sram", END),
    _code("80C98000", "compute_engine", SLOW), _code("80CB800A", "compute_engine", SLOW), _code("80C98010", "compute_engine", SLOW),
    _code("80FA4E00", "control_processor", END, "Critical"), _code("80A18008", "control_processor", END),
    _code("80CB8006", "mem_correctable", NOTE, "Warning"), _code("80E21007", "power", SLOW, "Warning", clears=45),
    _code("80E3A202", "power", END, clears=45), _code("80818C00", "silent_corruption", END), _code("80B98000", "pcie_host_link", END),
    _code("819B800D", "intra_node_link", SLOW), _code("8C1F860B", "net_errors", END), _code("80CD8003", "driver_software", SLOW, "Warning"),
    _code("80E00209", "thermal", SLOW, "Warning", clears=45),
    _code("8F0F0F01", "unknown", SLOW),
    Case(AS, "error_code", "npu_slow", "mem_uncorrectable", "80E01801", END, {"code": "80E01801,80C98000"}, also=(Also("compute_engine", code="80C98000"),)),
    Case(AS, "thermal", "npu_slow", "thermal", "80E00209", SLOW, clears=45),
    # --- its links
    Case(AS, "link_down", "npu_slow", "intra_node_link", None, END, {"link": 3}),
    Case(AS, "link_flap", "npu_slow", "intra_node_link", None, END, {"link": 5, "period": 400, "down": 45}),
    Case(AS, "link_errors", "npu_slow", "intra_node_link", None, SLOW, {"link": 2}, settles=COUNTED + 36),
    Case(AS, "link_errors", "npu_slow", "intra_node_link", None, NOTE, {"link": 4, "counter": "retry", "per_second": 100}, settles=COUNTED + 36),
    Case(AS, "hccs_unhealthy", "npu_slow", "intra_node_link", None, SLOW),
    Case(AS, "roce_down", "hccn", "net_link_down", "81078603", END, lasts=37, clears=45),
    Case(AS, "roce_flap", "hccn", "net_link_flap", None, SLOW),
    Case(AS, "roce_errors", "hccn_slow", "net_errors", None, SLOW, {"per_second": 50}, settles=COUNTED + 125),
    Case(AS, "net_health", "hccn_slow", "net_errors", None, SLOW, held=60, settles=125),
    Case(AS, "optics", "hccn_rare", "net_errors", None, SLOW, families=("910",)),
    Case(AS, "optics", "hccn_rare", "net_errors", None, SLOW, {"present": 0}, families=("910",)),
    # --- a tool that never returns
    Case(AS, "tool", "npu", "driver_software", None, END, {"kind": "block"}, where="host", held=10, alone=True),
    # --- lines of its driver
    _line(AS, "pcie_host_link", END, "[ascend] [ERROR] [devmm] [devmm_dma_copy 512] <{process}:{pid}> DMA copy failed. (dev_id={number}; ret=-110)"),
    _line(AS, "driver_software", SLOW, "[ascend] [ERROR] [event_sched] [esched_wait 221] <{process}:{pid}> Wait event timeout. (devid={number}; wait_time=30000)"),
    # --- what its jobs write, and jobs that stand still
    _log(AS, "collective_timeout", END, _plog("[Wait][LinkEstablish]wait socket establish timeout, role[1] rank[1] timeout[120 s]"), "device", "EI0006"),
    Case(AS, "hang", "stall", "hang_no_error", None, END, where="run", held=330, clears=120, after=150, families=("910",)),
    *_host(AS),
)  # fmt: skip

# Kinds that are in no case, and why.
EXCEPTIONS: Mapping[str, str] = {
    "call_result": "a function that an older driver lacks: the value is missing, which is no fault",
    "field_result": "a field that an older driver lacks: the value is missing, which is no fault",
    "init_fails": "shows at the next start of NVML only, which a running agent has no reason for",
    "retired_pages": "makes a GPU one from before Ampere, which a node does not become while its agent runs",
    "health_out_of_range": "the tool leaves the chip's health out: no series, `unknown` in `check`; no fault by itself",
    "reboot": "no fault, but what `kills.py` does to a node",
    "process_death": "ends a run without an error: no fault, but the end of the run in the journal, as `following.py` checks",
}

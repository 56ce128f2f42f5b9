"""Every family on the page: name, type, labels and meaning. The README's table is made from it."""

from __future__ import annotations

import msgspec

PREFIX = "accelwatch_"
DEVICE = ("vendor", "device", "model")


class Family(msgspec.Struct, frozen=True):
    """One metric family, `name` without the prefix."""

    name: str
    type: str  # gauge, counter, histogram
    help: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name on the page; for counters with `_total`."""
        return PREFIX + self.name


def _device(name: str, type_: str, help_: str, *labels: str) -> Family:
    return Family(name, type_, help_, (*DEVICE, *labels))


AGENT_INFO = Family(
    "agent_info",
    "gauge",
    "The agent: 1, with its version and the labels from its configuration.",
    ("version", "config_hash", "node"),
)
DEVICE_INFO = _device(
    "device_info",
    "gauge",
    "A device of this node's inventory: 1, with its identity.",
    "uuid",
    "serial",
    "pci",
    "driver",
    "firmware",
)
DEVICE_UP = _device(
    "device_up", "gauge", "1 while the device answers its driver, 0 when it is lost, blocked or missing."
)
TEMPERATURE = _device("device_temperature_celsius", "gauge", "Temperature by sensor: core, memory (HBM).", "sensor")
POWER = _device("device_power_watts", "gauge", "Power draw. On an Ascend A3 the NPU's value stands on its first die.")
POWER_LIMIT = _device("device_power_limit_watts", "gauge", "Power limit in force.")
UTILIZATION = _device(
    "device_utilization_ratio",
    "gauge",
    "Share of time with work on the device (GPU utilization, AI Core), 0 to 1.",
)
MEMORY_USED = _device("device_memory_used_bytes", "gauge", "Device memory in use: HBM where there is one, else DDR.")
MEMORY_TOTAL = _device("device_memory_total_bytes", "gauge", "Device memory in all.")
CLOCK = _device("device_clock_hertz", "gauge", "Clock by domain: sm, memory, aicore.", "domain")
THROTTLED = _device(
    "device_throttled",
    "gauge",
    "1 while clocks are held down for this reason; no series: not held down.",
    "reason",
)
HEALTH = _device("device_health", "gauge", "Health: 0 ok, 1 warning, 2 alarm, 3 critical; no series: unknown.")
RECOVERY_ACTION = _device(
    "device_recovery_action",
    "gauge",
    "What the NVIDIA driver asks for: 0 none, 1 reset, 2 reboot, 3 drain P2P, 4 drain and reset, "
    "5 recover IMEX, 6 bus reset, 7 system reboot.",
)
DEVICE_PROCESSES = _device("device_processes", "gauge", "Processes that hold the device, by its driver.")
ECC_ERRORS = _device(
    "ecc_errors_total",
    "counter",
    "ECC errors since the device was first seen, across driver reloads.",
    "kind",
    "memory",
)
ROWS_REMAPPED = _device(
    "memory_rows_remapped_total",
    "counter",
    "Memory rows remapped (NVIDIA) or isolated (Ascend) since the device was first seen, by the errors' kind.",
    "kind",
)
REPAIR_PENDING = _device(
    "memory_repair_pending",
    "gauge",
    "kind=remap: 1 while a reset is needed to apply a repair; kind=failed: 1 when a repair has failed.",
    "kind",
)
LINK_UP = _device(
    "link_up",
    "gauge",
    "1 while the link is up, 0 while it is down; a port never seen up has no series.",
    "link",
    "kind",
)
LINK_DROPS = _device(
    "link_drops_total",
    "counter",
    "Times the link went down since the device was first seen; `rest`: its further links.",
    "link",
    "kind",
)
LINK_ERRORS = _device(
    "link_errors_total",
    "counter",
    "Errors on the link, all kinds together, since the device was first seen; `rest`: its further links.",
    "link",
    "kind",
)
PCIE_WIDTH = _device("pcie_link_width", "gauge", "PCIe lanes in use.")
PCIE_WIDTH_MAX = _device("pcie_link_width_max", "gauge", "PCIe lanes that device and slot can use.")
FABRIC_HEALTHY = _device(
    "fabric_healthy", "gauge", "1 when the NVSwitch fabric is up and healthy for this GPU, else 0."
)
OPTICS_RX_POWER = _device(
    "link_optical_rx_power_watts",
    "gauge",
    "Received optical power of the port's weakest lane.",
    "link",
    "kind",
)
OPTICS_TEMPERATURE = _device(
    "link_optical_temperature_celsius", "gauge", "Temperature of the port's optical module.", "link", "kind"
)
EXPOSURE = _device(
    "device_exposure_seconds_total",
    "counter",
    "Time that this agent saw the device answer: powered, of that allocated to a process, of that busy; maintenance "
    "apart.",
    "state",
)
FAULT_EPISODES = _device(
    "fault_episodes_total",
    "counter",
    "Episodes of faults (60 s per device and class) by class and that class's own severity; device is empty for "
    "the host's.",
    "class",
    "fault_severity",
)
# 25 classes of 10,000 devices are 250,000 counters of which nearly all are 0: rules that read them all each minute took
# six seconds for it (alerts/scale/SIZING.md).
FAULT_EPISODES_NONZERO = _device(
    "fault_episodes_nonzero_total",
    "counter",
    "Those of accelwatch_fault_episodes_total that are above 0, for rules that read a whole fleet; no series: 0.",
    "class",
)
FAULT_ACTIVE = _device(
    "fault_active",
    "gauge",
    "1 while the fault is active, 0 for an hour after it was cleared or escalated.",
    "class",
    "fault_severity",
    "code",
    "incident",
    "run_id",
    "notify",
)
CLASS_OBSERVABLE = Family(
    "class_observable",
    "gauge",
    "1 while a source answers that can see the class on that vendor's devices; where 0 its rate is unknown, not 0.",
    ("vendor", "class"),
)
DEVICE_ACTIVITY = _device(
    "device_activity",
    "gauge",
    "1 for what the device of a run does: busy, spin (waits at full use), quiet (waits idle).",
    "state",
    "run_id",
    "attempt",
)
LAST_PROGRESS = _device(
    "device_last_progress_timestamp_seconds",
    "gauge",
    "When the device of a run was last busy.",
    "run_id",
    "attempt",
)
RUN = ("run_id", "attempt")
RUN_INFO = Family(
    "run_info", "gauge", "A run with processes on this node: 1.", (*RUN, "launcher", "partition", "rank0")
)
RUN_DEVICES = Family("run_devices", "gauge", "Devices of this node that the run holds.", RUN)
RUN_WORLD_SIZE = Family("run_world_size", "gauge", "Ranks of the whole run, by its own environment.", RUN)
RUN_STALLED = Family(
    "run_stalled", "gauge", "This node's share of the run: 0 it goes on, 1 it stands still (warned), 2 it hangs.", RUN
)
RUN_HANG_THRESHOLD = Family(
    "run_hang_threshold_seconds", "gauge", "A wait of this run that lasts longer is a hang.", RUN
)
RUN_END = Family(
    "run_end_timestamp_seconds",
    "gauge",
    "When the run ended on this node; for 24 hours.",
    (*RUN, "outcome", "vendor", "model"),
)
RUN_CAUSE = Family(
    "run_cause_timestamp_seconds",
    "gauge",
    "When the fault that ended the run struck, or the run's end where the cause is unknown; for 24 hours.",
    (*RUN, "class", "vendor", "model", "device"),
)
RUN_LOST = Family(
    "run_lost_device_seconds",
    "gauge",
    "Device-seconds of this node between the run's last progress and its end; for 24 hours.",
    RUN,
)
RUNS_ENDED = Family(
    "runs_ended_total",
    "counter",
    "Runs that ended on this node; a run of several nodes counts on each: never to be summed over nodes.",
    ("outcome", "cause"),
)
SOURCE_UP = Family("source_up", "gauge", "1 while the source's last poll succeeded, else 0.", ("source",))
SOURCE_INTERVAL = Family(
    "source_interval_seconds",
    "gauge",
    "Time between polls; longer than configured while polls take more than a quarter of it.",
    ("source",),
)
SOURCE_LAST_SUCCESS = Family(
    "source_last_success_timestamp_seconds", "gauge", "When the source last answered.", ("source",)
)
SOURCE_DURATION = Family("source_poll_duration_seconds", "histogram", "Duration of polls.", ("source",))
SOURCE_ERRORS = Family("source_errors_total", "counter", "Polls, or parts of polls, that failed.", ("source",))
SOURCE_SKIPPED = Family(
    "source_skipped_total",
    "counter",
    "Polls skipped because the one before was still running or too late.",
    ("source",),
)
JOURNAL_DEGRADED = Family(
    "journal_degraded",
    "gauge",
    "1 while the journal cannot be written to disk, and for an hour after a damaged one was begun anew.",
)
FAULTS_UNJOURNALLED = Family(
    "faults_unjournalled_total", "counter", "Faults that were shown before a slow or sick disk had taken them."
)
RELOAD_SUCCESSFUL = Family(
    "config_last_reload_successful",
    "gauge",
    "1 when the configuration in force is the file's; 0: the file is bad.",
)
RELOAD_TIME = Family(
    "config_last_reload_success_timestamp_seconds", "gauge", "When the configuration in force was read."
)
KERNEL_RECORDS = Family("kernel_log_records_total", "counter", "Records of the kernel log that were read.")
KERNEL_RECORDS_LOST = Family(
    "kernel_log_records_lost_total",
    "counter",
    "Records that the kernel's ring overwrote before they were read.",
)
PAGER_POSTS = Family(
    "pager_posts_total",
    "counter",
    "Posts of the fast path to an Alertmanager by result: success, failure (tried again), refused (not taken at all).",
    ("alertmanager", "result"),
)
PAGER_UP = Family(
    "pager_up",
    "gauge",
    "1 while the Alertmanager took the last post of the fast path, asked each minute; no series: not configured.",
    ("alertmanager",),
)
PAGER_QUEUE = Family(
    "pager_queue_length",
    "gauge",
    "Alerts of the fast path that the Alertmanager has not been told yet, beginnings and ends.",
    ("alertmanager",),
)
PAGER_DROPPED = Family(
    "pager_dropped_total", "counter", "Alerts of the fast path that its queue had no room for.", ("alertmanager",)
)
REMEDIATIONS = Family(
    "remediations_total",
    "counter",
    "Incidents that asked for the site's command (`remediation`), by outcome: succeeded, failed, timed_out, unknown "
    "(the agent ended meanwhile), unjournalled, dry_run, limited, breaker_open; no series: not configured.",
    ("outcome",),
)
REMEDIATION_BREAKER = Family(
    "remediation_breaker_open",
    "gauge",
    "1 while the breaker holds the site's command back on this node, else 0; no series: not configured.",
)
MAINTENANCE_UNTIL = Family(
    "maintenance_until_timestamp_seconds",
    "gauge",
    "When planned work on this node ends: until then nothing of it pages; 0: there is none.",
)
RENDER_SECONDS = Family("page_render_seconds_total", "counter", "Time spent rendering this page.")

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))

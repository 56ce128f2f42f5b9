"""Tasks blocked in the kernel (`khungtaskd`): the stack says in what."""

from __future__ import annotations

import re

from accelwatch.readings.log_event import LogEvent

# A stack that tells does so within this many lines of the report.
FRAMES_LIMIT = 60
# Beyond this many lines without a frame it was the end of the stack, or there is none.
GAP_LIMIT = 10

# The task's name holds anything, also colons and brackets: the pid is what stands last.
_BLOCKED = re.compile(
    r"INFO: task (.+):(\d{1,12}) (?:<[^>]*> )?(?:is )?blocked (in I/O wait )?for more than (\d{1,12}) seconds"
)
_NVIDIA = re.compile(r"\[(?:nvidia[\w-]*|nv_peer_mem|gdrdrv)\]|\b(?:uvm_\w+|_nv\d+rm)\+0x")
_ASCEND = re.compile(r"\[(?:drv_\w+|ascend\w*|devdrv\w*|davinci\w*|hisi_hdc\w*|devmm\w*|ts_agent)\]")
_STORAGE = re.compile(
    r"\[(?:nfs\w*|sunrpc|lustre|ptlrpc|mdc|osc|lov|llite|obdclass|(?:lib)?ceph|mmfs\w*|beegfs|wekafs\w*|fuse|xfs|ext4"
    r"|jbd2|btrfs|cifs|9p|nvme\w*|dm_\w+|md_mod|raid\d+)\]"
    r"|\b(?:nfs4?_|rpc_wait|xfs_|ext4_|jbd2_|btrfs_|fuse_|ceph_|cifs_|request_wait_answer|io_schedule|blk_mq_|submit_bio"
    r"|wait_on_page|folio_wait)\w*\+0x"
)
# Kernel threads of the driver: their name alone tells.
_NVIDIA_THREADS = re.compile(r"nv_queue$|nvidia-modeset|UVM |irq/\d+-nvidia")


class HungTasks:
    """Gives `hung_task` at once; when a frame tells, `hung_task_driver` or `hung_task_storage`, which refines it."""

    needles = ("INFO: task ",)

    def __init__(self) -> None:
        self._open: LogEvent | None = None
        self._kind = ""
        self._lines = self._gap = 0

    @property
    def waiting(self) -> bool:
        """A stack may still tell."""
        return self._open is not None

    def feed(self, text: str) -> list[LogEvent]:
        """See the class."""
        match = _BLOCKED.search(text)
        if match is not None:
            process = match[1]
            kind, vendor = "hung_task", "host"
            if _NVIDIA_THREADS.match(process):
                kind, vendor = "hung_task_driver", "nvidia"
            elif match[3]:
                kind = "hung_task_storage"
            event = LogEvent(
                kind=kind,
                vendor=vendor,
                pid=int(match[2]),
                process=process,
                waited_seconds=float(match[4]),
                text=text[match.start() :],
            )
            self._open, self._kind = (None if kind == "hung_task_driver" else event), kind
            self._lines = self._gap = 0
            return [event]
        if self._open is None:
            return []
        return self._frame(self._open, text)

    def _frame(self, blocked: LogEvent, text: str) -> list[LogEvent]:
        self._lines += 1
        frame = "+0x" in text  # a driver's own message names its module in brackets, too
        self._gap = 0 if frame else self._gap + 1
        kind, vendor = self._kind, blocked.vendor
        if frame and _NVIDIA.search(text):
            kind, vendor = "hung_task_driver", "nvidia"
        elif frame and _ASCEND.search(text):
            kind, vendor = "hung_task_driver", "ascend"
        elif frame and self._kind == "hung_task" and _STORAGE.search(text):
            kind = "hung_task_storage"
        if kind == "hung_task_driver" or self._lines >= FRAMES_LIMIT or self._gap > GAP_LIMIT or _ends(text):
            self._open = None
        if kind == self._kind:
            return []
        before, self._kind = self._kind, kind
        return [_refined(blocked, before, kind, vendor, text)]

    def flush(self) -> list[LogEvent]:
        """The report was given already."""
        self._open = None
        return []


def _ends(text: str) -> bool:
    return "</TASK>" in text or "NVRM: " in text or "Kernel panic" in text


def _refined(blocked: LogEvent, before: str, kind: str, vendor: str, frame: str) -> LogEvent:
    return LogEvent(
        kind=kind,
        vendor=vendor,
        pid=blocked.pid,
        process=blocked.process,
        waited_seconds=blocked.waited_seconds,
        refines=before,
        text=f"{blocked.text} In: {frame.strip()}",
    )

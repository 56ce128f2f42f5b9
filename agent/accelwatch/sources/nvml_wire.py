"""What the NVML worker and the agent agree upon. The worker imports nothing that it can do without: this is plain."""

from __future__ import annotations

import struct

LENGTH = struct.Struct("<I")  # in front of each answer, a JSON object as in `nvml_answer.Answer`
# It reads the command line of the process, and blocks when that process is stuck with its memory map locked.
PROCESS_NAME = "nvmlSystemGetProcessName"
# A call of these that blocks costs the events, not the GPU's values.
EVENT_CALLS = frozenset(("nvmlEventSetCreate", "nvmlDeviceGetSupportedEventTypes", "nvmlDeviceRegisterEvents"))

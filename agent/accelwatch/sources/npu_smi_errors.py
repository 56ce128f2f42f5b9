"""What npu-smi means when it fails: all of it goes to standard output, some of it with status 0.

Texts and exit statuses from reference/ascend.md section 2.3 (the driver's published source).
"""

from __future__ import annotations

import re

_STATUSES = {
    187: "DCMI -8005: the driver cannot be reached (not loaded, no device node, wrong user, or reboot pending)",
    172: "DCMI -8020: the device is held by another container",
    186: "DCMI -8006: the device did not answer in time",
    184: "DCMI -8008: the device does not exist",
    193: "DCMI -8255: not supported",
    208: "the device does not exist",
    211: "inner error of the tool",
    215: "invalid parameter",
    217: "not supported",
}
_UNSUPPORTED_STATUSES = frozenset((193, 217))

_KNOWN = (
    (re.compile(r"initialize failed. ret is -8005"),
     "the driver cannot be reached: is it loaded, is this user in its group, does the host await a reboot after a "
     "firmware change, does another container hold the device?"),
    (re.compile(r"ret is -8020"), "the device is held by another container"),
    (re.compile(r"Invalid card id"), "the tool knows no such card any more"),
    (re.compile(r"There is no NPU card"), "the driver lists no NPU on this host"),
    (re.compile(r"cannot be executed on a VM or container"), "the tool refuses to run in a container or VM"),
    (re.compile(r"Failed to (?:execute|query)"), "the tool's own query failed"),
)  # fmt: skip


def unsupported(output: str, status: int) -> bool:
    """Whether the device, or this version of the tool, has no such query."""
    text = output.strip()
    return (
        status in _UNSUPPORTED_STATUSES
        or "does not support querying" in text
        or "not support" in text[:200].lower()
        # An older tool says this of a type that it does not know.
        or text.startswith("Error parameter of -t")
    )


def explain(command: str, output: str, status: int | None = None) -> str:
    """One sentence: what failed and what it means."""
    meaning = next((meaning for pattern, meaning in _KNOWN if pattern.search(output)), None)
    if meaning is None and status:
        meaning = _STATUSES.get(status)
    if meaning is None and not output.strip():
        meaning = "it printed nothing"
    if meaning is None:
        meaning = "its output is not what this query prints in any version known to accelwatch"
    ending = f" (exit status {status})" if status else ""
    return f"{command}: {meaning}{ending}"

"""The action with the device's own numbers in the commands, so that it can be pasted."""

from __future__ import annotations

import re

from accelwatch.detectors.base import Known
from accelwatch.faults.sign import Sign

_CHIP = re.compile(r"/chip(\d+)$")
# `run` and `URL` are for a person to fill in where nobody here knows them.


def filled(action: str, known: Known | None, sign: Sign, run_id: str | None) -> str:
    """The action with what is known put in place of `<GPU>`, `<NPU>`, `<chip>`, `<phy-id>`, ...; the rest stays.

    nvidia-smi takes a PCI address for `-i`, which stays right when NVML renumbers.
    """
    values: dict[str, object] = {"PID": sign.pid, "run": run_id}
    if known is not None:
        chip = _CHIP.search(known.key.native)
        values |= {
            "GPU": known.pci or known.label,
            "NPU": known.npu_id,
            "chip": chip[1] if chip else None,
            "phy-id": known.phy_id if known.phy_id is not None else known.npu_id,
        }
    elif sign.place is not None and ":" in sign.place:
        values["GPU"] = sign.place if "." in sign.place else f"{sign.place}.0"
    for name, value in values.items():
        if value is not None:
            action = action.replace(f"<{name}>", str(value))
    return action

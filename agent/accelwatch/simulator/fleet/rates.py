"""How often which fault strikes a device, what it does to its run, and how long its repair takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Effect = Literal["none", "fail", "hang"]


class Rate(msgspec.Struct, frozen=True):
    """Of one kind of fault (see `simulator.faults.KINDS`). `effect`: on the run that holds the device."""

    per_device_hour: float
    effect: Effect
    repair_hours: float  # mean of an exponential distribution


# Llama 3 405B, 419 interruptions in 21.23 M device-hours of H100 (arXiv:2407.21783 Table 5; reference/reliability.md
# 1.1 and 1.2): faulty GPU 148, HBM3 72 and SRAM 19, system processor 17, switch or cable 35 and NIC 7, thermal and
# sensor 6. Effects: Xid 48 and 119 end the job, a lost network port lets it wait (1.2, "job ends after the error").
_LLAMA_HOURS = 21.23e6
# No Ascend study gives counts with device-hours. The claim of a hardware MTBF above 24 h "of ten thousand" (1.3) is
# 240,000 h per device; how it divides among the kinds is assumed.
_ASCEND_RATE = 1 / 240_000
RATES: Mapping[str, Mapping[str, Rate]] = {
    "nvidia": {
        "lost": Rate(148 / _LLAMA_HOURS, "fail", 6.0),
        "ecc_uncorrected": Rate((72 + 19) / _LLAMA_HOURS, "fail", 1.0),
        "gsp_timeout": Rate(17 / _LLAMA_HOURS, "fail", 1.0),
        "rdma_down": Rate((35 + 7) / _LLAMA_HOURS, "hang", 2.0),
        "thermal": Rate(6 / _LLAMA_HOURS, "none", 1.0),
    },
    "ascend": {
        "ecc_uncorrected": Rate(0.35 * _ASCEND_RATE, "fail", 1.0),
        "roce_down": Rate(0.30 * _ASCEND_RATE, "hang", 2.0),
        "lost": Rate(0.20 * _ASCEND_RATE, "fail", 6.0),
        "link_down": Rate(0.15 * _ASCEND_RATE, "fail", 1.0),
    },
}


def rates(changes: Mapping[str, float]) -> dict[str, dict[str, Rate]]:
    """The table with `vendor/kind` set to other rates per device-hour. Raises `ValueError`."""
    table = {vendor: dict(own) for vendor, own in RATES.items()}
    for name, rate in changes.items():
        vendor, _, kind = name.partition("/")
        if vendor not in table or kind not in table[vendor]:
            known = ", ".join(f"{v}/{k}" for v, own in table.items() for k in own)
            raise ValueError(f"no rate {name!r}; expected one of {known}")
        if rate < 0:
            raise ValueError(f"rate of {name}: {rate:g}; expected 0 or more per device-hour")
        table[vendor][kind] = msgspec.structs.replace(table[vendor][kind], per_device_hour=rate)
    return table

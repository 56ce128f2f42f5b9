"""What a device's sensors and meters show at one moment."""

from __future__ import annotations

import enum

import msgspec


class Throttle(enum.StrEnum):
    """Why clocks are held down; NVML's clock event reasons in words (nvml.h nvmlClocksEventReasons)."""

    SW_POWER_CAP = "sw_power_cap"  # normal under load
    HW_SLOWDOWN = "hw_slowdown"
    SW_THERMAL = "sw_thermal"
    HW_THERMAL = "hw_thermal"
    POWER_BRAKE = "power_brake"
    BOARD_LIMIT = "board_limit"
    RELIABILITY = "reliability"


class Clock(msgspec.Struct, frozen=True):
    """One clock domain: `sm`, `memory`, `graphics`, `video` on NVIDIA, `aicore`, `memory` on Ascend."""

    domain: str
    hertz: float


class Sensors(msgspec.Struct, frozen=True, kw_only=True):
    """Power, heat, load and memory of one device; `None`: the device does not say."""

    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None  # since driver load
    temperature_celsius: float | None = None
    memory_temperature_celsius: float | None = None
    utilization_ratio: float | None = None  # 0 to 1
    memory_used_bytes: int | None = None  # HBM where the device has it, else its DDR
    memory_total_bytes: int | None = None
    clocks: tuple[Clock, ...] = ()
    throttle: tuple[Throttle, ...] | None = None  # empty: the device says that nothing holds it down

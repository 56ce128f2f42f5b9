"""Links: NVLink, HCCS, RoCE and InfiniBand ports, UnifiedBus, and the PCIe link to the host."""

from __future__ import annotations

import enum

import msgspec

from accelwatch.readings.identity import DeviceKey


class LinkKind(enum.StrEnum):
    """The `kind` label."""

    NVLINK = "nvlink"
    HCCS = "hccs"
    ROCE = "roce"
    IB = "ib"
    UB = "ub"  # Ascend 950's UnifiedBus ports
    PCIE = "pcie"


class LinkState(enum.StrEnum):
    """As the device or driver says; sleeping NVLinks are up."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class LinkChange(msgspec.Struct, frozen=True):
    """One record of a port's history, by the device's own clock."""

    seconds_ago: float  # against the "current time" that the device printed with the history
    up: bool


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One link of a device, or of the host when `key` is `None` (an RDMA port)."""

    key: DeviceKey | None
    link: str  # nvlink3, hccs1, sio0 (between the two dies of an Ascend chip), roce0, ub0-4, mlx5_0/1
    kind: LinkKind
    state: LinkState = LinkState.UNKNOWN
    speed_bits_per_second: float | None = None
    healthy: bool | None = None  # the tool's own verdict (hccs health, net_health), apart from up or down
    verdict: str | None = None  # that verdict in its own words
    drops: int | None = None  # the port's own count of going down
    ups: int | None = None
    errors: dict[str, int] | None = None  # cumulative, by the interface's own counter name
    packets: int | None = None  # sent and received
    history: tuple[LinkChange, ...] | None = None  # newest first
    lanes_lost: int | None = None
    fec: str | None = None
    optics: Optics | None = None


class Optics(msgspec.Struct, frozen=True, kw_only=True):
    """A port's optical module; powers per lane in milliwatts."""

    present: bool | None = None
    temperature_celsius: float | None = None
    voltage_volts: float | None = None
    tx_power_milliwatts: tuple[float | None, ...] = ()
    rx_power_milliwatts: tuple[float | None, ...] = ()
    rx_power_low_milliwatts: float | None = None  # the module's own alarm threshold
    tx_power_low_milliwatts: float | None = None
    rx_loss_of_signal: int | None = None  # lane bit mask
    tx_loss_of_signal: int | None = None
    vendor: str | None = None
    serial: str | None = None


class Pcie(msgspec.Struct, frozen=True, kw_only=True):
    """The device's link to the host. Generation drops when idle by design; width never does."""

    generation: int | None = None
    generation_max: int | None = None
    width: int | None = None
    width_max: int | None = None
    replays: int | None = None


class Fabric(msgspec.Struct, frozen=True, kw_only=True):
    """NVSwitch fabric registration (nvmlDeviceGetGpuFabricInfoV; reference/nvidia.md section 3)."""

    state: str  # not_supported, not_started, in_progress, completed
    status: int | None = None  # an nvmlReturn_t, told only when completed
    healthy: bool | None = None
    problems: tuple[
        str, ...
    ] = ()  # degraded_bandwidth, route_recovery, route_unhealthy, access_timeout_recovery, misconfigured

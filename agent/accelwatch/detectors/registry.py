"""Every detector: a new one is one file with its test, and one line here."""

from __future__ import annotations

from accelwatch.detectors.ascend_health import AscendHealth
from accelwatch.detectors.base import Detector
from accelwatch.detectors.device_count import DeviceCount
from accelwatch.detectors.device_lost import DeviceLost
from accelwatch.detectors.driver_silent import DriverSilent
from accelwatch.detectors.fabric import FabricSwitch
from accelwatch.detectors.link_errors import LinkErrors
from accelwatch.detectors.links import Links
from accelwatch.detectors.log_events import LogEvents
from accelwatch.detectors.memory import Memory
from accelwatch.detectors.memory_repair import MemoryRepair
from accelwatch.detectors.net_health import NetHealth
from accelwatch.detectors.net_links import NetLinks
from accelwatch.detectors.pcie import PcieLink
from accelwatch.detectors.power import Power
from accelwatch.detectors.recovery_action import AskedRecovery
from accelwatch.detectors.thermal import Thermal
from accelwatch.taxonomy.loader import load

DETECTORS: tuple[Detector, ...] = (
    LogEvents(load()),
    DeviceLost(),
    DeviceCount(),
    DriverSilent(),
    Memory(),
    MemoryRepair(),
    AscendHealth(load()),
    AskedRecovery(),
    Links(),
    NetLinks(),
    NetHealth(),
    LinkErrors(),
    PcieLink(),
    Thermal(),
    Power(),
    FabricSwitch(),
)

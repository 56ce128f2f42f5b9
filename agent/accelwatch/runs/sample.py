"""What hang and straggler detection is fed with: plain values of one device, and of a run's processes on this node."""

from __future__ import annotations

import msgspec


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a device that a run holds; `None`: the device does not say.

    `at`: steady seconds of the reading. The same reading may be handed in again, it counts once; so a device that is
    read every 10 s and one that is read every second are fed alike.
    """

    vendor: str
    device: str  # its label
    at: float
    model: str = ""
    power_watts: float | None = None  # the device's own: never a whole board's or parent's on one of its parts
    power_limit_watts: float | None = None
    utilization_ratio: float | None = None  # GPU utilization, AI Core; 0 to 1
    clock_hertz: float | None = None  # of the compute domain: sm, aicore
    throttled: bool | None = None  # held down by heat, power brake or hardware slowdown (not by the power cap alone)
    temperature_celsius: float | None = None
    traffic_packets: int | None = None  # sent and received on its links since ever
    traffic_parts: tuple[int, ...] = ()  # what that is the sum of: counters that are read at different times
    memory_used_bytes: int | None = None

    @property
    def key(self) -> str:
        """What the device is known by in states and verdicts."""
        return f"{self.vendor}/{self.device}"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A run's processes on this node. The sums never fall while the PID set stays; `None`: cannot be read.

    `pids`: the processes that the driver says hold memory of the devices. Helpers that come and go with each epoch
    (data-loader workers) belong into the sums, not into `pids`: a changed PID set is taken for a new start. Empty:
    not known now, and not taken for a change.
    """

    at: float  # steady seconds of the reading
    pids: tuple[int, ...]
    devices: tuple[str, ...]  # keys of the devices it holds here, without those that are known to be lost
    world_size: int | None = None  # ranks of the whole run, by its launcher
    cpu_seconds: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    states: tuple[str, ...] = ()  # psutil's words: running, sleeping, disk-sleep, stopped, tracing-stop, zombie

"""What the NVML worker answers, as the agent reads it: JSON by the names of the readings' own fields."""

from __future__ import annotations

import msgspec

from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.sensors import Sensors, Throttle
from accelwatch.readings.snapshot import Device


class Start(msgspec.Struct):
    """What the worker is told at its start."""

    progress: int  # descriptor of the shared marker
    library: str | None
    skip: list[int]  # ordinals of devices that blocked or killed a worker before this one
    process_names: bool = True  # False: asking for them blocked the worker before
    events: bool = True  # False: registering for them did


# A fast reading of a GPU that this worker has described before, the rest of which is known: index, power, energy,
# utilization and throttle reasons, in the units of `Sensors`.
Fast = tuple[int, float | None, float | None, float | None, tuple[Throttle, ...] | None]


def joined(fast: Fast, slow: Sensors | None) -> Sensors:
    """The fast values over what was read in full."""
    _, power, energy, load, throttle = fast
    if slow is None:
        return Sensors(power_watts=power, energy_joules=energy, utilization_ratio=load, throttle=throttle)
    return Sensors(
        power_watts=power,
        power_limit_watts=slow.power_limit_watts,
        energy_joules=energy,
        temperature_celsius=slow.temperature_celsius,
        memory_temperature_celsius=slow.memory_temperature_celsius,
        utilization_ratio=load,
        memory_used_bytes=slow.memory_used_bytes,
        memory_total_bytes=slow.memory_total_bytes,
        clocks=slow.clocks,
        throttle=throttle,
    )


class Answer(msgspec.Struct, frozen=True):
    """What one request brought, GPU by GPU; MIG devices follow theirs. `error`: no device can be asked."""

    devices: tuple[Device | Fast, ...] = ()
    problems: tuple[str, ...] = ()  # told once by each worker
    events: tuple[LogEvent, ...] = ()  # since the answer before
    error: str | None = None


decode = msgspec.json.Decoder(Answer).decode

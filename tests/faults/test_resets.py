"""When a device was reset: no later than the last answer that still showed the state from before."""

import msgspec

from accelwatch.faults.resets import ResetWatch
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.memory import EccCount, ErrorKind
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.snapshot import Device, Snapshot

KEY = DeviceKey(Vendor.NVIDIA, "0000:18:00.0")
IDENTITY = Identity(key=KEY, index=0, model="H100")


def device(state: DeviceState = DeviceState.UP, energy: float | None = None) -> Device:
    return Device(identity=IDENTITY, state=state, sensors=Sensors(energy_joules=energy))


def counts(number: int) -> tuple[EccCount, ...]:
    return (EccCount(memory="hbm", kind=ErrorKind.CORRECTED, lifetime=False, count=number),)


def watch(*polls: tuple[float, Device]) -> float | None:
    """What is known of the device's reset after these polls (second, answer)."""
    resets, before = ResetWatch(None), None
    for now, answer in polls:
        after = Snapshot(devices=(answer,))
        resets.observe(before, after, now)
        before = after
    return resets.last(KEY)


def test_a_reset_came_after_the_last_answer_from_before_it() -> None:
    assert watch((10.0, device(DeviceState.LOST)), (12.0, device())) == 10.0
    assert watch((10.0, device(energy=900.0)), (12.0, device(energy=3.0))) == 10.0
    assert watch((10.0, device(energy=900.0)), (12.0, device(energy=901.0))) is None
    assert watch((10.0, device(DeviceState.LOST)), (12.0, device(DeviceState.LOST))) is None


def test_counts_are_as_old_as_the_full_reading_that_gave_them() -> None:
    """Nine polls in ten hand on the counts of the last full one."""
    old, new = counts(7), counts(0)
    polls = [(float(second), msgspec.structs.replace(device(), ecc=old)) for second in range(10, 20)]
    assert watch(*polls, (20.0, msgspec.structs.replace(device(), ecc=new))) == 10.0

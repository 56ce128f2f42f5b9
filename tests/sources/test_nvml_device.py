"""What is made of a driver's answers, with a binding of our own: old drivers, old boards, odd answers."""

import types
from typing import Any

import msgspec
import pytest

from accelwatch.readings.link import Fabric
from accelwatch.readings.memory import EccCount, ErrorKind
from accelwatch.readings.sensors import Sensors
from accelwatch.sources.nvml_answer import Fast, joined
from accelwatch.sources.nvml_device import Gpu, decode_fabric, ecc
from accelwatch.sources.nvml_driver import DeviceError, Driver, DriverError
from accelwatch.sources.nvml_progress import Progress


class NvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class Binding(types.SimpleNamespace):
    """Functions by name; a number instead of one is the code that it fails with. Calls are noted."""

    def __init__(self, **functions: Any) -> None:
        super().__init__(NVMLError=NvmlError, calls=[])
        for name, answer in functions.items():
            setattr(self, name, self._function(name, answer))

    def _function(self, name: str, answer: Any) -> Any:
        def called(*arguments: object) -> Any:
            self.calls.append(name)
            if isinstance(answer, int):
                raise NvmlError(answer)
            return answer(*arguments)

        return called


def gpu_of(binding: Binding, model: str = "NVIDIA A10") -> Gpu:
    identity = {"key": {"vendor": "nvidia", "native": "0000:3b:00.0"}, "model": model}
    return Gpu(Driver(binding, Progress()), 0, object(), identity)


def driver_of(gpu: Gpu) -> Driver:
    return gpu._driver


def counts_of(gpu: Gpu) -> tuple[EccCount, ...] | None:
    """As the agent has them."""
    return msgspec.convert(ecc(gpu.read_ecc()), tuple[EccCount, ...] | None)


def fast_of(gpu: Gpu) -> Sensors:
    return joined(msgspec.convert((0, *gpu.fast()), Fast), None)


def summed(counts: tuple[EccCount, ...] | None, kind: ErrorKind, lifetime: bool) -> int:
    return sum(c.count for c in counts or () if c.kind is kind and c.lifetime is lifetime and not c.place)


def test_before_hopper_sram_is_what_the_total_has_beyond_device_memory() -> None:
    """Counters that may be summed give the driver's total; the places are details."""
    at = {2: 5, 0: 1, 1: 2, 3: 4}

    def place(_handle: object, _error: int, _counter: int, where: int) -> int:
        if where not in at:
            raise NvmlError(3)
        return at[where]

    binding = Binding(nvmlDeviceGetMemoryErrorCounter=place, nvmlDeviceGetTotalEccErrors=lambda *_: 12)
    counts = counts_of(gpu_of(binding, "Tesla V100-SXM2-32GB"))
    assert counts is not None
    assert summed(counts, ErrorKind.UNCORRECTED, lifetime=True) == 12
    assert {c.memory: c.count for c in counts if not c.place} == {"hbm": 5, "sram": 7}
    assert {c.memory: c.count for c in counts if c.place} == {"l1": 1, "l2": 2, "register": 4}


def test_where_places_are_not_told_the_total_counts_as_device_memory() -> None:
    """Nothing is made up about SRAM."""
    binding = Binding(nvmlDeviceGetMemoryErrorCounter=3, nvmlDeviceGetTotalEccErrors=lambda *_: 12)
    counts = counts_of(gpu_of(binding))
    assert {(c.memory, c.count) for c in counts or ()} == {("ddr", 12)}


def test_a_board_without_ecc_has_no_counters() -> None:
    """Not supported is absent, not zero."""
    assert counts_of(gpu_of(Binding(nvmlDeviceGetMemoryErrorCounter=3, nvmlDeviceGetTotalEccErrors=3))) is None


@pytest.mark.parametrize(
    ("model", "memory"),
    [("NVIDIA A100-SXM4-80GB", "hbm"), ("Tesla V100-PCIE-16GB", "hbm"), ("NVIDIA H20", "hbm"),
     ("NVIDIA GB200", "hbm"), ("NVIDIA GH200 480GB", "hbm"), ("NVIDIA B300 SXM6 AC", "hbm"), ("NVIDIA A30", "hbm"),
     ("NVIDIA A10", "ddr"), ("NVIDIA L40S", "ddr"), ("NVIDIA GeForce RTX 3090", "ddr"), ("Tesla T4", "ddr")],
)  # fmt: skip
def test_the_kind_of_memory_follows_from_the_model(model: str, memory: str) -> None:
    """Also where the temperature of the stacks is not told."""
    binding = Binding(nvmlDeviceGetMemoryErrorCounter=3, nvmlDeviceGetTotalEccErrors=lambda *_: 0)
    assert {c.memory for c in counts_of(gpu_of(binding, model)) or ()} == {memory}


def test_older_functions_stand_in_for_what_the_driver_does_not_have() -> None:
    """Power, energy, throttle reasons and temperature come from whichever function answers."""
    rates = types.SimpleNamespace(gpu=50)
    gpu = gpu_of(
        Binding(
            nvmlDeviceGetFieldValues=13,
            nvmlDeviceGetPowerUsage=lambda _: 250_000,
            nvmlDeviceGetTotalEnergyConsumption=lambda _: 5_000,
            nvmlDeviceGetUtilizationRates=lambda _: rates,
            nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0,
            nvmlDeviceGetTemperature=26,
            nvmlDeviceGetTemperatureV=lambda *_: 61,
        )
    )
    sensors = fast_of(gpu)
    assert (sensors.power_watts, sensors.energy_joules, sensors.utilization_ratio) == (250.0, 5.0, 0.5)
    assert sensors.throttle == ()
    assert gpu.slow_sensors()["temperature_celsius"] == 61.0


def test_a_device_that_measures_no_power_draws_none_rather_than_zero() -> None:
    """Unread is not 0."""
    sensors = fast_of(gpu_of(Binding(nvmlDeviceGetFieldValues=3, nvmlDeviceGetUtilizationRates=3)))
    assert (sensors.power_watts, sensors.energy_joules, sensors.utilization_ratio) == (None, None, None)
    assert sensors.throttle is None


def test_what_is_not_supported_is_asked_once() -> None:
    """Until the driver is asked anew, since ECC or MIG may be switched; a missing function stays missing."""
    binding = Binding(nvmlDeviceGetUtilizationRates=3, nvmlDeviceGetRemappedRows=13)
    gpu = gpu_of(binding)
    for _ in range(3):
        assert gpu.call("nvmlDeviceGetUtilizationRates") is None
        assert gpu.call("nvmlDeviceGetRemappedRows") is None
    assert sorted(binding.calls) == ["nvmlDeviceGetRemappedRows", "nvmlDeviceGetUtilizationRates"]
    driver_of(gpu).forget_absent()
    gpu.call("nvmlDeviceGetUtilizationRates")
    gpu.call("nvmlDeviceGetRemappedRows")
    assert binding.calls[2:] == ["nvmlDeviceGetUtilizationRates"]


def test_a_name_that_is_no_text_is_none() -> None:
    """A broken InfoROM costs its field only."""
    assert gpu_of(Binding(nvmlDeviceGetName=lambda _: b"\xff\xfe".decode())).call("nvmlDeviceGetName") is None


def test_nothing_but_unknown_errors_is_a_dying_device() -> None:
    """One answer among them, and it is a broken sensor instead."""
    driver = driver_of(gpu_of(Binding(nvmlDeviceGetName=999, nvmlDeviceGetUUID=lambda _: "GPU-1")))
    driver.begin_device()
    assert driver.call(0, "nvmlDeviceGetName", None) is None
    with pytest.raises(DeviceError, match="999"):
        driver.end_device()
    driver.begin_device()
    for _ in range(5):
        driver.call(0, "nvmlDeviceGetUUID", None)
        driver.call(0, "nvmlDeviceGetName", None)
    driver.end_device()


def test_a_dying_device_is_not_asked_everything() -> None:
    """Three unknown errors without an answer are enough: each may have taken seconds."""
    driver = driver_of(gpu_of(Binding(nvmlDeviceGetName=999)))
    driver.begin_device()
    driver.call(0, "nvmlDeviceGetName", None)
    driver.call(0, "nvmlDeviceGetName", None)
    with pytest.raises(DeviceError):
        driver.call(0, "nvmlDeviceGetName", None)


@pytest.mark.parametrize(("device", "code", "raised"), [(-1, 4, DriverError), (0, 4, DeviceError), (0, 9, DriverError)])
def test_a_call_that_nothing_goes_on_without_raises_every_code(device: int, code: int, raised: type) -> None:
    """On a device it is that device's, else, or when the driver is gone, everybody's."""
    driver = driver_of(gpu_of(Binding(nvmlDeviceGetCount=code)))
    with pytest.raises(raised):
        driver.must(device, "nvmlDeviceGetCount")


@pytest.mark.parametrize(("summary", "healthy"), [(0, True), (1, True), (2, False), (3, False)])
def test_the_fabrics_own_summary_counts(summary: int, healthy: bool) -> None:
    """Version 3 of the structure says unhealthy or limited without a reason."""
    fabric = msgspec.convert(decode_fabric(3, 0, 0x100, summary), Fabric)
    assert fabric.healthy is healthy


def test_a_link_whose_state_was_not_read_is_neither_up_nor_down() -> None:
    """It would be a link that went down."""
    from accelwatch.sources.nvml_links import links

    found = links({"vendor": "nvidia", "native": "0000:01:00.0"}, ([1, None, 0], [7, 0, 0, 0], {}))
    assert [(link["link"], link["state"]) for link in found or ()] == [("nvlink0", "up"), ("nvlink2", "down")]

"""MIG devices of one GPU; ECC, power and links stay on the GPU itself."""

from __future__ import annotations

from accelwatch.sources.nvml_device import Gpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from accelwatch.sources.nvml_driver import Driver


def mig_devices(driver: Driver, gpu: Gpu) -> list[dict[str, Any]]:
    """Empty where MIG is off or unknown."""
    mode = gpu.call("nvmlDeviceGetMigMode")
    if mode is None or not mode[0]:
        return []
    devices = []
    for number in range(gpu.call("nvmlDeviceGetMaxMigDeviceCount") or 0):
        handle = driver.call(gpu.ordinal, "nvmlDeviceGetMigDeviceHandleByIndex", gpu.handle, number, mark=str(number))
        if handle is None:
            continue
        mig = Gpu(driver, gpu.ordinal, handle, gpu.identity, mark=f"mig{number}")
        instance, compute = mig.call("nvmlDeviceGetGpuInstanceId"), mig.call("nvmlDeviceGetComputeInstanceId")
        if instance is None or compute is None:
            continue
        memory = mig.memory()
        key = gpu.identity["key"]
        identity = {
            "key": {"vendor": "nvidia", "native": f"{key['native']}/{instance}/{compute}"},
            "model": mig.call("nvmlDeviceGetName"),
            "uuid": mig.call("nvmlDeviceGetUUID"),
            "pci": gpu.identity["pci"],
            "driver": gpu.identity["driver"],
            "parent": key,
        }
        sensors = {} if memory is None else {"memory_used_bytes": memory.used, "memory_total_bytes": memory.total}
        devices.append({"identity": identity, "sensors": sensors, "processes": mig.processes()})
    return devices

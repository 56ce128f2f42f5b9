"""The one place where driver calls are made: marks each, and turns return codes into `None` or states.

Return codes: reference/nvidia.md section 2 (nvml.h).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NOT_SUPPORTED, FUNCTION_NOT_FOUND, LOST, RESET_REQUIRED = 3, 13, 15, 16
STRUCT_VERSION, DEPRECATED, UNKNOWN = 25, 26, 999
# The driver itself is gone or changed under us: no device can be asked.
DRIVER_GONE = {
    1: "NVML is not initialised any more: the driver was reloaded",
    9: "the NVIDIA driver is not loaded",
    12: "libnvidia-ml.so.1 was not found",
    18: "library and driver differ in version: the driver was upgraded while it was in use; reload it or reboot",
}
_ABSENT = frozenset((NOT_SUPPORTED, FUNCTION_NOT_FOUND, STRUCT_VERSION, DEPRECATED))


class DeviceError(Exception):
    """A device answers with 15, 16 or 999."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(f"{name} returned {code}")
        self.code = code
        self.name = name


class DriverError(Exception):
    """No device can be asked; the message says why."""


class Driver:
    """Calls of one loaded NVML. What a driver or device does not know is asked once and not again."""

    def __init__(self, module: Any, enter: Callable[[int, str], None], leave: Callable[[], None]) -> None:
        self.module = module
        self._error: type[Exception] = module.NVMLError
        self._enter = enter
        self._leave = leave
        self._absent: set[tuple[int, str]] = set()

    def forget_absent(self) -> None:
        """Asks again for what was not supported: MIG or ECC may have been switched."""
        self._absent.clear()

    def call(self, device: int, name: str, *arguments: object, mark: str = "") -> Any:
        """The result, or `None` where the device does not have it. Raises `DeviceError`, `DriverError`.

        `mark` tells calls of the same function with other arguments apart where support differs.
        """
        key = (device, name + mark)
        if key in self._absent:
            return None
        function = getattr(self.module, name, None)
        if function is None:  # an older binding
            self._absent.add(key)
            return None
        self._enter(device, name)
        try:
            return function(*arguments)
        except self._error as error:
            return self._judge(key, name, error.value)  # type: ignore[attr-defined]
        finally:
            self._leave()

    def fields(self, device: int, handle: object, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], int | float]:
        """Values of (field id, scope) pairs in one call; those that the device lacks are left out."""
        asked = [pair for pair in wanted if (device, f"field {pair[0]}") not in self._absent]
        if not asked:
            return {}
        values = self.call(device, "nvmlDeviceGetFieldValues", handle, [p if p[1] else p[0] for p in asked])
        result: dict[tuple[int, int], int | float] = {}
        for pair, value in zip(asked, values or (), strict=False):
            if value.nvmlReturn == 0:
                result[pair] = _union(value)
            elif value.nvmlReturn in (LOST, RESET_REQUIRED):
                raise DeviceError(value.nvmlReturn, f"field {pair[0]}")
            elif value.nvmlReturn in _ABSENT and not pair[1]:
                self._absent.add((device, f"field {pair[0]}"))
        return result

    def _judge(self, key: tuple[int, str], name: str, code: int) -> None:
        if code in _ABSENT:
            self._absent.add(key)
            return
        if code in (LOST, RESET_REQUIRED, UNKNOWN):
            raise DeviceError(code, name)
        if code in DRIVER_GONE:
            raise DriverError(f"{name}: {DRIVER_GONE[code]}")


def _union(value: Any) -> int | float:
    """The member of the union that the type tag names (nvmlValueType_t)."""
    members = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    result: int | float = getattr(value.value, members[value.valueType] if value.valueType < len(members) else "ullVal")
    return result

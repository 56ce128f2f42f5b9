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
# So many unknown errors without one answer, and the rest of a dying device is not waited for.
_UNKNOWN_ENOUGH = 3
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
_WORDS = {
    4: "no permission: the agent's user or container may not open this GPU",
    LOST: "GPU is lost",
    RESET_REQUIRED: "GPU requires reset",
    28: "GPU not found",
    UNKNOWN: "unknown error",
}


class DeviceError(Exception):
    """A device cannot be read: 15, 16, nothing but 999, or any code from a call that it cannot do without."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(_told(name, code))
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
        self._missing: set[str] = set()  # functions that this library or binding does not have at all
        self._functions: dict[str, Callable[..., Any]] = {}
        self._answers = 0
        self._unknown = 0

    def forget_absent(self) -> None:
        """Asks again for what was not supported: MIG or ECC may have been switched."""
        self._absent.clear()

    def withhold(self, name: str) -> None:
        """Never calls this function."""
        self._missing.add(name)

    def begin_device(self) -> None:
        """Counts answers anew; see `end_device`."""
        self._answers = self._unknown = 0

    def end_device(self) -> None:
        """Raises `DeviceError` when the calls since `begin_device` brought 999 and not one value.

        A single call that gives 999 on a device that answers others costs its own value only: there are boards
        whose power meter does that for ever.
        """
        if self._unknown and not self._answers:
            raise DeviceError(UNKNOWN, "every call")

    def must(self, device: int, name: str, *arguments: object) -> Any:
        """The result of a call that nothing goes on without: each code but 0 raises `DeviceError` or `DriverError`."""
        function = getattr(self.module, name)
        self._enter(device, name)
        try:
            return function(*arguments)
        except self._error as error:
            code = error.value  # type: ignore[attr-defined]
            if code in DRIVER_GONE:
                raise DriverError(f"{name}: {DRIVER_GONE[code]}") from None
            if device < 0:
                raise DriverError(_told(name, code)) from None
            raise DeviceError(code, name) from None
        finally:
            self._leave()

    def call(self, device: int, name: str, *arguments: object, mark: str = "") -> Any:
        """The result, or `None` where the device does not have it. Raises `DeviceError`, `DriverError`.

        `mark` tells calls of the same function with other arguments apart where support differs.
        """
        key = (device, name + mark)
        if key in self._absent or key[1] in self._missing:
            return None
        function = self._functions.get(name)
        if function is None:
            function = getattr(self.module, name, None)
            if function is None:  # an older binding
                self._missing.add(key[1])
                return None
            self._functions[name] = function
        self._enter(device, name)
        try:
            result = function(*arguments)
        except self._error as error:
            return self._judge(key, name, error.value)  # type: ignore[attr-defined]
        except ValueError:  # text that is not UTF-8, out of a broken InfoROM
            return None
        finally:
            self._leave()
        self._answers += name != "nvmlDeviceGetFieldValues"  # there each element answers for itself
        return result

    def fields(self, device: int, handle: object, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], int | float]:
        """Values of (field id, scope) pairs in one call; those that the device lacks are left out."""
        asked = [pair for pair in wanted if (device, f"field {pair}") not in self._absent]
        if not asked:
            return {}
        values = self.call(device, "nvmlDeviceGetFieldValues", handle, [p if p[1] else p[0] for p in asked])
        result: dict[tuple[int, int], int | float] = {}
        for pair, value in zip(asked, values or (), strict=False):
            code = value.nvmlReturn  # a function of the binding stands behind each look at a member
            if code == 0:
                self._answers += 1
                result[pair] = _union(value)
            elif code in (LOST, RESET_REQUIRED):
                raise DeviceError(code, f"field {pair[0]}")
            elif code == UNKNOWN:
                self._unknown += 1
            elif code in _ABSENT:
                self._absent.add((device, f"field {pair}"))
        return result

    def _judge(self, key: tuple[int, str], name: str, code: int) -> None:
        if code == FUNCTION_NOT_FOUND:
            self._missing.add(key[1])
        elif code in _ABSENT:
            self._absent.add(key)
        elif code in (LOST, RESET_REQUIRED):
            raise DeviceError(code, name)
        elif code in DRIVER_GONE:
            raise DriverError(f"{name}: {DRIVER_GONE[code]}")
        elif code == UNKNOWN:
            self._unknown += 1
            if self._unknown >= _UNKNOWN_ENOUGH and not self._answers:
                raise DeviceError(code, name)


def _told(name: str, code: int) -> str:
    words = _WORDS.get(code)
    return f"{name} returned {code}" + (f" ({words})" if words else "")


def _union(value: Any) -> int | float:
    """The member of the union that the type tag names (nvmlValueType_t)."""
    kind = value.valueType
    result: int | float = getattr(value.value, _MEMBERS[kind] if kind < len(_MEMBERS) else "ullVal")
    return result

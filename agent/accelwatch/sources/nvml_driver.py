"""The one place where driver calls are made: marks each, and turns return codes into `None` or states.

Return codes: reference/nvidia.md section 2 (nvml.h).
"""

from __future__ import annotations

import ctypes
from math import isfinite
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from accelwatch.sources.nvml_progress import Progress

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
_WORDS = {
    4: "no permission: the agent's user or container may not open this GPU",
    LOST: "GPU is lost",
    RESET_REQUIRED: "GPU requires reset",
    28: "GPU not found",
    UNKNOWN: "unknown error",
}


def _unresolved() -> None:
    """Stands for a function that was not looked for yet."""


_UNRESOLVED = _unresolved
Row = tuple[str, tuple[int, ...]]  # a mark, and the arguments after the handle


class DeviceError(Exception):
    """A device cannot be read: 15, 16, nothing but 999, or any code from a call that it cannot do without."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(_told(name, code))
        self.code = code
        self.name = name


class DriverError(Exception):
    """No device can be asked; the message says why."""


class Driver:
    """Calls of one NVML (`nvml_calls.Calls`). What a driver or device does not know is asked once and not again."""

    def __init__(self, module: Any, progress: Progress) -> None:
        self.module = module
        self._error: type[Exception] = module.NVMLError
        self._enter, self._leave, self._announce = progress.enter, progress.leave, progress.announce
        self._missing: set[tuple[str, str]] = set()  # name and mark of what this library or binding does not have
        # By device, name and mark; `None`: what the device does not support, or is missing.
        self._functions: dict[tuple[int, str, str], Callable[..., Any] | None] = {}
        self._absent_fields: set[tuple[int, tuple[int, int]]] = set()
        self._answers = 0
        self._unknown = 0

    def forget_absent(self) -> None:
        """Asks again for what was not supported: MIG or ECC may have been switched."""
        self._functions = {key: function for key, function in self._functions.items() if function is not None}
        self._absent_fields.clear()

    def withhold(self, name: str) -> None:
        """Never calls this function."""
        self._missing.add((name, ""))

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
        key = (device, name, mark)
        function = self._functions.get(key, _UNRESOLVED)
        if function is _UNRESOLVED:
            function = self._resolve(key)
        if function is None:
            return None
        self._enter(device, name)
        try:
            result = function(*arguments)
        except self._error as error:
            return self._judge(key, error.value)  # type: ignore[attr-defined]
        except ValueError:  # text that is not UTF-8, out of a broken InfoROM
            return None
        finally:
            self._leave()
        self._answers += 1
        return result

    def _resolve(self, key: tuple[int, str, str]) -> Callable[..., Any] | None:
        """The binding's function, unless it is missing."""
        _, name, mark = key
        function: Callable[..., Any] | None = None
        if (name, mark) not in self._missing:
            function = getattr(self.module, name, None)
            if function is None:  # an older binding
                self._missing.add((name, mark))
        self._functions[key] = function
        return function

    def each(self, device: int, name: str, handle: object, rows: Iterable[Row]) -> list[int | None]:
        """As `call` for each mark with its arguments, of a number: a reading of a node asks for two thousand."""
        functions = self._functions
        function, number, place = self._straight(name)
        started = self._announce(device, name)
        result: list[int | None] = []
        for mark, arguments in rows:
            key = (device, name, mark)
            if functions.get(key, _UNRESOLVED) is None or (key not in functions and self._resolve(key) is None):
                result.append(None)
                continue
            started[0] = monotonic_ns()
            code = function(handle, *arguments, place)
            started[0] = 0
            if code:
                result.append(self._judge(key, code))  # type: ignore[func-returns-value]
            else:
                self._answers += 1
                result.append(number.value)
        return result

    def _straight(self, name: str) -> tuple[Callable[..., int], Any, Any]:
        """A function that returns its code, and puts its result where the second one is, by the third."""
        straight: tuple[Callable[..., int], Any, Any] | None = getattr(self.module, "numbers", {}).get(name)
        if straight is not None:
            return straight
        result = ctypes.c_longlong()

        def adapted(*arguments: Any) -> int:
            try:
                result.value = getattr(self.module, name)(*arguments[:-1])
            except self._error as error:
                code: int = error.value  # type: ignore[attr-defined]
                return code
            return 0

        return adapted, result, None

    def fields(
        self, device: int, handle: object, wanted: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], int | float]:
        """Values of (field id, scope) pairs in one call; those that the device lacks are left out."""
        absent = self._absent_fields
        asked = [pair for pair in wanted if (device, pair) not in absent] if absent else wanted
        if not asked:
            return {}
        answers = self._answers
        values = self.call(device, "nvmlDeviceGetFieldValues", handle, asked)
        self._answers = answers  # each element answers for itself
        result: dict[tuple[int, int], int | float] = {}
        for pair, (code, value) in zip(asked, values or (), strict=False):
            if code == 0:
                self._answers += 1
                if type(value) is int or isfinite(value):  # what is no number is not told
                    result[pair] = value
            elif code in (LOST, RESET_REQUIRED):
                raise DeviceError(code, f"field {pair[0]}")
            elif code == UNKNOWN:
                self._unknown += 1
            elif code in _ABSENT:
                absent.add((device, pair))
        return result

    def _judge(self, key: tuple[int, str, str], code: int) -> None:
        _, name, mark = key
        if code == FUNCTION_NOT_FOUND:
            self._missing.add((name, mark))
            self._functions.update({other: None for other in self._functions if other[1:] == (name, mark)})
        elif code in _ABSENT:
            self._functions[key] = None
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

"""pynvml, with the calls that readings are made of straight to the library it has loaded.

A full reading of 16 GPUs makes over two thousand calls that give one number each. The binding makes the number's place
and the arguments anew for each, and what it returns runs Python at each look at a member: here they are kept. Names,
arguments and results are the binding's, but for field values and a wait that ends without an event.
"""

from __future__ import annotations

import ctypes
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # the module `typing` is half a megabyte in the worker
    from collections.abc import Sequence
    from typing import Any

# Functions that give one number behind their last argument (nvml.h).
_UNSIGNED = (
    "nvmlDeviceGetClockInfo", "nvmlDeviceGetCurrPcieLinkGeneration", "nvmlDeviceGetCurrPcieLinkWidth",
    "nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetMaxPcieLinkGeneration", "nvmlDeviceGetMaxPcieLinkWidth",
    "nvmlDeviceGetNvLinkState", "nvmlDeviceGetPcieReplayCounter", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature",
)  # fmt: skip
_LONG = (
    "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetMemoryErrorCounter", "nvmlDeviceGetNvLinkErrorCounter",
    "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetTotalEnergyConsumption",
)  # fmt: skip
# nvmlFieldValue_t: id, scope, time stamp, latency, type of the value, return code, value.
FIELD = struct.Struct("=IIqqIiQ")
_ID_AND_SCOPE = struct.Struct("=II")
# Of the value, by its type (nvmlValueType_t); of types that are not known yet, all of it.
_UNSIGNED_INT, _UNSIGNED_LONG_LONG = 1, 3
_MEMBERS = ("=d", "=I", "=Q", "=Q", "=q", "=i", "=H")
_TIMEOUT = 10  # nvmlReturn_t

FieldValue = tuple[int, "int | float"]  # return code and value


class _Rates(ctypes.Structure):
    """nvmlUtilization_t, in percent."""

    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class Calls:
    """See the module. Not for several threads at once, but for `nvmlEventSetWait_v2`. Raises the binding's errors."""

    def __init__(self, module: Any, library: ctypes.CDLL) -> None:
        """`library`: the one that the binding has loaded."""
        self._module = module
        self._error = module.NVMLError
        # Functions that give one number, with the number, and its place for their last argument.
        self.numbers: dict[str, tuple[Any, Any, Any]] = {}
        self._fields: dict[tuple[tuple[int, int], ...], tuple[Any, bytes]] = {}
        for names, kind in ((_UNSIGNED, ctypes.c_uint), (_LONG, ctypes.c_ulonglong)):
            for name in names:
                self._put(library, name, kind)
        self._rates = _Rates()
        self._straight(library, "nvmlDeviceGetUtilizationRates", "_get_rates", "_read_rates")
        self._straight(library, "nvmlDeviceGetFieldValues", "_get_fields", "_read_fields")
        self._event = module.c_nvmlEventData_t()
        self._straight(library, "nvmlEventSetWait_v2", "_wait", "_wait_for_event")

    def __getattr__(self, name: str) -> Any:
        """Everything else is the binding's; so is what this library does not have."""
        value = getattr(self._module, name)
        setattr(self, name, value)
        return value

    def _put(self, library: ctypes.CDLL, name: str, kind: type[Any]) -> None:
        try:
            function = library[name]
        except AttributeError:
            return
        number, error = kind(), self._error
        place = ctypes.byref(number)
        self.numbers[name] = function, number, place

        def read(*arguments: Any) -> int:
            code = function(*arguments, place)
            if code:
                raise error(code)
            result: int = number.value
            return result

        setattr(self, name, read)

    def _straight(self, library: ctypes.CDLL, name: str, function: str, method: str) -> None:
        try:
            setattr(self, function, library[name])
        except AttributeError:
            return
        setattr(self, name, getattr(self, method))

    def _read_rates(self, handle: Any) -> _Rates:
        """Good until the next call."""
        code = self._get_rates(handle, ctypes.byref(self._rates))
        if code:
            raise self._error(code)
        return self._rates

    def _wait_for_event(self, events: Any, milliseconds: int) -> Any:
        """The event, good until the next call; `None` where nothing happens within the time, as it is most seconds."""
        code = self._wait(events, ctypes.byref(self._event), milliseconds)
        if code == _TIMEOUT:
            return None
        if code:
            raise self._error(code)
        return self._event

    def _read_fields(self, handle: Any, wanted: Sequence[tuple[int, int]]) -> list[FieldValue]:
        """By pairs of field id and scope, in their order."""
        key = tuple(wanted)
        kept = self._fields.get(key)
        if kept is None:
            template = b"".join(_ID_AND_SCOPE.pack(*pair).ljust(FIELD.size, b"\0") for pair in key)
            kept = self._fields[key] = ctypes.create_string_buffer(template, len(template)), template
        buffer, template = kept
        buffer.raw = template  # what the library leaves alone must not be another GPU's
        code = self._get_fields(handle, len(key), buffer)
        if code:
            raise self._error(code)
        return [
            (
                returned,
                value
                if kind == _UNSIGNED_LONG_LONG
                else value & 0xFFFFFFFF
                if kind == _UNSIGNED_INT
                else _member(kind, value),
            )
            for _, _, _, _, kind, returned, value in FIELD.iter_unpack(buffer)
        ]


def _member(kind: int, union: int) -> int | float:
    """The member of a union that was read as 8 bytes."""
    form = _MEMBERS[kind] if kind < len(_MEMBERS) else "=Q"
    member: int | float = struct.unpack_from(form, union.to_bytes(8, sys.byteorder))[0]
    return member

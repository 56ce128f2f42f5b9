"""The last good answer of a slow query, which is shown at many polls and is to be parsed at one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, TypeVarTuple

Read = TypeVar("Read")
Part = TypeVar("Part", bound=Mapping[Any, Any])
More = TypeVarTuple("More")


class KeptAnswer:
    """`at`: when it came, in monotonic seconds."""

    __slots__ = ("_read", "at", "output")

    def __init__(self, output: str, at: float) -> None:
        self.output = output
        self.at = at
        self._read: dict[Any, Any] = {}

    def read(self, parse: Callable[[str], Read]) -> Read:
        """What `parse` makes of it, the very same object each time: nobody may change it."""
        if parse not in self._read:
            self._read[parse] = parse(self.output)
        result: Read = self._read[parse]
        return result

    def read_part(
        self,
        split: Callable[[str], Mapping[int, Part]],
        number: int | None,
        parse: Callable[[Part, *More], Read],
        *more: *More,
    ) -> Read:
        """As `read`, of one part of those that `split` finds; of an empty one where there is none of that number."""
        key = (split, number, parse, *more)
        if key not in self._read:
            part: Any = {} if number is None else self.read(split).get(number, {})
            self._read[key] = parse(part, *more)
        result: Read = self._read[key]
        return result

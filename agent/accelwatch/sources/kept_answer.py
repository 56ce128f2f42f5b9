"""The last good answer of a slow query, which is shown at many polls and is to be parsed at one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Read = TypeVar("Read")


class KeptAnswer:
    """`at`: when it came, in monotonic seconds."""

    __slots__ = ("_read", "at", "output")

    def __init__(self, output: str, at: float) -> None:
        self.output = output
        self.at = at
        self._read: dict[Callable[[str], Any], Any] = {}

    def read(self, parse: Callable[[str], Read]) -> Read:
        """What `parse` makes of it, the very same object each time: nobody may change it."""
        if parse not in self._read:
            self._read[parse] = parse(self.output)
        result: Read = self._read[parse]
        return result

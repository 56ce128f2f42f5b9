"""What every reader of one family of lines is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from accelwatch.readings.log_event import LogEvent


class Family(Protocol):
    """Reads the lines of one driver, kernel subsystem or library.

    It is only given lines that hold one of its `needles`, and every line while it is `waiting` for the rest of a record
    of several lines. It remembers a bounded amount and looks at no clock.
    """

    @property
    def needles(self) -> tuple[str, ...]:
        """Texts of which a line must hold one to be of the family.

        They begin with what is rare in logs (capitals, punctuation): a search skips all other characters fast.
        """
        ...

    @property
    def waiting(self) -> bool:
        """Inside a record: every line is wanted."""
        ...

    def feed(self, text: str) -> list[LogEvent]:
        """The events that `text`, a message without prefixes, tells or completes."""
        ...

    def flush(self) -> list[LogEvent]:
        """What was held back for lines that will not come any more."""
        ...


class Stateless:
    """A family whose lines each stand for themselves."""

    waiting = False

    def flush(self) -> list[LogEvent]:
        """Nothing is held back."""
        return []


# A bus address as kernel and driver print it; the function, where there is one, is no part of a device's key.
# Fabric Manager and NVML write the domain with eight digits.
PCI = r"([0-9a-fA-F]{4,8}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.[0-7])?"


def address(domain: str, bus: str, device: str) -> str:
    """`0000:3b:00`: lower case, four digits of domain unless it needs more, no function."""
    return f"{int(domain, 16):04x}:{bus}:{device}".lower()


class Filter:
    """Finds in one pass over a line the families that it may be of: nearly all lines are of none."""

    def __init__(self, families: tuple[Family, ...]) -> None:
        # Where one needle begins another, the longest is found, and stands for both.
        self.needles = needles = sorted({needle for family in families for needle in family.needles}, reverse=True)
        self.pattern = re.compile("|".join(re.escape(needle) for needle in needles))
        self._families = families
        self._waiters = [family for family in families if not isinstance(family, Stateless)]
        self._of = {
            needle: tuple(family for family in families if any(own in needle for own in family.needles))
            for needle in needles
        }

    def waiting(self) -> bool:
        """Whether any family waits for the rest of a record."""
        for family in self._waiters:  # noqa: SIM110 - a generator costs more than the question, and this runs per line
            if family.waiting:
                return True
        return False

    def families(self, text: str, waiting: bool) -> Sequence[Family]:
        """Those that want the line, in their order; `waiting`: whether any may be inside a record."""
        found = self.pattern.findall(text)
        if not waiting and len(found) == 1:
            return self._of[found[0]]
        wanted = {family for needle in found for family in self._of[needle]}
        if waiting:
            wanted.update(family for family in self._waiters if family.waiting)
        return [family for family in self._families if family in wanted] if wanted else ()

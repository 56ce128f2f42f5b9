"""Spans of whole seconds: how much of them lies in a stretch, and one of them taken out of another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

Span = tuple[int, int]


class Windows:
    """Disjoint spans [start, end), in order. Those given may overlap, and be empty."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self.spans: list[Span] = []
        for start, end in sorted(span for span in spans if span[0] < span[1]):
            if self.spans and start <= self.spans[-1][1]:
                self.spans[-1] = (self.spans[-1][0], max(end, self.spans[-1][1]))
            else:
                self.spans.append((start, end))
        self._starts = [start for start, _ in self.spans]
        self._before = [0, *accumulate(end - start for start, end in self.spans)]

    @property
    def seconds(self) -> int:
        return self._before[-1]

    def within(self, start: int, end: int) -> int:
        """Seconds of them in [start, end)."""
        return self._until(end) - self._until(start) if start < end else 0

    def holds(self, second: int) -> bool:
        number = bisect_right(self._starts, second) - 1
        return number >= 0 and second < self.spans[number][1]

    def nth(self, offset: int) -> int:
        """The second that `offset` of theirs come before."""
        number = bisect_right(self._before, offset) - 1
        return self._starts[number] + offset - self._before[number]

    def minus(self, other: Windows) -> Windows:
        left: list[Span] = []
        for start, end in self.spans:
            at = start
            for gap_start, gap_end in other.spans:
                if gap_end <= at or gap_start >= end:
                    continue
                left.append((at, gap_start))
                at = max(at, gap_end)
            left.append((at, end))
        return Windows(left)

    def _until(self, second: int) -> int:
        number = bisect_right(self._starts, second) - 1
        if number < 0:
            return 0
        return self._before[number] + min(second, self.spans[number][1]) - self._starts[number]

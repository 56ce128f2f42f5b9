"""When each slow query of npu-smi is asked, how long its answer holds, and what the tool has refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import msgspec

from accelwatch.clock import Clock
from accelwatch.sources.kept_answer import KeptAnswer, Read

# Polls between two readings (design.md, Configuration).
SIX, SIXTY = 6, 60
# A slow value outlives its period by this much before it counts as not known any more.
LIFETIME_PERIODS = 2.5
# How much more often than others these come where the tool is too slow for all: error codes are what ends a run.
_URGENCY = {"health": 4, "current-fault-event": 4, "ecc": 2}


class Query(msgspec.Struct, frozen=True):
    """One slow query; `chip` only where the query needs it."""

    type: str
    npu: int | None = None
    chip: int | None = None
    period: int = SIX  # polls

    @property
    def arguments(self) -> list[str]:
        """What stands behind `npu-smi`."""
        if self.npu is None:
            return ["info", self.type]
        return ["info", "-t", self.type, "-i", str(self.npu), *(() if self.chip is None else ("-c", str(self.chip)))]


class Schedule:
    """The state of all queries; one `begin` per poll."""

    def __init__(self, clock: Clock, interval: float, timeout: float) -> None:
        self._clock = clock
        self._interval = interval
        self._timeout = timeout
        self.polls = 0
        self._answers: dict[Query, tuple[KeptAnswer, float]] = {}  # and until when it holds
        self._asked: dict[Query, int] = {}  # the poll in which it was last asked
        self._refused: dict[Query, int] = {}
        self._answered: set[Query] = set()  # ever

    def begin(self) -> None:
        """A new poll."""
        self.polls += 1

    def asked(self, query: Query, earlier: int = 0) -> None:
        """It was asked in this poll, or is treated as if it had been so many polls earlier."""
        self._asked[query] = self.polls - earlier

    def was_asked(self, query: Query) -> bool:
        """In this poll."""
        return self._asked.get(query) == self.polls

    def keep(self, query: Query, answer: KeptAnswer) -> None:
        """A good answer."""
        self._refused.pop(query, None)
        self._answered.add(query)
        self._answers[query] = (answer, answer.at + LIFETIME_PERIODS * query.period * self._interval + self._timeout)

    def refuse(self, query: Query) -> None:
        """The tool, or the device, says that it has no such query."""
        self._refused[query] = self.polls

    def forget(self, query: Query) -> None:
        """Its answer does not hold any more."""
        self._answers.pop(query, None)

    def forget_refusals(self) -> None:
        """Another version of the tool, or another chip, may know what was refused."""
        self._refused.clear()

    def fresh(self, query: Query) -> KeptAnswer | None:
        """Its last answer, while that holds."""
        kept = self._answers.get(query)
        return None if kept is None or self._clock.monotonic() > kept[1] else kept[0]

    def read(self, query: Query, parse: Callable[[str], Read]) -> Read | None:
        """What `parse` makes of its last answer, while that holds; the same object each time, which nobody changes."""
        answer = self.fresh(query)
        return None if answer is None else answer.read(parse)

    def due(self, candidates: Sequence[Query], all_of_them: bool) -> Iterator[Query]:
        """Those whose period is over, in the order of need; answers of queries that are none of them are dropped."""
        for query in self._answers.keys() - set(candidates):
            del self._answers[query]
        candidates = [query for query in candidates if not self.was_asked(query) and not self._resting(query)]
        if all_of_them:
            yield from candidates
            return
        due = [query for query in candidates if self._waits(query) >= 1]
        # Where time is short the one that waits longest by its own period comes first, so that none starves.
        yield from sorted(due, key=lambda query: -self._waits(query) * _URGENCY.get(query.type, 1))

    def _waits(self, query: Query) -> float:
        """How many of its periods ago it was asked."""
        asked = self._asked.get(query)
        return math.inf if asked is None else (self.polls - asked) / query.period

    def _resting(self, query: Query) -> bool:
        """Refused for good, unless it has answered before: then the refusal may be a symptom and is tried again."""
        since = self._refused.get(query)
        return since is not None and (query not in self._answered or self.polls - since < SIXTY)

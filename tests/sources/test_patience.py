"""How long a tool is waited for, by a fake clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from accelwatch.sources.base import SourceError, SourceTimeout
from accelwatch.sources.commands import Output
from accelwatch.sources.patience import SECOND_SHARE, Patience, give_up_if_blocked
from support import FakeClock

DEADLINE, REAP = 10.0, 1.0
ARGV = ("tool",)


class Tool:
    """Answers, fails or blocks until its deadline, as it is told."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.does = "answers"
        self.deadlines: list[float] = []

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        self.deadlines.append(timeout)
        if self.does == "blocks":
            self.clock.now += timeout + REAP
            raise SourceTimeout("no end")
        if self.does == "fails":
            raise SourceError("status 1")
        return Output(0, "", "")


@pytest.fixture
def tool() -> Tool:
    return Tool(FakeClock())


def blocked(patience: Patience) -> tuple[float | None, bool]:
    with pytest.raises(SourceTimeout) as caught:
        patience.run(ARGV, DEADLINE)
    return caught.value.waited, caught.value.repeated


def test_two_calls_in_a_row_that_block_are_told_within_two_deadlines(tool: Tool) -> None:
    patience = Patience(tool, tool.clock)
    tool.does = "blocks"
    assert blocked(patience) == (DEADLINE + REAP, False), "one may be chance"
    assert patience.blocked
    assert blocked(patience) == (pytest.approx((1 + SECOND_SHARE) * DEADLINE + 2 * REAP), True)
    assert blocked(patience) == (pytest.approx((2 + SECOND_SHARE) * DEADLINE + 3 * REAP), True)
    assert tool.deadlines == [DEADLINE, SECOND_SHARE * DEADLINE, DEADLINE], "a slow tool is given its whole time again"


@pytest.mark.parametrize("ending", ["answers", "fails"])
def test_a_call_that_ends_in_between_begins_anew(tool: Tool, ending: str) -> None:
    patience = Patience(tool, tool.clock)
    for _ in range(3):
        tool.does = "blocks"
        assert not blocked(patience)[1]
        tool.does = ending
        if ending == "fails":
            with pytest.raises(SourceError, match="status 1"):
                patience.run(ARGV, DEADLINE)
        else:
            patience.run(ARGV, DEADLINE)
        assert not patience.blocked


def test_only_the_whole_tool_ends_a_poll() -> None:
    give_up_if_blocked(SourceError("status 1"))
    second = SourceTimeout("one of them")
    give_up_if_blocked(second)
    second.repeated = True
    with pytest.raises(SourceTimeout):
        give_up_if_blocked(second)

"""`make soak` in short: what the agent holds after some hundred polls and some tens of reloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.boards import H100
from soak import agent_polls, core_polls
from soak.measured import Curves

RELOADS, POLLS = 40, 240


def test_reloads_leave_no_descriptor_thread_or_child(tmp_path: Path) -> None:
    """Sources end and begin anew with each, a worker of NVML and an Alertmanager's thread now and then."""
    (curves,) = agent_polls.reloads(tmp_path, "nvidia", RELOADS)
    print(curves.table())
    assert [flaw for flaw in curves.flaws() if "PSS" not in flaw] == []


def test_polls_leave_no_object_and_no_state() -> None:
    """In the real core and page under a fake clock; what the journal's log is allowed to hold is another test's."""
    curves = core_polls.soak(H100, POLLS)
    print(curves.table())
    assert [flaw for flaw in curves.flaws() if "bytes" not in flaw] == []
    early, late = curves.grown("state bytes")
    assert late < 1.2 * early


def test_a_curve_that_grows_is_told() -> None:
    curves = Curves("x", "polls")
    for number in range(100):
        curves.add(number, {"descriptors": 10 + number // 10, "threads": 7 + number % 2})
    (flaw,) = curves.flaws()
    assert "descriptors grew" in flaw


pytestmark = pytest.mark.e2e

"""What the journal keeps of one incident's remediation."""

from __future__ import annotations

import enum

import msgspec


class Outcome(enum.StrEnum):
    """How it ended, or why no command was run."""

    STARTED = "started"  # in the journal before the command is: after a kill its end is not known
    SUCCEEDED = "succeeded"  # exit status 0
    FAILED = "failed"  # another exit status, or it could not be started
    TIMED_OUT = "timed_out"
    UNKNOWN = "unknown"  # the agent ended meanwhile: it may have run or not, and is not run again
    UNJOURNALLED = "unjournalled"  # not run: the journal did not take it, and a restart would have run it again
    DRY_RUN = "dry_run"
    LIMITED = "limited"  # another one was run on this node just before
    BREAKER_OPEN = "breaker_open"
    RESET = "reset"  # no incident: an operator has closed the breaker


# Of those that an alert speaks of: what was meant to be done may not have been.
BAD = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.UNKNOWN, Outcome.UNJOURNALLED)
# What counts as a command that was started (in a dry run: that would have been).
STARTS = frozenset((Outcome.STARTED, Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.UNKNOWN))
# What an incident's counter can end in.
FINAL = tuple(outcome for outcome in Outcome if outcome not in (Outcome.STARTED, Outcome.RESET))


class Remediation(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. `at` and `opened_at` are steady seconds, `*_wall` seconds since the epoch."""

    id: int
    outcome: Outcome
    at: float
    wall: float
    dry_run: bool = False  # decided while rehearsing: counts for nothing but the rehearsal
    incident: str = ""
    fault: int | None = None  # the episode's id
    class_: str = ""
    vendor: str = ""
    device: str | None = None
    code: str | None = None
    run_id: str | None = None
    message: str = ""
    command: tuple[str, ...] = ()
    opened_at: float | None = None  # when the breaker opened that stopped it
    ended_wall: float | None = None
    exit_status: int | None = None  # negative: ended by that signal
    error: str | None = None  # why it failed, in our words
    stderr: str = ""  # the end of what it said
    by: str = ""  # of a reset: who
    reason: str = ""  # of a reset: why

"""A vendor's driver or tool that does not answer the agent any more."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading, Silent, Tick
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.subject import VENDOR_OF_SOURCE, of_host
from accelwatch.faults.sign import Finding

CLASS = "driver_software"
CONDITION = "does not answer"

# A call that runs into its deadline may have met a busy driver: it is asked again at once (`scheduler`). Without an
# answer two deadlines after the first call it is told, 10 s of NVML and 20 s of the tools by default. Ours: published
# are blocks of 6 to 45 s for each call that never end (Xid 119, reference/nvidia.md section 3). The margin is for the
# time between two ticks; a deadline of a second or two leaves half of it for the second call.
DEADLINES, MARGIN_SECONDS, LEAST_DEADLINES = 2.0, 1.5, 1.5
# A tool that ends with an error may be in the middle of an upgrade or of a restart of its service. Ours.
FAILED_SECONDS = 300.0
# The driver was exchanged under its library: no waiting mends that (NVML 18, reference/nvidia.md section 2).
MISMATCH_WORDS = "library and driver differ in version"
MISMATCH_SECONDS = 30.0


class Silence(msgspec.Struct, frozen=True):
    """Of one source. `since`: steady seconds of its first failure; `None`: it answers."""

    answered: bool = False  # at any time since the agent first ran here
    since: float | None = None
    blocked_since: float | None = None  # when the first call of this silence began that ran into its deadline
    deadline: float = 0.0  # of that call
    error: str = ""


class State(msgspec.Struct, frozen=True):
    """By source."""

    sources: dict[str, Silence] = {}
    holds: dict[str, Hold] = {}


class DriverSilent:
    """Host-level: which device it is, if it is one, is told by `device_lost`."""

    name = "driver_silent"
    state_type = State

    def start(self) -> State:
        """No source has been heard of."""
        return State()

    def step(
        self,
        state: State,
        reading: Reading,
        now: float,
        context: Context,  # noqa: ARG002 - the protocol's
    ) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if isinstance(reading, Tick):
            return self._overdue(state, now)
        if not isinstance(reading, Answered | Silent) or reading.source not in VENDOR_OF_SOURCE:
            return state, ()
        source = reading.source
        subject = of_host(VENDOR_OF_SOURCE[source])
        condition = f"{source} {CONDITION}"
        conditions = Conditions(state.holds, now)
        sources = Draft(state.sources)
        before = sources.get(source) or Silence()
        if isinstance(reading, Answered):
            sources.put(source, Silence(answered=True))
            conditions.good(subject, CLASS, condition, f"{source} answers again")
        elif reading.released:
            # Whatever it was silent of before, an operator has it in hand; silence begins anew afterwards.
            sources.put(source, Silence(answered=before.answered))
        else:
            silence = _longer(before, reading, now)
            sources.put(source, silence)
            if _lasts_too_long(silence, now) or conditions.told(subject, CLASS, condition):
                _tell(conditions, source, silence, now)
        if not (sources.changed or conditions.changed):
            return state, conditions.findings
        return State(sources.rows, conditions.holds), conditions.findings

    def _overdue(self, state: State, now: float) -> tuple[State, Sequence[Finding]]:
        """While the second call has not come back either, time alone tells."""
        if all(silence.blocked_since is None for silence in state.sources.values()):
            return state, ()
        conditions = Conditions(state.holds, now)
        for source, silence in state.sources.items():
            told = conditions.told(of_host(VENDOR_OF_SOURCE[source]), CLASS, f"{source} {CONDITION}")
            if silence.blocked_since is not None and not told and _lasts_too_long(silence, now):
                _tell(conditions, source, silence, now)
        if not conditions.changed:
            return state, ()
        return State(state.sources, conditions.holds), conditions.findings


def _tell(conditions: Conditions, source: str, silence: Silence, now: float) -> None:
    since = now if silence.since is None else silence.since
    message = f"{source} has not answered for {now - since:.0f} s: {silence.error}"
    conditions.bad(of_host(VENDOR_OF_SOURCE[source]), CLASS, f"{source} {CONDITION}", message, since=since)


def _longer(before: Silence, reading: Silent, now: float) -> Silence:
    blocked, deadline = before.blocked_since, before.deadline
    if blocked is None and reading.timed_out:
        waited = reading.deadline if reading.waited is None else reading.waited
        blocked, deadline = now - waited, reading.deadline
    starts = [one for one in (before.since, reading.since or now, blocked) if one is not None]
    return Silence(before.answered, min(*starts, now), blocked, deadline, reading.error)


def _lasts_too_long(silence: Silence, now: float) -> bool:
    """A source that never worked here and only says so does not."""
    if silence.since is None:
        return False
    if silence.blocked_since is not None:
        deadline = silence.deadline
        patience = max(LEAST_DEADLINES * deadline, DEADLINES * deadline - MARGIN_SECONDS)
        return now - silence.blocked_since >= patience
    if MISMATCH_WORDS in silence.error:
        return now - silence.since >= MISMATCH_SECONDS
    return silence.answered and now - silence.since >= FAILED_SECONDS

"""A vendor's driver or tool that does not answer the agent any more."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading, Silent
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.subject import VENDOR_OF_SOURCE, of_host
from accelwatch.faults.sign import Finding

CLASS = "driver_software"
CONDITION = "does not answer"

# One call that runs into its deadline may have met a busy driver; the next one that does, too, or a silence as long as
# two deadlines (5 s of NVML, 10 s of the tools, by default) has not. Ours: published are blocks of 6 to 45 s for each
# call that never end (Xid 119, reference/nvidia.md section 3).
TIMED_OUT_POLLS = 2
TIMED_OUT_SECONDS = {"nvml": 10.0, "npu_smi": 20.0, "hccn_tool": 20.0}
# A tool that ends with an error may be in the middle of an upgrade or of a restart of its service. Ours.
FAILED_SECONDS = 300.0
# The driver was exchanged under its library: no waiting mends that (NVML 18, reference/nvidia.md section 2).
MISMATCH_WORDS = "library and driver differ in version"
MISMATCH_SECONDS = 30.0


class Silence(msgspec.Struct, frozen=True):
    """Of one source. `since`: steady seconds of its first failure; `None`: it answers."""

    answered: bool = False  # at any time since the agent first ran here
    since: float | None = None
    timed_out: bool = False  # a call of this silence ran into its deadline
    timeouts: int = 0  # how many did


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
            limit = _limit(silence, reading)
            lasted = now - (silence.since if silence.since is not None else now)
            if (limit is not None and lasted >= limit) or conditions.told(subject, CLASS, condition):
                message = f"{source} has not answered for {lasted:.0f} s: {reading.error}"
                conditions.bad(subject, CLASS, condition, message, since=silence.since)
        if not (sources.changed or conditions.changed):
            return state, conditions.findings
        return State(sources.rows, conditions.holds), conditions.findings


def _longer(before: Silence, reading: Silent, now: float) -> Silence:
    since = before.since if before.since is not None else min(reading.since or now, now)
    return Silence(
        before.answered, since, before.timed_out or reading.timed_out, before.timeouts + int(reading.timed_out)
    )


def _limit(silence: Silence, reading: Silent) -> float | None:
    """How long this kind of silence may last; `None`: a source that never worked here and only says so."""
    if silence.timeouts >= TIMED_OUT_POLLS:
        return 0.0
    if silence.timed_out:
        return TIMED_OUT_SECONDS[reading.source]
    if MISMATCH_WORDS in reading.error:
        return MISMATCH_SECONDS
    return FAILED_SECONDS if silence.answered else None

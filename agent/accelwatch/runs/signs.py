"""What runs say of faults: symptoms of a node's share of a run, as signs for the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from accelwatch.faults.sign import Gone, Sign
from accelwatch.readings.identity import DeviceKey
from accelwatch.runs import culprit
from accelwatch.runs.model import RunRecord, RunRef
from accelwatch.runs.slow import Straggler
from accelwatch.runs.stall import Verdict

HANG_CLASS, SLOW_CLASS = "hang_no_error", "fail_slow"


def name_of(ref: RunRef) -> str:
    """A run's attempt in one word, for conditions and states."""
    return f"{ref.run_id} {ref.attempt}"


def hang(record: RunRecord, verdict: Verdict, causes: Mapping[str | None, float], now: float) -> Sign:
    """The run makes no progress here. `causes`: see `culprit.locate`."""
    since = verdict.since if verdict.since is not None else now
    odd = culprit.locate(verdict.activities, verdict.last_progress, since, causes=causes)
    states = sorted(set(verdict.activities.values()))
    waits = ", ".join(f"{sum(a is s for a in verdict.activities.values())} {s.value}" for s in states)
    first = f"; first to stop: {odd.device.replace('/', ' ')} ({odd.rule.value})" if odd.device is not None else ""
    return Sign(
        class_=HANG_CLASS,
        condition=f"run {name_of(record.ref)}",
        at=now,
        vendor=record.devices[0].vendor,
        place=f"run {name_of(record.ref)}",
        message=f"run {record.run_id} makes no progress on this node: {waits} of its {len(record.devices)} devices"
        f"{first}",
        lasting=True,
        run_id=record.run_id,
        attempt=record.attempt,
        onset=since,
    )


def slow(record: RunRecord, straggler: Straggler, key: DeviceKey, now: float) -> Sign:
    """One device holds the run up without a fault of its own."""
    return Sign(
        class_=SLOW_CLASS,
        condition=f"run {name_of(record.ref)}",
        at=now,
        vendor=key.vendor.value,
        device=key,
        message=f"it holds run {record.run_id} up: {straggler.message}",
        lasting=True,
        run_id=record.run_id,
        attempt=record.attempt,
        onset=straggler.since,
    )


def over(sign: Sign, now: float, because: str) -> Gone:
    """A symptom that was told is over."""
    return Gone(
        class_=sign.class_,
        condition=sign.condition,
        vendor=sign.vendor,
        device=sign.device,
        place=sign.place,
        at=now,
        because=because,
    )

"""Network ports that go down, and those that drop and return between two polls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from accelwatch.detectors import port_memory
from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.port_memory import Change, Port
from accelwatch.detectors.subject import Subject, of_device, of_link
from accelwatch.faults.sign import Finding, Sign
from accelwatch.readings.link import Link, LinkKind
from accelwatch.readings.severity import Severity

DOWN, FLAP = "net_link_down", "net_link_flap"
KINDS = frozenset((LinkKind.ROCE, LinkKind.IB))

# A transfer over RoCE repeats itself for about 30 s before it gives up (4.096 us x 2^20 x 7, reference/ascend.md
# section 6), and Ascend separates a device whose port is down for longer than 20 s (section 5).
RUN_ENDS_AFTER_SECONDS = 20.0


class State(msgspec.Struct, frozen=True):
    """By port: `<device or host>|<link>`."""

    ports: dict[str, Port] = {}
    holds: dict[str, Hold] = {}


class NetLinks:
    """RoCE ports of devices (hccn_tool), RDMA ports of the host. A port that was never up is not a fault."""

    name = "net_links"
    state_type = State

    def start(self) -> State:
        """No port has been seen."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered) or (reading.repeats("links") and not state.holds):
            return state, ()
        ports, conditions = Draft(state.ports), Conditions(state.holds, now)
        findings: list[Finding] = []
        for subject, link in links_of(reading, KINDS):
            name = f"{subject.name}|{link.link}"
            change = port_memory.look(ports.get(name), link, now, context)
            ports.put(name, change.port)
            if change.unseen:
                findings.append(_flap(subject, link, change, now))
            if change.up is False and change.port.seen_up:
                _down(subject, link, change, now, context, conditions)
            elif change.up:
                conditions.good(subject, DOWN, _condition(link), "the port is up")
        findings += conditions.findings
        if not (ports.changed or conditions.changed):
            return state, findings
        return State(ports.rows, conditions.holds), findings


def links_of(reading: Answered, kinds: frozenset[LinkKind]) -> Iterator[tuple[Subject, Link]]:
    """The links of these kinds in a reading, with whose they are: those of its devices, and loose ones."""
    for device in reading.snapshot.devices:
        if device.links:
            subject = of_device(device.key)
            for link in device.links:
                if link.kind in kinds:
                    yield subject, link
    for link in reading.snapshot.links:
        if link.kind in kinds:
            yield of_link(link.key), link


def _down(subject: Subject, link: Link, change: Change, now: float, context: Context, conditions: Conditions) -> None:
    condition = _condition(link)
    begun = conditions.since(subject, DOWN, condition)
    if begun is None:
        begun = now if change.since is None else min(now, change.since)
    down_for = now - begun
    used = bool(context.runs) if link.key is None else link.key in context.runs
    ends_run = used and down_for >= RUN_ENDS_AFTER_SECONDS
    times = len(change.port.dropped_at)
    lasted = f" for {down_for:.0f} s" if down_for >= 1 else ""
    often = f", for the {times}. time within a day" if change.often else ""
    conditions.bad(
        subject,
        DOWN,
        condition,
        f"port {link.link} is down{lasted}{' while a run uses it' if ends_run else ''}{often}",
        severity=Severity.RUN_ENDING if ends_run else Severity.DEGRADING,
        since=begun,
        link=link.link,
        escalate=change.often,
    )


def _flap(subject: Subject, link: Link, change: Change, now: float) -> Sign:
    times = len(change.port.dropped_at)
    often = f", {times} drops within a day" if change.often else ""
    at = change.port.dropped_at[-1] if change.port.dropped_at else now
    return Sign(
        class_=FLAP,
        condition=f"link {link.link} flap",
        at=min(at, now),
        vendor=subject.vendor,
        device=subject.device,
        severity=Severity.DEGRADING,
        message=f"port {link.link} dropped {'once' if change.unseen == 1 else f'{change.unseen} times'} and came back "
        f"between two readings{often}",
        events=change.unseen,
        link=link.link,
        escalate=change.often,
    )


def _condition(link: Link) -> str:
    return f"link {link.link} down"

"""Links between the devices of a node: NVLink, HCCS, UnifiedBus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from accelwatch.detectors import port_memory
from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.net_links import links_of
from accelwatch.detectors.port_memory import Change, Port
from accelwatch.detectors.subject import Subject, of_host, of_link
from accelwatch.faults.sign import Finding, Sign
from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.readings.severity import Severity

CLASS = "intra_node_link"
KINDS = frozenset((LinkKind.NVLINK, LinkKind.HCCS, LinkKind.UB))
HEALTH = "hccs health"

# Links come up one after the other when a driver loads or a device was reset. Ours.
EXPECTED_HELD_SECONDS = 60.0


class State(msgspec.Struct, frozen=True):
    """By link: `<device>|<link>`. `in_use`: devices whose HCCS worked once."""

    ports: dict[str, Port] = {}
    in_use: dict[str, bool] = {}
    holds: dict[str, Hold] = {}


class Links:
    """Judged against what was up before: boards that are wired in part have links that never were."""

    name = "links"
    state_type = State

    def start(self) -> State:
        """No link has been seen."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered) or (reading.repeats("links") and not state.holds):
            return state, ()
        ports, in_use = Draft(state.ports), Draft(state.in_use)
        conditions = Conditions(state.holds, now)
        findings: list[Finding] = []
        hccs: dict[str, list[Link]] = {}
        up = 0
        for subject, link in links_of(reading, KINDS):
            name = f"{subject.name}|{link.link}"
            change = port_memory.look(ports.get(name), link, now, context)
            up += link.state is LinkState.UP
            if change is port_memory.STAYS_UP and link.kind is LinkKind.NVLINK and not state.holds:
                continue  # as nearly always: nothing to keep, to tell, or that could end
            ports.put(name, change.port)
            if change.unseen:
                findings.append(_flap(subject, link, change, now))
            if change.up is False and change.port.seen_up:
                _down(subject, link, change, conditions)
            elif change.up:
                conditions.good(subject, CLASS, f"link {link.link} down", "the link is up")
            _lanes(subject, link, conditions)
            if link.kind is LinkKind.HCCS and link.healthy is not None:
                hccs.setdefault(subject.name, []).append(link)
        for name, links in hccs.items():
            _health(of_link(links[0].key), name, links, in_use, conditions)
        _expected(reading, up, conditions, context)
        findings += conditions.findings
        if not (ports.changed or in_use.changed or conditions.changed):
            return state, findings
        return State(ports.rows, in_use.rows, conditions.holds), findings


def _down(subject: Subject, link: Link, change: Change, conditions: Conditions) -> None:
    times = len(change.port.dropped_at)
    often = f", for the {times}. time within a day" if change.often else ""
    conditions.bad(
        subject,
        CLASS,
        f"link {link.link} down",
        f"link {link.link} was up and is down{often}",
        since=change.since,
        link=link.link,
        escalate=change.often,
    )


def _flap(subject: Subject, link: Link, change: Change, now: float) -> Sign:
    """Only UnifiedBus ports count their drops; a link that is up again has not ended what runs over it."""
    return Sign(
        class_=CLASS,
        condition=f"link {link.link} flap",
        at=min(now, change.port.dropped_at[-1]) if change.port.dropped_at else now,
        vendor=subject.vendor,
        device=subject.device,
        severity=Severity.DEGRADING,
        message=f"link {link.link} dropped {'once' if change.unseen == 1 else f'{change.unseen} times'} and came back "
        "between two readings",
        events=change.unseen,
        link=link.link,
        escalate=change.often,
    )


def _lanes(subject: Subject, link: Link, conditions: Conditions) -> None:
    """A link that lost lanes runs on, slower; one without any lane is down, or was never wired."""
    condition = f"link {link.link} lanes"
    if link.lanes_lost is None or link.state is not LinkState.UP:
        conditions.unknown(subject, CLASS, condition)
    elif link.lanes_lost:
        message = f"link {link.link} has lost {link.lanes_lost} lane{'s' if link.lanes_lost > 1 else ''}"
        conditions.bad(subject, CLASS, condition, message, severity=Severity.DEGRADING, link=link.link)
    else:
        conditions.good(subject, CLASS, condition, "every lane is up")


def _health(subject: Subject, name: str, links: Iterable[Link], in_use: Draft[bool], conditions: Conditions) -> None:
    """The device's word on its HCCS: believed where any lane is up, or it once was OK, so not of unwired cards."""
    links = tuple(links)
    if all(link.healthy for link in links):
        in_use.put(name, True)
        conditions.good(subject, CLASS, HEALTH, "the device says that its HCCS is healthy")
        return
    if in_use.get(name) or any(link.state is LinkState.UP for link in links):
        word = next((link.verdict for link in links if link.verdict), "unhealthy")
        conditions.bad(subject, CLASS, HEALTH, f"the device says that its HCCS is {word}", severity=Severity.DEGRADING)


def _expected(reading: Answered, up: int, conditions: Conditions, context: Context) -> None:
    """The configured number of links between devices, over the whole node, told by the source that lists them."""
    expected = context.expected_links
    if expected is None or reading.source not in ("nvml", "npu_smi") or not reading.snapshot.complete:
        return
    subject, condition = of_host(), "fewer links than expected"
    gpus = [device for device in reading.snapshot.devices if device.identity.parent is None]
    if not gpus or any(device.links is None for device in gpus):
        conditions.unknown(subject, CLASS, condition)  # what a device does not tell is not down
    elif up < expected:
        message = f"{up} of {expected} expected links between devices are up"
        conditions.bad(subject, CLASS, condition, message, severity=Severity.DEGRADING, held=EXPECTED_HELD_SECONDS)
    else:
        conditions.good(subject, CLASS, condition, "as many links as expected are up")

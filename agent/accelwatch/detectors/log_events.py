"""What logs say: Xids from the kernel log and from NVML's events, lines of drivers, kernel and libraries."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Context, Known, Logged, Reading
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.log_bursts import Burst, bursts
from accelwatch.detectors.log_echoes import Heard, first_time, forgotten
from accelwatch.faults.sign import Finding, Gone, Sign
from accelwatch.logs.private import without_directories
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.log_event import Entry, LogEvent
from accelwatch.taxonomy.lookup import Taxonomy
from accelwatch.taxonomy.model import Kind, Meaning

# A line is at most as long as the kernel lets it be; a fault's message need not be.
MESSAGE_CHARACTERS = 400
# The reader of the log names a hung task at once, and again when its stack says in what it hangs: the stack is written
# in the same moment, a slow console being the brake. So long the first word is held back; a fault in the log is to be
# known within a second.
STACK_SECONDS = 0.4
_HUNG = ("hung_task", "hung_task_storage")  # what a stack may refine
_LINK_DOWN, _LINK_UP = "mlx5_link_down", "mlx5_link_up"


class State(msgspec.Struct, frozen=True):
    """`heard`: Xids that another source may tell as well. `held`: hung tasks by process, until their stack is told."""

    heard: dict[str, Heard] = {}
    held: dict[str, Sign] = {}


class LogEvents:
    """Each entry by what the taxonomy says of it. A burst of one line is one sign with its number of `events`.

    A lost device, or a port that is down, is an event here; that it stays so is for those who read its state.
    """

    name = "log_events"
    state_type = State

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy

    def start(self) -> State:
        """Nothing has been heard."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Logged) and not state.held:
            return state, ()
        heard, held = Draft(state.heard), Draft(state.held)
        findings: list[Finding] = []
        if isinstance(reading, Logged):
            forgotten(heard, now)
            for burst in bursts(reading.entries):
                findings += self._told(burst, reading.source, context, heard, held)
        for name, sign in list(held.rows.items()):
            if now - sign.at >= STACK_SECONDS:
                held.drop(name)
                findings.append(sign)
        after = State(heard.rows, held.rows)
        return (after if after != state else state), findings

    def _told(
        self, burst: Burst, source: str, context: Context, heard: Draft[Heard], held: Draft[Sign]
    ) -> Sequence[Finding]:
        event = burst.first.event
        meaning = self._taxonomy.meaning_of(event)
        if event.kind == _LINK_UP or event.cleared:
            return (_gone(burst.first, meaning, context),)
        if (meaning.code is not None and meaning.code.ignore) or _never_cabled(event, context):
            return ()
        news = first_time(burst, source, heard)
        if not news and source == "nvml":
            return ()  # the line has said more
        sign = self._sign(burst, meaning, news, context)
        if event.refines is not None:
            held.drop(_task(event))
        if event.pid is None or event.kind not in _HUNG:
            return (sign,)
        before = held.get(_task(event))  # hung again, and the stack of the first time told nothing
        held.put(_task(event), sign)
        return () if before is None else (before,)

    def _sign(self, burst: Burst, meaning: Meaning, news: int, context: Context) -> Sign:
        first = burst.first
        event = burst.most_telling
        known = _device(event, context)
        severities = [self._taxonomy.meaning_of(entry.event).severity for entry in burst.entries]
        waited = event.waited_seconds if meaning.class_.kind is Kind.SYMPTOM else None
        return Sign(
            class_=meaning.class_.name,
            condition=_condition(event, context),
            at=first.at,
            vendor=event.vendor if known is None else known.key.vendor.value,
            device=_key(known),
            place=None if known is not None else _place(event),
            code=event.code,
            family=event.kind,
            severity=max(severities, key=lambda severity: severity.weight),
            message=_message(event, meaning),
            events=news,
            link=event.link,
            pid=event.pid,
            process=None if event.process is None else without_directories(event.process),
            rank=event.rank,
            onset=None if waited is None else first.at - waited,
            wall=first.wall,
            boot_id=first.boot_id,
            kernel_seconds=first.kernel_seconds,
            historical=first.historical,
        )


def _gone(entry: Entry, meaning: Meaning, context: Context) -> Gone:
    event = entry.event
    known = _device(event, context)
    return Gone(
        class_="net_link_down" if event.kind == _LINK_UP else meaning.class_.name,
        condition=_condition(event, context),
        vendor=event.vendor if known is None else known.key.vendor.value,
        at=entry.at,
        device=_key(known),
        place=None if known is not None else _place(event),
        because=f"the log says so: {without_directories(event.text)[:MESSAGE_CHARACTERS]}",
    )


def _condition(event: LogEvent, context: Context) -> str:
    if event.kind in (_LINK_DOWN, _LINK_UP):
        if _known_port(event, context):
            return f"link {event.link} down"
        return f"mlx5 {event.pci or ''} {event.link or ''} down"
    return event.kind if event.code is None else f"{event.kind} {event.code}"


def _device(event: LogEvent, context: Context) -> Known | None:
    """The device that the line names, by its address, number or identity."""
    if event.pci is not None:
        known = context.by_pci(event.pci)
        if known is not None:
            return known
    if event.number is not None and event.vendor == "ascend":
        return context.by_number(event.number)
    if event.uuid is None and event.serial is None:
        return None
    for known in context.devices.values():
        if known.parent is None and (
            (event.uuid is not None and known.uuid == event.uuid)
            or (event.serial is not None and known.serial == event.serial)
        ):
            return known
    return None


def _key(known: Known | None) -> DeviceKey | None:
    return None if known is None else known.key


def _place(event: LogEvent) -> str | None:
    """Of a device that the inventory does not know. A network port is the host's, as it is for those who poll it."""
    if event.kind in (_LINK_DOWN, _LINK_UP):
        return None
    if event.pci is not None:
        return event.pci
    return None if event.number is None else str(event.number)


def _known_port(event: LogEvent, context: Context) -> bool:
    return event.link is not None and (None, event.link) in context.links_seen_up


def _never_cabled(event: LogEvent, context: Context) -> bool:
    """A line that names an RDMA port (mlx5_0/1) which is polled and was never up."""
    if event.kind != _LINK_DOWN or event.link is None or not event.link.startswith("mlx5_"):
        return False
    return not _known_port(event, context)


def _message(event: LogEvent, meaning: Meaning) -> str:
    what = meaning.code.text if meaning.code is not None else "not known to this agent"
    code = f"{event.kind.capitalize() if event.kind == 'xid' else event.kind} {event.code}" if event.code else ""
    if not event.text:
        return f"{code}: {what}" if code else what
    return f"{what}: {without_directories(event.text)}"[:MESSAGE_CHARACTERS]


def _task(event: LogEvent) -> str:
    return f"{event.pid} {event.process or ''}"

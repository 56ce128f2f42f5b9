"""The answer to `why` on one screen of 80 by 24."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from accelwatch.commands.columns import BOLD, GREEN, RED, YELLOW, Paint, clock, painter, printable
from accelwatch.commands.fleet_wide import span
from accelwatch.diagnosis.answer import Answer, Culprit, Moment
from accelwatch.diagnosis.facts import FaultSeen, Spot
from accelwatch.diagnosis.hostlist import compressed

# The prompt takes the last of 24 lines.
WIDTH, HEIGHT = 80, 23
_MARGIN = 10
# Where there are more of them; --json has all.
_SUSPECTS, _MISSING, _ACTION_LINES, _EXCLUDE_LINES = 3, 2, 4, 2
_KUBERNETES = ("kubernetes", "volcano", "mindx")
_STATES = {
    "running": ("goes on", GREEN),
    "stalled": ("STANDS STILL", YELLOW),
    "hangs": ("HANGS", RED),
    "ending": ("ENDS: some nodes have ended, others go on", RED),
    "ended": ("ended", RED),
    "dark": ("IS GONE: all its nodes fell silent", RED),
}


def notation(answer: Answer) -> str:
    """The nodes to leave out, as the run's scheduler takes them; empty for none."""
    if not answer.exclude:
        return ""
    if answer.launcher in _KUBERNETES:
        return "kubectl cordon " + " ".join(answer.exclude)
    nodes = compressed(answer.exclude)
    return f"--exclude={nodes}" if answer.launcher == "slurm" else nodes


def screen(answer: Answer, colour: bool) -> str:
    """At most 23 lines of at most 80 characters: what does not fit is counted."""
    paint = painter(colour)
    head = _head(answer, paint)
    culprit = _culprit(answer, paint)
    action = _entry("do", answer.action, _ACTION_LINES) if answer.action else []
    exclude = _exclude(answer)
    suspects = _suspects(answer.suspects)
    missing = _missing(answer)
    others = _others(answer)
    fixed = (head, culprit, action, exclude, suspects, missing, others)
    room = HEIGHT - sum(len(lines) for lines in fixed)
    timeline = _timeline(answer, max(1, room))
    return "\n".join((*head, *culprit, *action, *exclude, *timeline, *suspects, *missing, *others))


def _head(answer: Answer, paint: Paint) -> list[str]:
    attempt = answer.attempt
    words, code = _STATES[answer.state]
    if answer.state in ("hangs", "stalled") and answer.onset is not None:
        words += f" since {clock(answer.onset)}, {span(answer.asked - answer.onset)}"
    elif answer.state == "ended" and attempt.first_end is not None:
        words = f"{answer.outcome or 'ended'} {clock(attempt.first_end)}, {span(answer.asked - attempt.first_end)} ago"
        code = GREEN if answer.outcome == "completed" else RED
    elif answer.state == "dark" and attempt.seen is not None:
        words += f" {clock(attempt.seen)}"
    cluster = f"  cluster {attempt.cluster}" if attempt.cluster else ""
    title = printable(f"run {answer.run_id}  attempt {attempt.attempt}{cluster}")
    size = f"{answer.nodes} node{'' if answer.nodes == 1 else 's'}"
    if answer.devices is not None:
        size += f", {answer.devices} devices"
    lost = answer.lost_device_seconds
    if lost is not None:
        so_far = " so far" if answer.attempt.going else ""
        size += f"; lost{so_far}: {_hours(lost)}"
    elif answer.outcome not in ("", "completed"):
        size += "; lost: not known"
    if len(title) + len(words) + 2 <= WIDTH:
        return [f"{paint(title, BOLD)}  {paint(words, code)}", size]
    return [paint(_cut(title), BOLD), paint(_cut(words), code), size]


def _culprit(answer: Answer, paint: Paint) -> list[str]:
    culprit = answer.culprit
    if culprit is None:
        if answer.outcome == "completed":
            return []
        lines = _entry("culprit", answer.why_not, 2)
        return [line.replace("culprit", paint("culprit", BOLD), 1) for line in lines]
    node = f"{culprit.spot.node}{f' (rack {culprit.rack})' if culprit.rack else ''}"
    device = _device(culprit)
    lines = _entry("culprit", f"{node}, {device}" if device else node, 2)
    what = culprit.class_ or "the node as a whole"
    code = _code(culprit)
    since = f", since {clock(culprit.since)}" if culprit.since is not None else ""
    severity = f", {culprit.severity}" if culprit.severity else ""
    lines += _entry("", f"{what}{code}{severity}{since}", 2)
    lines += _entry("", f"by: {culprit.by}", 2)
    return [lines[0].replace("culprit", paint("culprit", BOLD), 1), *lines[1:]]


def _exclude(answer: Answer) -> list[str]:
    """Whole or not at all: half a list would be pasted."""
    if not answer.exclude:
        return []
    lines = _entry("exclude", notation(answer), _EXCLUDE_LINES + 1)
    if len(lines) > _EXCLUDE_LINES:
        return _entry("exclude", f"{len(answer.exclude)} nodes; --json has the list", 1)
    return lines


def _device(culprit: Culprit) -> str:
    spot, device = culprit.spot, culprit.device
    if not spot.device:
        return "host" if culprit.class_ else ""
    words = [f"{spot.vendor} {spot.device}", device.model]
    words.append(f"serial {device.serial}" if device.serial else f"uuid {device.uuid}" if device.uuid else "serial -")
    words.append(f"PCI {device.pci}" if device.pci else "")
    return ", ".join(word for word in words if word)


def _code(culprit: Culprit | FaultSeen) -> str:
    if not culprit.code:
        return ""
    nvidia = culprit.spot.vendor == "nvidia" and culprit.code.isdecimal()
    family = ("Xid " if int(culprit.code) < 10000 else "SXid ") if nvidia else ""
    return f" [{family}{culprit.code}]"


def _timeline(answer: Answer, room: int) -> list[str]:
    moments = answer.timeline
    if not moments:
        return []
    shown: Sequence[Moment] = moments
    more = ""
    if len(moments) > room:
        # The first ones tell who began, the last one how it ended.
        left_out = len(moments) - room + 1
        shown = (*moments[: max(0, room - 2)], moments[-1]) if room > 2 else moments[: room - 1]
        left_out = len(moments) - len(shown)
        more = f"… {left_out} more; --json has all"
    first = moments[0].at
    lines = [_moment(moment, first) for moment in shown]
    if more:
        lines.insert(max(0, len(lines) - 1) if room > 2 else len(lines), more)
    return [_cut(f"{'timeline' if number == 0 else '':<{_MARGIN}}{line}") for number, line in enumerate(lines)]


def _moment(moment: Moment, first: float) -> str:
    time = datetime.fromtimestamp(moment.at, UTC).strftime("%H:%M:%S")
    words = {"stopped": "stopped", "fault": moment.note, "ended": f"ended: {moment.note}", "dark": "last heard of"}
    tie = " (tie: order not known)" if moment.tie else ""
    return f"{time} {f'+{moment.at - first:.0f} s':>7}  {_places(moment.spots)}: {words[moment.what]}{tie}"


def _places(spots: Sequence[Spot]) -> str:
    nodes = compressed(spot.node for spot in spots)
    short = nodes if len(nodes) <= 28 else f"{len({spot.node for spot in spots})} nodes"
    if len(spots) == 1:
        spot = spots[0]
        return f"{spot.node} {spot.vendor} {spot.device}" if spot.device else spot.node
    return f"{short}, {len(spots)} devices" if spots[0].device else short


def _suspects(suspects: Sequence[FaultSeen]) -> list[str]:
    lines = []
    for fault in suspects[:_SUSPECTS]:
        spot = fault.spot
        device = f"{spot.vendor} {spot.device}" if spot.device else "host"
        over = "" if fault.active else ", over"
        lines.append(
            f"{spot.node} {device}: {fault.class_}{_code(fault)}, {fault.severity}, {clock(fault.since)}{over}"
        )
    if len(suspects) > _SUSPECTS:
        lines[-1] = f"… and {len(suspects) - _SUSPECTS + 1} more; --json has all"
    return _listed("suspects", lines)


def _missing(answer: Answer) -> list[str]:
    lines = []
    if answer.dark:
        nodes = compressed(node for node, _ in answer.dark)
        lines.append(f"dark or silent: {nodes}")
    lines += answer.missing
    if len(lines) > _MISSING:
        lines = [*lines[: _MISSING - 1], f"{lines[_MISSING - 1]}; {len(lines) - _MISSING} more in --json"]
    return _listed("missing", lines)


def _others(answer: Answer) -> list[str]:
    words = []
    for other in answer.others:
        of = f" in {other.cluster}" if other.cluster != answer.attempt.cluster else ""
        end = f"ended {clock(other.first_end)}" if other.first_end is not None else f"seen {clock(other.seen)}"
        words.append(f"attempt {other.attempt}{of} ({'goes on' if other.going else end})")
    return _entry("also", ", ".join(words), 1) if words else []


def _listed(name: str, lines: Iterable[str]) -> list[str]:
    return [_cut(f"{'' if number else name:<{_MARGIN}}{printable(line)}") for number, line in enumerate(lines)]


def _entry(name: str, text: str, limit: int) -> list[str]:
    """Text beside its name; more than `limit` lines are cut."""
    wrapped = textwrap.wrap(printable(text), WIDTH - _MARGIN, max_lines=limit, placeholder=" …", break_on_hyphens=False)
    return [f"{'' if number else name:<{_MARGIN}}{line}" for number, line in enumerate(wrapped)]


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} device-h" if seconds >= 3600 else f"{seconds:.0f} device-s"

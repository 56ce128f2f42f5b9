"""What went before: whether a fault came back after a reset or a repair, and suspects that turn out to be hardware."""

from __future__ import annotations

import re
from collections.abc import Iterable

from accelwatch.faults.episode import Episode
from accelwatch.faults.sign import Sign
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.lookup import History

# As long as the journal gives past episodes back at a start.
REMEMBERED_SECONDS = 7 * 86400.0
# An application's error that comes back on one GPU under different programs is the GPU's (reference/nvidia.md
# section 6, NVSentinel issue 271): suspected at the second run, taken for certain at the third. Programs fail on every
# GPU, five times a month on a node of eight (Xid 31 on Delta's A100, reference/reliability.md 1.2), so by chance three
# times on one, too: runs that failed like that on the node's other GPUs are set against those on this one.
REPEATING_CODES = frozenset(("13", "31"))
SUSPECTED_RUNS, CERTAIN_RUNS = 2, 3
_REPAIR = re.compile(r"\b(replac|repair|swap|rma|reseat|exchang)", re.IGNORECASE)


def stage(past: Iterable[Episode]) -> History:
    """`first`, `after_reset` or `after_repair`: what was tried since the class was first seen on this device."""
    reached: History = "first"
    for episode in sorted(past, key=lambda e: e.first_at):
        because = episode.cleared_because or ""
        if because.startswith("operator:") and _REPAIR.search(because):
            reached = "after_repair"
        elif because.startswith(("reset:", "operator:")) and reached == "first":
            reached = "after_reset"
    return reached


def runs_hit(past: Iterable[Episode], code: str) -> set[tuple[str, str | None]]:
    """The runs in which one device alone showed an application's error `code`."""
    return {
        (episode.run_id, episode.attempt)
        for episode in past
        if code in episode.codes and episode.run_id is not None and not episode.application
    }


def same_kind_elsewhere(one: Episode, episode: Episode) -> bool:
    """Whether an episode is of the same class on another device of the same vendor."""
    return (one.class_, one.vendor) == (episode.class_, episode.vendor) and one.device != episode.device


def accusation(episode: Episode, device: DeviceKey | None, code: str, runs: int, now: float) -> Sign:
    """The sign that what looked like the program's error is the device's."""
    return Sign(
        class_="compute_engine",
        condition=f"repeating {code}",
        at=now,
        vendor=episode.vendor,
        device=device,
        place=episode.place,
        code=code,
        severity=Severity.RUN_ENDING if runs >= CERTAIN_RUNS else Severity.DEGRADING,
        message=f"Xid {code} on this GPU alone in {runs} more runs than on all others within "
        f"{REMEMBERED_SECONDS / 86400:.0f} days: not the program's error any more",
        run_id=episode.run_id,
        attempt=episode.attempt,
    )

"""The same with the rules as they are shipped, on 32 nodes, and a hang of a run over both shards: `make shards`.

Hours are shortened, as nothing else would be recorded in time; waits and minutes are those of the rules.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from shards.comparing import differences, exposure_apart, pages
from shards.fleet import Fleet, until
from shards.test_shards import EXPECTED, break_things

NODES, DEVICES, STEP_SECONDS = 32, 8, 5
# An agent takes a wait for a hang after 10 minutes, where the run has not taught it otherwise.
HANG_SECONDS = 1500.0
# Series that end, end an evaluation later where they are federated; what differs for longer is a difference.
SETTLED_SECONDS = 60.0


def hourly(text: str) -> str:
    """A rule file whose hour, or five minutes, is a minute; one that is a minute after the fact, at once."""
    return text.replace("interval: 1h", "interval: 1m").replace("interval: 5m", "interval: 1m").replace("2700", "60")


def main() -> int:
    """Says what it saw; 1 where the two differ."""
    with tempfile.TemporaryDirectory() as scratch:
        fleet = Fleet(Path(scratch), NODES, DEVICES, STEP_SECONDS, hourly)
        try:
            return _compared(fleet)
        finally:
            fleet.close()


def _compared(fleet: Fleet) -> int:
    until("work", lambda: len(fleet.ask("global", 'accelwatch:run:activity:count{state="busy"} > 0')) == 2, 300)
    time.sleep(60.0)  # of work, before anything is wrong
    gpus = [node for node in fleet.nodes if "gpu" in node]
    fleet.order("steer", "hang", "5001", "--culprit", f"{gpus[6]}/3")
    culprit = 'accelwatch:run:culprit{run_id="5001",node!=""}'
    until(
        "a hang with its culprit",
        lambda: fleet.ask("single", f"accelwatch:run:stalled == 2 and {_on(culprit)}"),
        HANG_SECONDS,
    )
    until(
        "the same hang, federated",
        lambda: fleet.ask("global", f"accelwatch:run:stalled == 2 and {_on(culprit)}"),
        SETTLED_SECONDS,
    )
    named = [{dict(labels)["node"] for labels in fleet.ask(part, culprit)} for part in ("single", "global")]
    print(f"hang: culprit {named[0]} by one, {named[1]} by shards; expected {gpus[6]}", flush=True)
    until("pages of the hang", lambda: "AccelwatchRunHang" in _names(fleet), SETTLED_SECONDS)
    until("the same pages", lambda: not differences(fleet), SETTLED_SECONDS)
    fleet.order("steer", "resume", "5001")
    break_things(fleet)
    until("the pages", lambda: _names(fleet) >= EXPECTED, 900)
    until("the same", lambda: not differences(fleet), 5 * SETTLED_SECONDS)
    apart = max(exposure_apart(fleet).values())
    print(f"figures and {len(pages(fleet, 'single'))} alerts are the same; exposure {apart:.0f} s apart per device")
    return 0 if named[0] == named[1] == {gpus[6]} else 1


def _on(series: str) -> str:
    return f"on (cluster, run_id, attempt) {series}"


def _names(fleet: Fleet) -> set[str]:
    return {dict(labels)["alertname"] for labels in pages(fleet, "single")}


if __name__ == "__main__":
    sys.exit(main())

"""`accelwatch drill CLASS [--device N]`: a marked fault through the whole chain, to prove that paging works."""

from __future__ import annotations

import argparse
import sys

from accelwatch import config
from accelwatch.commands.operator import ask, who


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("class_", metavar="CLASS", help="the fault class that is acted, such as device_lost")
    parser.add_argument(
        "--device", metavar="N", help="the device, as `accelwatch check` calls it; on mixed nodes vendor:N"
    )
    parser.add_argument("--for", dest="duration", default="5m", help="until it clears itself (default 5m)")


def run(options: argparse.Namespace) -> int:
    """Asks the running agent; 3 when there is none, or no such class or device."""
    try:
        seconds = config.seconds(options.duration)
    except ValueError as error:
        print(f"accelwatch drill: --for: {error}", file=sys.stderr)
        return 3
    request = {"command": "drill", "class": options.class_, "device": options.device, "seconds": seconds, "by": who()}
    answer = ask("drill", options, request)
    if answer is None:
        return 3
    print(
        f"drill {answer['drill']}: {options.class_} on {answer['on']}, for {answer['seconds']:g} s; "
        f"`accelwatch clear {answer['drill']} --reason TEXT` ends it before"
    )
    print("\n".join(_expected(answer["notify"], answer["fast"], answer["alertmanagers"], answer["maintenance"])))
    return 0


def _expected(notify: str, fast: bool, alertmanagers: int, maintenance: bool) -> list[str]:
    if notify == "none":
        return ["  this class reaches nobody: it is on the page and in the journal, and no alert follows"]
    rules = f'  rules: accelwatch_fault_active{{drill="true"}} is 1 now; the {notify} follows scrape and evaluation'
    if not fast:
        return ["  fast path: nothing, which is for hardware that ends runs; this class is left to the rules", rules]
    way = f"posted to {alertmanagers} Alertmanager(s) at once" if alertmanagers else "off (no alertmanager.urls)"
    if maintenance:
        way = "silent: planned work goes on (`accelwatch maintenance status`)"
    return [f"  fast path: {way}", rules]

"""`accelwatch why RUN_ID --prometheus URL`: what ended a run or holds it up, and what to do."""

from __future__ import annotations

import argparse
import json
import sys

from accelwatch.commands import fleet_wide
from accelwatch.commands.why_screen import notation, screen
from accelwatch.diagnosis import attempts
from accelwatch.diagnosis.answer import document
from accelwatch.diagnosis.gather import gather
from accelwatch.diagnosis.judge import judge
from accelwatch.prometheus_api import Prometheus, PrometheusError
from accelwatch.taxonomy.loader import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("run_id", metavar="RUN_ID", help="as the scheduler calls it, such as a Slurm job id")
    parser.add_argument("--attempt", metavar="A", help="this attempt instead of the latest")
    fleet_wide.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Prints the answer; 3 when there is none: no such run, or no Prometheus."""
    try:
        at = fleet_wide.asked_at(options)
        prometheus = Prometheus(options.prometheus)
        found = attempts.find(prometheus, options.run_id, at, options.cluster)
        attempt, others = attempts.chosen(found, options.attempt)
        answer = judge(gather(prometheus, options.run_id, attempt, others, at), load())
    except attempts.NoSuchRun as error:
        return fleet_wide.failed("why", PrometheusError(f"{options.prometheus} has {error}"))
    except (PrometheusError, ValueError) as error:
        return fleet_wide.failed("why", error)
    if options.json:
        print(json.dumps(document(answer, notation(answer)), indent=2))
    else:
        print(screen(answer, sys.stdout.isatty()))
    return 0

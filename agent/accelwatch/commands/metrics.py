"""`accelwatch metrics`."""

from __future__ import annotations

import argparse
import sys

from accelwatch import config, log
from accelwatch.clock import SystemClock
from accelwatch.config import ConfigError
from accelwatch.metrics.page import AgentStatus, Renderer
from accelwatch.once import poll_once


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(options: argparse.Namespace) -> int:
    """Polls once and prints the page; 3 when the configuration is bad."""
    log.configure()
    try:
        loaded = config.load(config.find(options.config))
    except ConfigError as error:
        print(f"accelwatch metrics: {error}", file=sys.stderr)
        return 3
    clock = SystemClock()
    polls = poll_once(loaded, clock)
    status = AgentStatus(
        node=loaded.node_name, config_hash=loaded.digest, labels=loaded.labels, reload_time=clock.time()
    )
    up = {source.source for source in polls.sources if source.up}
    page = Renderer(polls.metrics).render(
        polls.core.node.view(), polls.sources, status, polls.core.fault_view(up, 0), polls.core.run_page()
    )
    sys.stdout.write(page.text.decode())
    return 0

"""`accelwatch bundle FAULT_ID --out FILE.tar.gz`: evidence for the vendor, from a node."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from accelwatch import __version__, config
from accelwatch.clock import SystemClock
from accelwatch.config import Config
from accelwatch.evidence import journal, kernel, settings, tools
from accelwatch.evidence.archive import MANIFEST, Archive
from accelwatch.faults.shown import rfc3339
from accelwatch.journal.rows import JournalError
from accelwatch.server import control
from accelwatch.sources.base import SourceError
from accelwatch.sources.commands import Runner, ToolRunner
from accelwatch.sources.kernel_log import boot_id_path, read_boot_id
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.processes import Processes

CANNOT_TELL = 3
SCHEMA = 1
AGENT_SECONDS = 5.0
# The tools have what the other parts leave of it.
WHOLE_SECONDS = 90.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("fault_id", metavar="FAULT_ID", type=int, help="the ID that `accelwatch faults` shows")
    parser.add_argument("--out", required=True, metavar="FILE.tar.gz", help="where to; must not be there yet")


def run(options: argparse.Namespace) -> int:
    """Writes it and says what is in it; 3 when it could not be written, or there is no such fault."""
    out = Path(options.out)
    try:
        loaded = config.load(config.find(options.config))
        kept = journal.kept_of(Path(loaded.state_dir), options.fault_id)
        made = SystemClock().time()
        node = re.sub(r"[^A-Za-z0-9._-]", "_", loaded.node_name)
        with Archive(out, f"accelwatch-{node}-fault-{options.fault_id}", made) as archive:
            collect(archive, loaded, kept, ToolRunner(), made)
    except (config.ConfigError, JournalError) as error:
        print(f"accelwatch bundle: {error}", file=sys.stderr)
        return CANNOT_TELL
    except OSError as error:
        said = str(error) if isinstance(error, FileExistsError) else f"{out}: cannot be written: {error.strerror}"
        print(f"accelwatch bundle: {said}", file=sys.stderr)
        return CANNOT_TELL
    print(_said(out, archive))
    return 0


def collect(archive: Archive, loaded: Config, kept: journal.Kept, runner: Runner, made: float) -> None:
    """Every part; one that cannot be read does not keep out the others."""
    deadline = time.monotonic() + WHOLE_SECONDS
    _add_journal(archive, kept)
    _add_agent(archive, loaded)
    reads = LocalReads(runner)
    boot = read_boot_id(boot_id_path(Path(loaded.sources.processes.proc)))
    path = Path(loaded.sources.kernel_log.path)
    try:
        text, part = kernel.slice_of(path, reads, kept.fault, boot, made, time.monotonic())
        archive.add("kernel.log", text, part)
    except kernel.Unreadable as error:
        archive.lacks("kernel log", str(error))
    _add_processes(archive, Path(loaded.sources.processes.proc), reads)
    archive.add("configuration.yml", settings.without_secrets(loaded), "the configuration, secrets left out")
    tools.add_dumps(archive, kept.fault, kept.row, loaded.sources, runner, left=lambda: deadline - time.monotonic())
    archive.finish(
        {
            "schema": SCHEMA,
            "fault": kept.fault.id,
            "node": loaded.node_name,
            "made": rfc3339(made),
            "accelwatch": __version__,
            "config_hash": loaded.digest,
            "boot_id": boot,
            "kernel": platform.release(),
            "python": platform.python_version(),
        }
    )


def _add_journal(archive: Archive, kept: journal.Kept) -> None:
    origin = "the agent's journal"
    archive.add("journal/fault.json", _json(kept.fault), origin)
    archive.add("journal/incident.json", _json(kept.incident), f"{origin}: the other faults of its incident")
    archive.add("journal/earlier.json", _json(kept.past), f"{origin}: other faults of the same device in 90 days")
    archive.add("journal/device.json", _json(kept.row or kept.rows), f"{origin}: inventory")
    archive.add("journal/counters.json", _json(kept.counters), f"{origin}: counters as they were written last")
    if kept.run is not None:
        archive.add("journal/run.json", _json(kept.run), f"{origin}: the run that it struck")
    elif kept.fault.run_id is not None:
        archive.lacks("the run", f"run {kept.fault.run_id} is not in the journal any more")
    for problem in kept.problems:
        archive.lacks("a row of the journal", problem)


def _add_agent(archive: Archive, loaded: Config) -> None:
    """Counters as they stand now, and the node's state, by the agent that runs."""
    path = Path(loaded.state_dir) / "control.sock"
    for command, key, name in (("metrics", "text", "agent/metrics.txt"), ("report", "report", "agent/check.json")):
        try:
            answer = control.ask(path, {"command": command}, timeout=AGENT_SECONDS)[key]
        except (control.ControlUnreachable, control.ControlError, KeyError) as error:
            archive.lacks(name, f"the running agent: {error}")
            continue
        text = answer if isinstance(answer, str) else json.dumps(answer, indent=2)
        archive.add(name, text, f"the running agent: {command}")


def _add_processes(archive: Archive, proc: Path, reads: LocalReads) -> None:
    """Who holds a device: pid and name, never arguments or environment."""
    source = Processes(proc=proc, reads=reads, clock=SystemClock())
    try:
        snapshot = source.poll(everything=True)
    except SourceError as error:
        archive.lacks("processes", str(error))
        return
    finally:
        source.close()
    for problem in snapshot.problems:
        archive.lacks("processes", problem)
    table = [
        {"pid": p.pid, "name": p.name, "state": p.state, "started": rfc3339(p.started), "devices": list(p.devices)}
        for p in snapshot.processes
    ]
    archive.add("processes.json", json.dumps(table, indent=2), f"{proc}: processes that hold a device")


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _said(out: Path, archive: Archive) -> str:
    size = os.stat(out).st_size
    lines = [f"{out}: {len(archive.files)} files and {MANIFEST}, {size / 1024:.0f} kB"]
    lines += [f"  cut off: {f['name']}, by {f['cut_off_bytes']} bytes" for f in archive.files if f["cut_off_bytes"]]
    lines += [f"  not in it: {lacking['what']}: {lacking['why']}" for lacking in archive.missing]
    return "\n".join(lines)

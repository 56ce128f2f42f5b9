#!/usr/bin/env python3
"""Writes Prometheus file_sd targets from what Slurm knows: its nodes with accelerators, and the rack of each.

    slurm_targets.py --cluster training-1 --out /etc/prometheus/targets/slurm.json

Asks `scontrol show nodes` and `scontrol show topology`, or reads saved output: `--nodes FILE` (also of
`sinfo -h -N -o 'NodeName=%N State=%T Gres=%G'`), `--topology FILE` (also topology.conf). `-` is standard input.

The label `node` is Slurm's NodeName: where a host is called otherwise, set `node` in its accelwatch.yml. `rack` is the
leaf switch that a node hangs on, or its block; a node that the topology does not name has none. Down and drained nodes
stay targets, nodes that are powered off or not yet there do not.

Exit status 0: written; 1: nothing was written, the file is as it was, and standard error says why. An empty file would
take every node out of monitoring, and resolve its alerts. Python 3.9 or later, standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

# A word of `scontrol`: its value ends where the next key begins (OS and Reason have blanks in them).
_KEY = re.compile(r"(?:^|\s)([A-Z][A-Za-z_:/]*)=")
# Not there to be scraped; short forms are those of `sinfo`. DOWN, DRAIN and NOT_RESPONDING are.
_ABSENT = {"FUTURE", "POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "POWERING_UP"}
_ABSENT_MARKS = "~#%"  # powered down, powering up, powering down
_SCONTROL_SECONDS = 60


class TargetsError(Exception):
    """No targets can be made; the message says what was wrong and what to do."""


def records(text: str) -> Iterator[dict[str, str]]:
    """Records of `Key=value` words: one a line (`scontrol -o`, topology.conf), or paragraphs of indented lines."""
    whole = re.sub(r"\\\n\s*", " ", text)  # a line of topology.conf may be continued
    lines = [
        line.partition("#")[0] if re.match("#|SwitchName|BlockName", line) else line for line in whole.splitlines()
    ]
    for record in re.split(r"\n(?=\S)", "\n".join(lines)):
        found = list(_KEY.finditer(record))
        ends = [following.start() for following in found[1:]] + [len(record)]
        fields = {key[1]: record[key.end() : ends[number]].strip() for number, key in enumerate(found)}
        if fields:
            yield fields


def expand(names: str) -> list[str]:
    """Slurm's host lists: `gpu[001-003,007],login1`, `rack[1-2]node[1-4]`. Raises `TargetsError`."""
    hosts: list[str] = []
    for word in re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", names):
        parts = re.split(r"\[([^\]]*)\]", word)
        choices = [_numbers(part, names) if number % 2 else [part] for number, part in enumerate(parts)]
        hosts.extend("".join(chosen) for chosen in itertools.product(*choices))
    return hosts


def _numbers(ranges: str, names: str) -> list[str]:
    numbers: list[str] = []
    for item in ranges.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise TargetsError(f"`{names}` is no host list: expected [001-016,020] or the like, got `{item}`")
        first, last = match[1], match[2] or match[1]
        numbers += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return numbers


def racks(topology: str) -> dict[str, str]:
    """The leaf switch, or else the block, of each node. Raises `TargetsError`."""
    found: dict[str, str] = {}
    for record in sorted(records(topology), key=lambda record: "SwitchName" not in record):
        name = record.get("SwitchName") or record.get("BlockName")
        # A switch above others lists their nodes too.
        if name and "Nodes" in record and not record.get("Switches"):
            for node in expand(record["Nodes"]):
                found.setdefault(node, name)
    return found


def _is_there(state: str) -> bool:
    words = set(re.split(r"[+\s]", state.upper().rstrip("*$@^-!" + _ABSENT_MARKS)))
    return not words & _ABSENT and not set(state) & set(_ABSENT_MARKS)


def targets(nodes: str, topology: str, cluster: str, port: int, gres: str, domain: str) -> list[dict[str, object]]:
    """file_sd groups, one per node, sorted by name. Raises `TargetsError` when no node is left."""
    wanted, rack_of = re.compile(gres), racks(topology)
    groups: dict[str, dict[str, object]] = {}
    seen = 0
    for record in records(nodes):
        for name in expand(record.get("NodeName", "")):
            seen += 1
            if not wanted.search(record.get("Gres", "")) or not _is_there(record.get("State", "")):
                continue
            address = record.get("NodeAddr") or name
            host = address if address != name else name + domain
            labels = {"cluster": cluster, "node": name}
            if name in rack_of:
                labels["rack"] = rack_of[name]
            groups[name] = {"targets": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"], "labels": labels}
    if not groups:
        raise TargetsError(
            f"of {seen} nodes none is switched on and has a Gres like `{gres}`: see `scontrol show nodes`, "
            "and name your own with --gres"
        )
    return [groups[name] for name in sorted(groups)]


def write(path: Path, groups: list[dict[str, object]]) -> None:
    """Replaces the file in one step: Prometheus never reads half of it. Untouched when nothing has changed."""
    text = json.dumps(groups, indent=1) + "\n"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    # Its name ends otherwise than `.json`: Prometheus must not take it for a file of its own.
    handle, temporary = tempfile.mkstemp(prefix=path.name, suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)  # Prometheus is another user
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _text(source: str | None, *command: str) -> str:
    if source == "-":
        return sys.stdin.read()
    if source is not None:
        return Path(source).read_text(encoding="utf-8")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SCONTROL_SECONDS, check=True)
    except FileNotFoundError:
        raise TargetsError(
            f"{command[0]} is not here: run this where Slurm's commands are, or give saved output"
        ) from None
    except subprocess.TimeoutExpired:
        raise TargetsError(f"`{' '.join(command)}` did not answer within {_SCONTROL_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise TargetsError(f"`{' '.join(command)}` failed ({error.returncode}): {error.stderr.strip()}") from None
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cluster", required=True, help="the label `cluster`, as in the agents' configuration")
    parser.add_argument("--out", required=True, type=Path, help="the file of targets, ending in .json")
    parser.add_argument("--nodes", help="output of `scontrol show nodes` (default: asks it)")
    parser.add_argument("--topology", help="topology.conf, or output of `scontrol show topology` (default: asks it)")
    parser.add_argument("--port", type=int, default=9817, help="of the agents (default: %(default)s)")
    parser.add_argument("--gres", default=r"\b(gpu|npu)\b", help="regular expression of a Gres (default: %(default)s)")
    parser.add_argument("--domain", default="", help="is put behind node names, such as .cluster.example.org")
    options = parser.parse_args(arguments)
    try:
        nodes = _text(options.nodes, "scontrol", "show", "nodes", "--oneliner")
        topology = _text(options.topology, "scontrol", "show", "topology")
        groups = targets(nodes, topology, options.cluster, options.port, options.gres, options.domain)
        write(options.out, groups)
    except (TargetsError, OSError, UnicodeDecodeError, re.error) as error:
        print(f"slurm_targets: {error}; {options.out} is left as it was", file=sys.stderr)
        return 1
    without = sum("rack" not in str(group["labels"]) for group in groups)
    print(f"{options.out}: {len(groups)} nodes" + (f", {without} of them in no rack" if without else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Alertmanager silences for a list of nodes, as commands of amtool; printed, never run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# A silence for each hundred nodes: a matcher of a thousand names is slow for Alertmanager and unreadable for people.
NODES_PER_SILENCE = 100
NODES_LIMIT = 100_000
_RANGE = re.compile(r"^(.*?)\[([0-9,-]+)\](.*)$")
_NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")


def expanded(text: str) -> list[str]:
    """The nodes of a list such as `n1,n2` or `gpu-[001-004,9]`, as Slurm writes it. Raises `ValueError`."""
    nodes: list[str] = []
    for part in re.split(r",(?![^\[]*\])", text):
        nodes += _expand(part.strip(), NODES_LIMIT - len(nodes))
    for node in nodes:
        if not _NAME.match(node):
            raise ValueError(f"--nodes: {node!r} is no node name; expected a list such as n1,n2 or gpu-[001-064]")
    return list(dict.fromkeys(nodes))


def add(nodes: Sequence[str], cluster: str | None, seconds: float, reason: str, author: str) -> list[str]:
    """One command per hundred nodes."""
    options = [f"--duration={seconds:.0f}s", f"--comment={reason}", *([f"--author={author}"] if author else [])]
    return [shlex.join(["amtool", "silence", "add", *options, *matchers]) for matchers in _matchers(nodes, cluster)]


def expire(nodes: Sequence[str], cluster: str | None) -> list[str]:
    """What takes the silences of `add` for the same list away again."""
    return [
        f"amtool silence expire $({shlex.join(['amtool', 'silence', 'query', '--quiet', *matchers])})"
        for matchers in _matchers(nodes, cluster)
    ]


def _matchers(nodes: Sequence[str], cluster: str | None) -> list[list[str]]:
    parts = [nodes[i : i + NODES_PER_SILENCE] for i in range(0, len(nodes), NODES_PER_SILENCE)]
    of_cluster = [] if cluster is None else [f'cluster="{_quoted(cluster)}"']
    return [
        [f'node=~"{"|".join(_quoted(re.escape(node)) for node in part)}"', *of_cluster]
        if len(part) > 1
        else [f'node="{part[0]}"', *of_cluster]
        for part in parts
    ]


def _quoted(text: str) -> str:
    """Inside the double quotes of a matcher."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _expand(part: str, room: int) -> list[str]:
    """At most `room` names; counted before they are made."""
    match = _RANGE.match(part)
    if match is None:
        return [part]
    before, ranges, after = match.groups()
    tails = _expand(after, room)
    names: list[str] = []
    for piece in ranges.split(","):
        first, dash, last = piece.partition("-")
        if not first.isdigit() or (dash and (not last.isdigit() or int(last) < int(first))):
            raise ValueError(f"--nodes: {piece!r} in {part!r} is no range; expected such as 001-064")
        if (len(names) + int(last or first) - int(first) + 1) * len(tails) > room:
            raise ValueError(f"--nodes: {part!r}: more than {NODES_LIMIT} nodes")
        names += [f"{before}{number:0{len(first)}d}" for number in range(int(first), int(last or first) + 1)]
    return [name + tail for name in names for tail in tails]

"""Names of nodes as Slurm writes them: `nv-[01-03,07]`."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A name that ends in a number; a longer one is no number to Slurm either (it counts in 32 bits).
_NUMBERED = re.compile(r"^(.*?)(\d{1,9})$")


def compressed(nodes: Iterable[str]) -> str:
    """The list that `scontrol show hostnames` expands to these nodes, in order; empty for none."""
    groups: dict[tuple[str, int], list[int]] = {}
    plain: list[str] = []
    names = sorted(set(nodes))
    matches = {name: _NUMBERED.match(name) for name in names}
    # `n08` and `n10` are of one width, `n9` and `n10` of none: only a leading zero tells.
    padded = {(m[1], len(m[2])) for m in matches.values() if m is not None and len(m[2]) > 1 and m[2][0] == "0"}
    for name, match in matches.items():
        if match is None:
            plain.append(name)
            continue
        prefix, digits = match[1], match[2]
        width = len(digits) if (prefix, len(digits)) in padded else 0
        groups.setdefault((prefix, width), []).append(int(digits))
    parts = {prefix + _bracketed(sorted(numbers), width): None for (prefix, width), numbers in groups.items()}
    return ",".join(sorted([*plain, *parts]))


def _bracketed(numbers: list[int], width: int) -> str:
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    texts = [f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}" for a, b in ranges]
    return texts[0] if len(numbers) == 1 else f"[{','.join(texts)}]"

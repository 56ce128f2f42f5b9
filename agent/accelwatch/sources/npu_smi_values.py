"""Numbers as the Ascend tools print them: nothing else in a cell becomes one.

Python's own conversions take more than a tool prints (`1_0`, `nan`, `²`, digits without end), so what a garbled line
holds could look like a value.
"""

from __future__ import annotations

import re

_INTEGER_DIGITS = 20  # of 64-bit counters
_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)
_ALONE = re.compile(rf"(?<![0-9.]){_DECIMAL.pattern}(?![0-9.])", re.ASCII)
_HEXADECIMAL = re.compile(r"0[xX][0-9A-Fa-f]{1,16}", re.ASCII)


def integer(text: str | None) -> int | None:
    """A count; `NA`, `-`, `Failed` and the like are `None`."""
    if text is None or not text.isdigit() or not text.isascii() or len(text) > _INTEGER_DIGITS:
        return None
    return int(text)


def decimal(text: str | None) -> float | None:
    """A measured value, with or without a fraction."""
    return float(text) if text is not None and _DECIMAL.fullmatch(text) else None


def first_decimal(text: str | None) -> float | None:
    """The first number of a value that has its unit behind it, such as `3262.90 mV`."""
    match = _ALONE.search(text or "")
    return None if match is None else float(match[0])


def hexadecimal(text: str | None) -> int | None:
    """A number with its 0x."""
    return int(text, 16) if text is not None and _HEXADECIMAL.fullmatch(text) else None


def whole_lines(output: str) -> str:
    """The output without a last line that has no end: it was cut, and its last number may be a part of one."""
    return output[: output.rfind("\n") + 1]

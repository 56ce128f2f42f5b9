"""The worker's answers as JSON: of what a GPU said before, the text of then is taken again.

Most of a full reading, links and counters of errors above all, is the same for hours on a healthy node, and to write it
down anew costs as much as a fifth of the reading itself.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Written:
    """One device's families of readings, by name: what they were made of, and their text."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, str]] = {}

    def text(self, family: str, values: object, build: Callable[[Any], object] | None = None) -> str:
        """The JSON of `build(values)`, or of the values themselves; they are compared with those of the time before."""
        kept = self._kept.get(family)
        if kept is not None and kept[0] == values:
            return kept[1]
        written = encode(values if build is None else build(values))
        self._kept[family] = values, written
        return written


def members(texts: dict[str, str]) -> str:
    """An object of members that are JSON already."""
    return "{" + ",".join([f'"{name}":{text}' for name, text in texts.items()]) + "}"


def row(values: tuple[object, ...]) -> str:
    """An array of finite numbers, `None` and lists of plain words, in the order of `nvml_answer.Fast`."""
    return repr(list(values)).replace("None", "null").replace("'", '"')

"""Rows under headings, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from accelwatch.faults.shown import rfc3339

RED, YELLOW, GREEN, BOLD, PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[1m", "\x1b[0m"
NOTHING = "-"

Paint = Callable[[str, str], str]


def painter(colour: bool) -> Paint:
    """Puts a colour around text, where the terminal has any."""
    return (lambda text, code: f"{code}{text}{PLAIN}") if colour else (lambda text, _code: text)


def printable(text: str) -> str:
    """Without signs that a terminal would obey: messages carry what a log line had."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def clock(seconds: float | None) -> str:
    """Seconds since the epoch, to the second in UTC, without the `T`."""
    return NOTHING if seconds is None else rfc3339(seconds).replace("T", " ")


def aligned(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    paint: Paint,
    colours: Sequence[Sequence[str | None]] = (),
    below: Sequence[Sequence[str]] = (),
) -> str:
    """The table. `colours`: by row, one per column or less; `below`: by row, lines to put under it."""
    cells = [[printable(cell) or NOTHING for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in (list(headings), *cells)) for i in range(len(headings))]
    lines = [paint("  ".join(h.ljust(w) for h, w in zip(headings, widths, strict=True)).rstrip(), BOLD)]
    for number, row in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for column, colour in enumerate(colours[number] if colours else ()):
            if colour is not None:
                padded[column] = paint(padded[column], colour)
        lines.append("  ".join(padded).rstrip())
        lines += (f"    {printable(line)}" for line in (below[number] if below else ()))
    return "\n".join(lines)

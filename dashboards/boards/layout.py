"""Places panels on Grafana's grid of 24 columns."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import GridPos, Panel

COLUMNS = 24

Placed = tuple[int, Panel]


class _Built(Builder[Panel]):
    """A panel that is built already, for where the kit asks for a builder."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def build(self) -> Panel:
        return self._panel


class Row:
    """A heading, unless it is empty, and below it panels of one height side by side.

    `panels`: width in columns, and panel. `id_`: of the heading; ids are fixed, so that links to panels stay true.
    Raises `ValueError` where the widths do not fill the row: a gap looks like a panel that failed.
    """

    def __init__(self, height: int, panels: Sequence[Placed], title: str = "", id_: int = 0) -> None:
        if sum(width for width, _ in panels) != COLUMNS:
            raise ValueError(f"row {title!r}: its widths do not add up to {COLUMNS}")
        self.height, self.panels, self.title, self.id = height, panels, title, id_


def place(board: dashboard.Dashboard, rows: Sequence[Row]) -> dashboard.Dashboard:
    """One below the other."""
    y = 0
    for row in rows:
        if row.title:
            heading = dashboard.Row(row.title).id(row.id).grid_pos(GridPos(x=0, y=y, w=COLUMNS, h=1))
            board.with_row(heading)
            y += 1
        x = 0
        for width, panel in row.panels:
            panel.grid_pos = GridPos(x=x, y=y, w=width, h=row.height)
            board.with_panel(_Built(panel))
            x += width
        y += row.height
    return board

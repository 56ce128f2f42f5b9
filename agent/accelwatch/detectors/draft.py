"""A mapping of a detector's state during one step: copied when it is first changed, the same object when it is not."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Draft(Generic[T]):
    """Rows by name, over rows that must not be changed."""

    __slots__ = ("_copied", "rows")

    def __init__(self, rows: dict[str, T]) -> None:
        self.rows = rows
        self._copied = False

    def get(self, name: str) -> T | None:
        """The row, if there is one."""
        return self.rows.get(name)

    def put(self, name: str, row: T) -> None:
        """Sets a row; an equal one changes nothing."""
        if self.rows.get(name) != row:
            self._own()[name] = row

    def drop(self, name: str) -> None:
        """Takes a row out, if it is there."""
        if name in self.rows:
            del self._own()[name]

    @property
    def changed(self) -> bool:
        """Whether any row differs from those at the start."""
        return self._copied

    def _own(self) -> dict[str, T]:
        if not self._copied:
            self.rows = dict(self.rows)
            self._copied = True
        return self.rows

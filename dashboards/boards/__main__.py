"""`make dashboards`: writes the JSON that the dashboards' code makes."""

from __future__ import annotations

import sys
from pathlib import Path

from boards.board import text
from boards.registry import BOARDS

WHERE = Path(__file__).resolve().parents[1] / "json"


def files() -> dict[str, str]:
    """Name and text of each file."""
    made = {}
    for board in BOARDS:
        document = board().build()
        made[f"{document.uid}.json"] = text(document)
    return made


if __name__ == "__main__":
    WHERE.mkdir(exist_ok=True)
    made = files()
    for path in WHERE.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, written in made.items():
        (WHERE / name).write_text(written, encoding="utf-8")
    sys.stdout.write(f"{len(made)} dashboards in {WHERE}\n")

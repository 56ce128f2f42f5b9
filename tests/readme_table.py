"""Writes the README's table of metrics from the catalogue: `make metrics-table`."""

from pathlib import Path

from accelwatch.metrics.catalogue import FAMILIES

BEGIN, END = "<!-- metrics: made by `make metrics-table`, checked by a test -->\n", "<!-- end of metrics -->\n"


def table() -> str:
    """One row per family."""
    rows = (f"| `{f.full_name}` | {f.type} | {', '.join(f.labels) or '-'} | {f.help} |\n" for f in FAMILIES)
    return "| series | type | labels | meaning |\n|---|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "README.md"
    before, _, rest = path.read_text().partition(BEGIN)
    path.write_text(before + BEGIN + table() + END + rest.partition(END)[2])

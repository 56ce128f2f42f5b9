"""Node lists as Slurm writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelwatch.commands.silences import expanded
from accelwatch.diagnosis.hostlist import compressed


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], ""),
        (["nv-07"], "nv-07"),
        (["nv-07", "nv-01", "nv-03", "nv-02"], "nv-[01-03,07]"),
        (["n9", "n10", "n11"], "n[9-11]"),
        (["n08", "n9", "n10"], "n9,n[08,10]"),
        (["n099", "n100"], "n[099-100]"),
        (["login", "as-1", "nv-2", "nv-1"], "as-1,login,nv-[1-2]"),
        (["r1-n1", "r1-n2", "r2-n1"], "r1-n[1-2],r2-n1"),
        (["gpu1.example", "gpu2.example"], "gpu1.example,gpu2.example"),
        (["a12345678901"], "a12345678901"),
        (["n1", "n1"], "n1"),
    ],
)
def test_numbers_are_put_together(nodes: list[str], expected: str) -> None:
    """By prefix and width."""
    assert compressed(nodes) == expected


@given(st.lists(st.from_regex(r"[a-z]([a-z-]{0,2}[0-9])?[0-9]{0,3}", fullmatch=True), min_size=1, max_size=40))
def test_a_list_expands_to_the_same_nodes(nodes: list[str]) -> None:
    """Whatever they are called."""
    assert sorted(expanded(compressed(nodes))) == sorted(set(nodes))

"""The fuzz targets in short form: the same few hundred inputs at every run."""

import pytest

from fuzz import run

INPUTS = 150


@pytest.mark.parametrize("name", run.names())
def test_no_input_breaks_it(name: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception but those that it says, and no input that takes long."""
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    done, _seconds, _slowest = run.mutate(name, INPUTS, seed=1)
    assert done > INPUTS

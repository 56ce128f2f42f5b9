"""Certificates are made once."""

from pathlib import Path

import pytest

from server import certificates


@pytest.fixture(scope="session")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates.make(tmp_path_factory.mktemp("pems"))

"""Where inputs begin: captures of true interfaces, where they lie beside the project, and a few lines that always do."""

from __future__ import annotations

from support import CORPUS

LONGEST_BYTES = 20_000


def captures(*folders: str) -> list[bytes]:
    """The beginnings of the captures in these folders of the corpus; none where it is not there."""
    files = sorted(file for folder in folders for file in (CORPUS / folder).glob("*") if file.is_file())
    return [file.read_bytes()[:LONGEST_BYTES] for file in files]

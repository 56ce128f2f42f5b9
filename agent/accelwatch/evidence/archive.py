"""One `.tar.gz` with a manifest, bounded in size, for its owner's eyes only."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# Before compression. A kernel-log slice and eight device dumps make about 2 MB.
LIMIT_BYTES = 20 << 20
# One part does not crowd out the others; whoever adds one may set less.
PART_LIMIT_BYTES = 4 << 20
# Kept back for the manifest itself.
_MANIFEST_BYTES = 1 << 18
MANIFEST = "MANIFEST.json"


class Archive:
    """Written beside `path` and given its name when it is whole: there is no half of one. Mode 0600.

    Raises `FileExistsError` where there is a file already: it may be the evidence of another time.
    """

    def __init__(self, path: Path, folder: str, made: float) -> None:
        self._path, self._folder, self._made = path, folder, int(made)
        if os.path.lexists(path):
            raise FileExistsError(f"{path}: is there already; choose another name")
        descriptor, self._name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # of mode 0600
        self._file = os.fdopen(descriptor, "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w:gz")  # noqa: SIM115 - closed in `close`
        self._left = LIMIT_BYTES - _MANIFEST_BYTES
        self.files: list[dict[str, Any]] = []
        self.missing: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._tar.close()
        self._file.close()
        if os.path.exists(self._name):
            os.unlink(self._name)

    def add(self, name: str, data: bytes | str, origin: str, limit: int = PART_LIMIT_BYTES) -> None:
        """A file with what was read; `origin` says from where. More than its share is cut off, and said."""
        raw = data.encode(errors="replace") if isinstance(data, str) else data
        room = min(limit, self._left)
        kept = raw[:room]
        self._left -= len(kept)
        self._write(name, kept)
        entry: dict[str, Any] = {"name": name, "bytes": len(kept), "sha256": hashlib.sha256(kept).hexdigest()}
        self.files.append({**entry, "from": origin, "cut_off_bytes": len(raw) - len(kept)})

    def lacks(self, what: str, why: str) -> None:
        """Something that should be in it and could not be read."""
        self.missing.append({"what": what, "why": why})

    def finish(self, about: dict[str, Any]) -> None:
        """Writes the manifest and gives the archive its name."""
        manifest = {**about, "files": self.files, "missing": self.missing}
        self._write(MANIFEST, json.dumps(manifest, indent=2).encode())
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            os.link(self._name, self._path)  # unlike a rename, never over another's file
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.rename(self._name, self._path)
            return
        os.unlink(self._name)

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(f"{self._folder}/{name}")
        member.size, member.mode, member.mtime = len(data), 0o600, self._made
        self._tar.addfile(member, io.BytesIO(data))

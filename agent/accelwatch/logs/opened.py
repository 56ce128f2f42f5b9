"""Opens saved logs: files, standard input, compressed or in UTF-16."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from accelwatch.logs.scanner import Readable

STANDARD_INPUT = "-"
ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error)  # what reading a log can raise

_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@contextlib.contextmanager
def opened(name: str) -> Iterator[Readable]:
    """The bytes of the log, decompressed. Raises `ERRORS`, each with a message that says what to do."""
    with contextlib.ExitStack() as stack:
        if name == STANDARD_INPUT:
            raw: Any = sys.stdin.buffer
        else:
            raw = stack.enter_context(Path(name).open("rb"))
        stream: Any = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
        head = stream.peek(8)[:8]
        if head.startswith(_GZIP):
            stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
        elif head.startswith(_BZIP2):
            stream = stack.enter_context(bz2.BZ2File(stream))
        elif head.startswith(_XZ):
            stream = stack.enter_context(lzma.LZMAFile(stream))
        elif head.startswith(_ZSTD):
            stream = stack.enter_context(_zstd(stream))
        available = _Available(stream)
        yield _Recoded(available, _UTF16[head[:2]]) if head[:2] in _UTF16 else available


class _Available:
    """What is there by now: a pipe is not waited for, and a file that is cut gives all that it has."""

    def __init__(self, stream: Any) -> None:
        self.read: Callable[[int], bytes] = stream.read1


class _Recoded:
    """UTF-16, which Windows tools save, as UTF-8."""

    def __init__(self, stream: Readable, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")

    def read(self, size: int, /) -> bytes:
        """At most about `size` bytes."""
        while data := self._stream.read(size):
            text = self._decoder.decode(data)
            if text:
                return text.encode("utf-8", errors="replace")
        return self._decoder.decode(b"", final=True).encode("utf-8", errors="replace")


@contextlib.contextmanager
def _zstd(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    tool = shutil.which("zstd")
    if tool is None:
        raise OSError("compressed with zstd, which needs the tool zstd; install it, or decompress the file first")
    with subprocess.Popen([tool, "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise OSError("zstd could not be started with pipes")
        feeder = threading.Thread(target=_pump, args=(stream, process.stdin), daemon=True)
        feeder.start()
        try:
            yield process.stdout
        finally:
            process.stdout.close()
            feeder.join()
        if process.wait() != 0:
            raise EOFError(f"zstd ended with status {process.returncode}: the file is damaged or cut")


def _pump(stream: IO[bytes], into: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError), into:
        shutil.copyfileobj(stream, into)

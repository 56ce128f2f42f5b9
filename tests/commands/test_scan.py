"""`accelwatch scan`: documents, exit status, and what it can read."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from accelwatch import cli
from accelwatch.logs.episodes import Episodes
from accelwatch.logs.scanner import Scanner
from accelwatch.taxonomy.loader import load

KEYS = {
    "class", "severity", "vendor", "device", "pci", "code", "pid", "process", "rank", "message", "action", "first_seen",
    "last_seen", "count", "file", "line",
}  # fmt: skip
LOST = "[Sat Sep 19 16:18:02 2026] NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=python3, GPU has fallen off the bus.\n"
RETIRED = "NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper: New row marked for remapping, reset gpu to activate.\n"
CORRECTED = "pcieport 0000:00:03.1: AER: Correctable error message received from 0000:00:00.0\n"
APPLICATION = "NVRM: Xid (PCI:0000:3b:00): 13, pid=7, name=python3, Graphics SM Warp Exception\n"
ECHO = "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)\n"
SYMPTOM = (
    "[rank0]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=2, OpType=ALLREDUCE, Timeout(ms)=600000) "
    "ran for 600020 milliseconds before timing out.\n"
)


def scan(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """Exit status, the document's faults, standard error."""
    status = cli.main(["scan", "--json", *map(str, arguments)])
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert list(document) == ["faults"]
    return status, document["faults"], printed.err


def test_the_document_is_the_contract_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every key, times in RFC 3339 or null, the action as a sentence."""
    path = tmp_path / "dmesg"
    path.write_text("nothing\n" + LOST + LOST + RETIRED)
    status, faults, _ = scan(capsys, path)
    assert (status, [set(fault) for fault in faults]) == (2, [KEYS, KEYS])
    first, second = faults
    assert first["first_seen"] == first["last_seen"]
    assert first["first_seen"].startswith("2026-09-1")
    assert first["first_seen"].endswith("Z")
    expected = {
        "class": "device_lost", "severity": "run_ending", "vendor": "nvidia", "device": None, "pci": "0000:3b:00",
        "code": "79", "pid": 7, "process": "python3", "rank": None, "count": 2, "file": str(path), "line": 2,
    }  # fmt: skip
    assert {key: first[key] for key in expected} == expected
    assert first["message"] == LOST[LOST.index("NVRM") :].strip()
    assert first["action"].endswith(".")
    assert (second["code"], second["first_seen"], second["last_seen"], second["pid"]) == ("63", None, None, None)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("nothing\n", 0),
        ("", 0),
        (CORRECTED, 0),
        (ECHO, 0),
        (RETIRED, 1),
        (APPLICATION, 1),
        (SYMPTOM, 1),
        (APPLICATION + LOST, 2),
    ],
)
def test_the_exit_status_is_that_of_check(
    text: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the application did, a symptom, or an echo never exceeds 1."""
    path = tmp_path / "log"
    path.write_text(text)
    assert scan(capsys, path)[0] == status


def test_the_driver_s_own_verdict_is_the_action(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Xid 154 says what it asks for."""
    path = tmp_path / "log"
    path.write_text(ECHO)
    assert "reset the GPU" in scan(capsys, path)[1][0]["action"]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, lambda data: data])
def test_compressed_files_are_read(
    compress: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their content, whatever their name, also from standard input."""
    path = tmp_path / "log"
    path.write_bytes(compress(LOST.encode()))
    assert [fault["code"] for fault in scan(capsys, path)[1]] == ["79"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    status, faults, _ = scan(capsys, "-")
    assert (status, [(fault["code"], fault["file"]) for fault in faults]) == (2, [("79", "-")])


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_zstd_is_read_through_its_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged file says so."""
    packed = subprocess.run(["zstd", "-qc"], input=LOST.encode() * 10_000, capture_output=True, check=True).stdout
    path = tmp_path / "log.zst"
    path.write_bytes(packed)
    assert scan(capsys, path)[1][0]["count"] == 10_000
    path.write_bytes(packed[: len(packed) // 2])
    _, _, error = scan(capsys, path)
    assert "damaged or cut" in error


def test_without_zstd_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And cannot tell."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "log.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd garbage")
    status, _, error = scan(capsys, path)
    assert status == 3
    assert "install it, or decompress the file first" in error


def test_a_cut_file_gives_what_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run-ending fault stays one; else nobody can tell."""
    import random

    noise = "".join(f"{random.Random(n).random()}\n" for n in range(100_000))
    for text, status in ((LOST + noise, 2), (RETIRED + noise, 3)):
        path = tmp_path / "log.gz"
        packed = gzip.compress(text.encode())
        path.write_bytes(packed[: len(packed) // 2])
        got, faults, error = scan(capsys, path)
        assert (got, len(faults)) == (status, 1)
        assert "cannot be read to its end" in error


def test_what_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are still scanned."""
    path = tmp_path / "log"
    path.write_text(RETIRED)
    status, faults, error = scan(capsys, tmp_path / "absent", tmp_path, path)
    assert (status, len(faults)) == (3, 1)
    assert "absent: cannot be read to its end: No such file" in error
    assert "Is a directory" in error
    assert cli.main(["scan", str(path)]) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_files_saved_by_windows_tools_are_read(
    encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """UTF-16 and byte-order marks."""
    path = tmp_path / "log"
    path.write_bytes(("x\r\n" + LOST.replace("\n", "\r\n")).encode(encoding))
    assert [fault["line"] for fault in scan(capsys, path)[1]] == [2]


def test_the_same_fault_in_two_files_stands_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They may be of two nodes."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(LOST)
    assert [Path(fault["file"]).name for fault in scan(capsys, tmp_path / "a", tmp_path / "b")[1]] == ["a", "b"]


def test_the_list_is_short_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What ended runs first, each with its place and one action."""
    path = tmp_path / "log"
    path.write_text(RETIRED + LOST + SYMPTOM)
    assert cli.main(["scan", str(path)]) == 2
    text = capsys.readouterr().out
    assert text.index("ENDS A RUN (2)") < text.index("device_lost: Xid 79") < text.index("AT RISK (1)")
    assert "on nvidia 0000:3b:00 pid 7 python3 (line 2)" in text
    assert text.count("Do: ") == 3
    path.write_text("fine\n")
    assert cli.main(["scan", str(path)]) == 0
    assert capsys.readouterr().out == "No faults found.\n"


def test_a_storm_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody reads thousands of entries; the document has them all."""
    path = tmp_path / "log"
    path.write_text("".join(f"NVRM: Xid (PCI:0000:{n >> 5:02x}:{n & 31:02x}): 79, x\n" for n in range(2000)))
    cli.main(["scan", str(path)])
    text = capsys.readouterr().out
    assert "… and 1950 more (device_lost 1950); --json lists all" in text
    assert text.count("\n") < 300
    assert len(scan(capsys, path)[1]) == 2000


class Endless:
    """A kernel log of any length, made as it is read: one line of a thousand tells of a fault."""

    def __init__(self, size: int) -> None:
        line = b"Sep 19 16:18:02 node kernel: [68183.615790] device veth0123 entered promiscuous mode\n"
        fault = b"Sep 19 16:18:02 node kernel: [68183.615790] NVRM: Xid (PCI:0000:3b:00): 31, pid=7, name=a, x\n"
        self._block = line * 999 + fault
        self._left = size

    def read(self, size: int, /) -> bytes:
        """A whole number of blocks."""
        data = self._block * max(1, min(size, self._left) // len(self._block)) if self._left > 0 else b""
        self._left -= len(data)
        return data


def test_memory_does_not_grow_with_the_log() -> None:
    """20 MB cost no more than 2 MB."""

    def peak(size: int) -> int:
        episodes = Episodes(load())
        tracemalloc.start()
        for found in Scanner("x", lambda: 1.8e9).scan(Endless(size)):
            episodes.add(found)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(entry.count for entry in episodes.entries) > size / 100_000
        return top

    small = peak(2_000_000)
    assert peak(20_000_000) < small + 500_000

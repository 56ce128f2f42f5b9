"""The archive of `make bundle`: what is in it, that it is the same each time, and that a node can install from it.

`make test-bundle` does the same in fresh systems of both architectures, and for every Python.
"""

from __future__ import annotations

import getpass
import hashlib
import io
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile

import offline_bundle
import pytest
from wheel_closure import Target, missing

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
# Fewer than are shipped: each costs a second. This machine's Python, and the newest.
TARGETS = tuple(Target(cpu, python) for cpu in ("x86_64", "aarch64") for python in sorted({PYTHON, "3.14"}))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wheels")
    offline_bundle.fetch(folder, TARGETS, [*offline_bundle.needed(), offline_bundle.PIP])
    return folder


@pytest.fixture(scope="module")
def archive(wheels: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return offline_bundle.bundle(tmp_path_factory.mktemp("dist"), TARGETS, wheels)


def members(archive: pathlib.Path) -> dict[str, bytes]:
    with tarfile.open(archive) as packed:
        return {member.name.partition("/")[2]: packed.extractfile(member).read() for member in packed}  # type: ignore[union-attr]


def test_both_sums_hold_and_leave_nothing_out(archive: pathlib.Path) -> None:
    files = members(archive)
    sums = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"}
    beside = archive.with_name(archive.name + ".sha256").read_text()
    assert beside == f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n"


def test_each_target_has_wheels_of_all_that_the_agent_needs(archive: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    unpacked = list(tmp_path.glob("*/wheels/*.whl"))
    for target in TARGETS:
        assert missing(unpacked, ["accelwatch", "pip"], target) == []
    assert missing(unpacked, ["accelwatch"], Target("riscv64", PYTHON)), "compiled wheels were looked at"


def test_the_same_input_makes_the_same_bytes(
    archive: pathlib.Path, wheels: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    former = os.umask(0o077)
    try:
        again = offline_bundle.bundle(tmp_path, TARGETS, wheels)
    finally:
        os.umask(former)
    assert again.read_bytes() == archive.read_bytes()


def test_it_names_nobody_and_no_place(archive: pathlib.Path) -> None:
    with tarfile.open(archive) as packed:
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in packed} == {
            (0, 0, "", "", offline_bundle.commit_time())
        }
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    addresses = {word for word in told.stdout.replace("'", " ").replace("\\n", " ").split() if ":/" in word}
    traces = {str(offline_bundle.SOURCE), str(pathlib.Path.home()) + "/.", f"/home/{getpass.getuser()}", *addresses}
    for name, data in members(archive).items():
        if not name.startswith("wheels/"):
            texts = {name: data}
        elif "accelwatch-" in name:  # the others' are their authors'
            with zipfile.ZipFile(io.BytesIO(data)) as wheel:
                texts = {inner: wheel.read(inner) for inner in wheel.namelist()}
        else:
            continue
        for inner, text in texts.items():
            assert not [trace for trace in traces if trace.encode() in text], inner


def test_a_dependency_without_a_wheel_is_named_with_what_to_do(wheels: pathlib.Path, tmp_path: pathlib.Path) -> None:
    target = Target("aarch64", PYTHON)
    shutil.copytree(wheels / target.folder, tmp_path / "some")
    for wheel in (tmp_path / "some").glob("psutil-*"):
        wheel.unlink()
    with pytest.raises(offline_bundle.CannotBundle, match=rf"no wheel of psutil\S* for CPython {PYTHON} on aarch64"):
        offline_bundle.bundle(tmp_path / "out", [target], tmp_path / "some")
    # atheris has wheels for x86_64 alone.
    with pytest.raises(offline_bundle.CannotBundle, match=r"no wheel of atheris.* on aarch64[\s\S]*PIP_FIND_LINKS"):
        offline_bundle.collect(target, ["atheris>=3"], tmp_path / "none")


def on_node(folder: pathlib.Path, command: str) -> subprocess.CompletedProcess[str]:
    """`command` in a copy of this system with an empty network; skips the test where there can be none."""
    if os.geteuid():
        pytest.skip("namespaces and an overlay of / need root")
    overlay = ["unshare", "--mount", "--net", str(HERE / "in_overlay.sh"), str(folder)]
    possible = subprocess.run([*overlay, "true"], capture_output=True, text=True, check=False)
    if possible.returncode:
        pytest.skip(f"no namespaces or no overlay of / here: {possible.stderr.strip()}")
    environment = {"PATH": os.environ["PATH"], "PYTHON": sys._base_executable}  # type: ignore[attr-defined]
    return subprocess.run(
        [*overlay, command], capture_output=True, text=True, check=False, env=environment, timeout=300
    )


def unpack(archive: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
    """Where /archive/unpacked of a node is."""
    into.mkdir()
    with tarfile.open(archive) as packed:
        packed.extractall(into, filter="data")
    return next(into.iterdir()).rename(into / "unpacked")


def test_a_node_without_a_network_installs_and_answers(archive: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for path in (archive, archive.with_name(archive.name + ".sha256"), HERE / "on_node.sh"):
        shutil.copy2(path, tmp_path)
    done = on_node(tmp_path, "/archive/on_node.sh")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [device["health"] for device in answer["devices"]] == ["ok", "ok"]
    assert answer["faults"] == []


def test_what_was_damaged_is_refused(archive: pathlib.Path, tmp_path: pathlib.Path) -> None:
    unpacked = unpack(archive, tmp_path / "node")
    with next((unpacked / "wheels").glob("structlog-*")).open("r+b") as wheel:
        wheel.seek(1000)
        wheel.write(b"damaged")
    done = on_node(unpacked.parent, "! /archive/unpacked/systemd/install.sh --no-start && test ! -e /opt/accelwatch")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is not what was packed" in done.stderr


def test_a_node_that_the_wheels_do_not_fit_is_told(archive: pathlib.Path, tmp_path: pathlib.Path) -> None:
    unpacked = unpack(archive, tmp_path / "node")
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    sums = unpacked / "SHA256SUMS"
    kept = [line for line in sums.read_text().splitlines(keepends=True) if f"-{tag}-" not in line]
    sums.write_text("".join(kept))
    for wheel in (unpacked / "wheels").glob(f"*-{tag}-*"):
        wheel.unlink()
    done = on_node(unpacked.parent, "! /archive/unpacked/systemd/install.sh --no-start && test ! -e /opt/accelwatch")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"do not fit this node's Python {platform.python_version()} on {platform.machine()}" in done.stderr
    assert "They are for CPython" in done.stderr

"""`make bundle`: one archive with which systemd/install.sh installs accelwatch on a node without a network.

In it are the wheels of accelwatch, of all that the agent needs, and of pip, for every architecture and Python of
TARGETS; the installer, units, README and constraints; and SHA256SUMS over all of that. Its own sum lies beside
it. The same sources and wheels make the same bytes (with one zlib): members are sorted, owned by nobody in particular,
and as old as the commit; SOURCE_DATE_EPOCH (reproducible-builds.org) says another time.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from wheel_closure import GLIBC, Target, UnusableWheel, missing

SOURCE = pathlib.Path(__file__).resolve().parents[1]
TARGETS = tuple(
    Target(architecture, python)
    for architecture in ("x86_64", "aarch64")
    for python in ("3.11", "3.12", "3.13", "3.14")  # from requires-python to what the dependencies have wheels for
)
# Brought so that a node needs no python3-venv, and runs the same pip everywhere.
PIP = "pip==26.3"
FILES = ("CHANGELOG.md", "LICENSE", "README.md", "constraints.txt", "systemd")
NOT_FOR_NODES = ("offline_bundle.py", "wheel_closure.py", "require-packages.sh")


class CannotBundle(Exception):
    """Why there is no archive, and what to do."""


def pip(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """pip as the Makefile runs it: where it looks for packages is its own configuration's business."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )


def needed() -> list[str]:
    """What the agent's own process imports, by pyproject.toml; no extras."""
    return list(tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]["dependencies"])


def download(target: Target, requirements: Iterable[str], into: pathlib.Path) -> str:
    """Wheels that fit `target`; what pip says when there are none, else an empty string."""
    platforms = [word for platform in target.platforms() for word in ("--platform", platform)]
    done = pip(
        "download", "--dest", str(into), "--only-binary=:all:", "--implementation", "cp",
        "--python-version", target.python, *platforms, "-c", str(SOURCE / "constraints.txt"), *requirements,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


def collect(target: Target, requirements: Sequence[str], into: pathlib.Path) -> None:
    """All wheels for `target`, in `into`.

    pip reads a dependency's markers for the machine that it runs on, not for the one that it downloads for: what is
    still missing by the wheels' own word is asked for by name.
    """
    asked = list(requirements)
    while True:
        said = download(target, asked, into)
        absent = missing(into.glob("*.whl"), requirements, target)
        if not absent and not said:
            return
        if said or set(absent) <= set(asked):
            unnamed = re.findall(r"No matching distribution found for (\S+)", said)
            names = ", ".join(unnamed or absent or ["what is needed"])
            tail = "\n".join(line for line in said.splitlines() if line.startswith("ERROR"))
            raise CannotBundle(
                f"no wheel of {names} for {target}.\n{tail}\n"
                "A node has neither compiler nor network, so every dependency of the agent must have wheels for both\n"
                "architectures and each Python. Take a version that has them (constraints.txt), ask its authors,\n"
                "build one (`pip wheel NAME` there, then PIP_FIND_LINKS=FOLDER make bundle), or do without it."
            )
        asked += absent


def own_wheel(into: pathlib.Path, moment: int) -> pathlib.Path:
    """accelwatch itself, by the build tools of this environment: constraints.txt holds their versions."""
    done = pip(
        "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into), str(SOURCE),
        environment={"SOURCE_DATE_EPOCH": str(moment)},
    )  # fmt: skip
    if done.returncode:
        raise CannotBundle(f"accelwatch's own wheel cannot be built:\n{done.stderr}")
    return next(into.glob("accelwatch-*.whl"))


def commit_time() -> int:
    """Unix seconds of the commit, or SOURCE_DATE_EPOCH."""
    if told := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(told)
    git = ["git", "-C", str(SOURCE), "log", "-1", "--format=%ct"]
    try:
        return int(subprocess.run(git, capture_output=True, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        raise CannotBundle(
            f"{SOURCE} is no clone: SOURCE_DATE_EPOCH=<Unix seconds> says how old its files are"
        ) from None


def serves(targets: Sequence[Target]) -> str:
    """Whom the wheels fit, as the installer says it."""
    pythons = ", ".join(dict.fromkeys(target.python for target in targets))
    architectures = " and ".join(dict.fromkeys(target.architecture for target in targets))
    return f"CPython {pythons} on {architectures} with glibc {GLIBC[0]}.{GLIBC[1]} or later"


def contents(wheels: Iterable[pathlib.Path], targets: Sequence[Target]) -> dict[str, tuple[bytes, int]]:
    """Bytes and mode of each file of the archive, by its path in it; with SHA256SUMS over the others."""
    files: dict[str, tuple[bytes, int]] = {"wheels/FOR": (serves(targets).encode() + b"\n", 0o644)}
    for name in FILES:
        top = SOURCE / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.name not in NOT_FOR_NODES and "__pycache__" not in path.parts:
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                files[path.relative_to(SOURCE).as_posix()] = (path.read_bytes(), mode)
    for wheel in wheels:
        files[f"wheels/{wheel.name}"] = (wheel.read_bytes(), 0o644)
    sums = "".join(f"{hashlib.sha256(files[name][0]).hexdigest()}  {name}\n" for name in sorted(files))
    files["SHA256SUMS"] = (sums.encode(), 0o644)
    return files


def pack(files: dict[str, tuple[bytes, int]], folder: str, moment: int) -> bytes:
    """A .tar.gz in which everything lies in `folder`."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=9, mtime=moment) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(files):
            data, mode = files[name]
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(data), mode, moment
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def bundle(out: pathlib.Path, targets: Sequence[Target] = TARGETS, wheels: pathlib.Path | None = None) -> pathlib.Path:
    """The archive, in `out`, from the dependencies' wheels in `wheels`; without that they are downloaded.

    Raises CannotBundle, also when a wheel is there and does not fit what another asks for.
    """
    moment = commit_time()
    with tempfile.TemporaryDirectory(prefix="accelwatch-bundle-") as scratch:
        own = own_wheel(pathlib.Path(scratch), moment)
        requirements = [*needed(), PIP]
        if wheels is None:
            wheels = pathlib.Path(scratch, "wheels")
            fetch(wheels, targets, requirements)
        everything = {path.name: path for path in [own, *wheels.rglob("*.whl")]}
        for target in targets:
            if absent := missing(everything.values(), [*requirements, own.name.split("-")[0]], target):
                raise CannotBundle(f"no wheel of {', '.join(absent)} for {target} in {wheels}")
        folder = "-".join(own.name.split("-")[:2])
        packed = pack(contents(everything.values(), targets), folder, moment)
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"{folder}-offline.tar.gz"
    archive.write_bytes(packed)
    digest = hashlib.sha256(packed).hexdigest()
    archive.with_name(archive.name + ".sha256").write_text(f"{digest}  {archive.name}\n")
    return archive


def fetch(wheels: pathlib.Path, targets: Sequence[Target], requirements: Sequence[str]) -> None:
    """The dependencies' wheels, a folder for each target: what fits one must not hide what another lacks."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done in [pool.submit(collect, target, requirements, wheels / target.folder) for target in targets]:
            done.result()


def main() -> int:
    """Says where the archive is and how large; 1 with the reason where there is none."""
    parser = argparse.ArgumentParser(description="Builds the archive for nodes without a network.")
    parser.add_argument("--out", type=pathlib.Path, default=SOURCE / "dist")
    try:
        archive = bundle(parser.parse_args().out)
    except (CannotBundle, UnusableWheel) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB, for {serves(TARGETS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

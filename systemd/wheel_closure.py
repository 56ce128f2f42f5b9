"""Which of a set of wheels a Python on another machine would need, and which of them are not there.

By the wheels' own word: names by PEP 427, tags by PEP 425 and 600, dependencies and their markers from METADATA.
"""

from __future__ import annotations

import dataclasses
import email.parser
import pathlib
import zipfile
from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

# The oldest C library that a host with a Python 3.11 of its distribution has: RHEL 8, and those made from it.
GLIBC = (2, 28)
_OLDEST = 17  # manylinux2014; older tags go along with it


class UnusableWheel(Exception):
    """A file that ends in .whl and is none."""


@dataclasses.dataclass(frozen=True)
class Target:
    """An architecture as `uname -m` names it, and a CPython as `3.12`."""

    architecture: str
    python: str

    def __str__(self) -> str:
        return f"CPython {self.python} on {self.architecture}"

    @property
    def folder(self) -> str:
        """A name for files of this target alone."""
        return f"{self.architecture}-{self.python}"

    def platforms(self) -> list[str]:
        """Platform tags of wheels that run there, those first that ask the least of the host."""
        tags = [f"manylinux_2_{minor}_{self.architecture}" for minor in range(_OLDEST, GLIBC[1] + 1)]
        old = [f"manylinux2014_{self.architecture}"]
        if self.architecture == "x86_64":
            old += ["manylinux2010_x86_64", "manylinux1_x86_64"]
        return old + tags

    def tags(self) -> set[Tag]:
        """All tags of wheels that run there."""
        version = tuple(int(part) for part in self.python.split("."))
        interpreter = f"cp{version[0]}{version[1]}"
        platforms = self.platforms()
        return {*cpython_tags(version, platforms=platforms), *compatible_tags(version, interpreter, platforms)}

    def environment(self) -> dict[str, str]:
        """What dependency markers read (PEP 508)."""
        return {
            "implementation_name": "cpython", "implementation_version": f"{self.python}.0", "os_name": "posix",
            "platform_machine": self.architecture, "platform_python_implementation": "CPython", "platform_release": "",
            "platform_system": "Linux", "platform_version": "", "python_full_version": f"{self.python}.0",
            "python_version": self.python, "sys_platform": "linux", "extra": "",
        }  # fmt: skip


def dependencies(wheel: pathlib.Path) -> list[Requirement]:
    """What the wheel's METADATA asks for, extras and all; raises UnusableWheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            path = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            headers = email.parser.Parser().parsestr(archive.read(path).decode(), headersonly=True)
    except (zipfile.BadZipFile, StopIteration) as error:
        raise UnusableWheel(
            f"{wheel} is no wheel ({error or 'it has no METADATA'}): delete it and try again"
        ) from error
    return [Requirement(text) for text in headers.get_all("Requires-Dist", [])]


def missing(wheels: Iterable[pathlib.Path], wanted: Iterable[str], target: Target) -> list[str]:
    """Requirements that no wheel meets, of those of `wanted` and of all that these lead to, sorted."""
    tags, environment = target.tags(), target.environment()
    fitting: dict[str, list[tuple[pathlib.Path, str]]] = {}
    for wheel in wheels:
        name, version, _build, its_tags = parse_wheel_filename(wheel.name)
        if tags & its_tags:
            fitting.setdefault(name, []).append((wheel, str(version)))
    absent: set[str] = set()
    seen: set[str] = set()
    ahead = [Requirement(text) for text in wanted]
    while ahead:
        requirement = ahead.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        extras = [{**environment, "extra": extra} for extra in requirement.extras or {""}]
        here = [
            wheel
            for wheel, version in fitting.get(canonicalize_name(requirement.name), [])
            if requirement.specifier.contains(version, prereleases=True)
        ]
        if not here:
            absent.add(_without_marker(requirement))
        for wheel in here:
            ahead += [
                needed
                for needed in dependencies(wheel)
                if needed.marker is None or any(needed.marker.evaluate(values) for values in extras)
            ]
    return sorted(absent)


def _without_marker(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"

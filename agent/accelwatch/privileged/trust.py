"""Whether a program may be run as root for the agent's user."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

_LINKS_LIMIT = 40  # path_resolution(7)


def who_may_change(path: Path, uid: int, groups: Collection[int] = ()) -> str | None:
    """Where the agent's user `uid`, or everybody, may put another program at `path`; `None` where nobody may.

    `groups`: those that the asking process has beside the user's own, as a unit may give it some. Every directory and
    every link on the way counts; a sticky directory keeps others' entries. The driver's own account may own it: the
    host trusts it anyway. Raises `OSError`.
    """
    try:
        user = pwd.getpwuid(uid)
        writers = {*groups, *os.getgrouplist(user.pw_name, user.pw_gid)} - {0}
    except KeyError:
        writers = {*groups} - {0}
    for place in way(path):
        found = place.lstat()
        mode = found.st_mode
        if found.st_uid == uid != 0:
            return f"{place} belongs to the agent's user"
        # A link's own mode says nothing.
        if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
            continue
        if mode & stat.S_IWOTH:
            return f"{place} is writable by everybody"
        if mode & stat.S_IWGRP and found.st_gid in writers:
            return f"{place} is writable by a group of the agent's user"
    return None


def way(path: Path) -> Iterator[Path]:
    """What the kernel looks at on its way to `path`: each directory, each link, and where it leads."""
    place, links = Path("/"), 0
    yield place
    parts = list(path.absolute().parts[1:])
    while parts:
        name = parts.pop(0)
        if name == "..":
            place = place.parent
            continue
        yield place / name
        if not (place / name).is_symlink():
            place = place / name
            continue
        links += 1
        if links > _LINKS_LIMIT:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = Path(os.readlink(place / name))
        if target.is_absolute():
            place = Path("/")
        parts = [*(part for part in target.parts if part != "/"), *parts]

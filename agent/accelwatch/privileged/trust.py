"""Whether a program may be run as root for the agent's user."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path


def who_may_change(path: Path, uid: int) -> str | None:
    """Where the agent's user `uid`, or everybody, may put another program at `path`; `None` where nobody may.

    The directories above it count, of the path as given and as it resolves; a sticky one keeps others' entries. The
    driver's own account may own it: the host trusts it anyway. Raises `OSError`.
    """
    try:
        user = pwd.getpwuid(uid)
        groups = set(os.getgrouplist(user.pw_name, user.pw_gid)) - {0}
    except KeyError:
        groups = set()
    for whole in (path.absolute(), path.resolve()):
        for place in (whole, *whole.parents):
            found = place.lstat()
            mode = found.st_mode
            # A link's own mode says nothing, and where it leads is looked at.
            if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
                continue
            if found.st_uid == uid != 0:
                return f"{place} belongs to the agent's user"
            if mode & stat.S_IWOTH:
                return f"{place} is writable by everybody"
            if mode & stat.S_IWGRP and found.st_gid in groups:
                return f"{place} is writable by a group of the agent's user"
    return None

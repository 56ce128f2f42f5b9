"""Whether a program may be run as the site's command."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path

from accelwatch.privileged.trust import way

AGENT_USER = "accelwatch"  # as systemd/install.sh makes it


def problem(program: str) -> str | None:
    """What is wrong with the file at an absolute path, and what is expected; `None`: nothing.

    Whoever may change it, or put another in its place, says what the agent runs: root, and the agent's own user, who
    gains nothing by it. A group may write to the directories above (Debian's /usr/local), not to the file.
    """
    path = Path(program)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return f"{program}: no regular file; expected a program"
        if not found.st_mode & 0o111:
            return f"{program}: not executable; chmod 755 {program}"
        if found.st_uid not in _trusted():
            return f"{program}: belongs to user {found.st_uid}; expected root: chown root {program}"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{program}: writable by others than its owner; chmod 755 {program}"
        for place in way(path):
            mode = place.lstat().st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return f"{program}: {place} is writable by everybody, who may put another program there"
    except OSError as error:
        return f"{program}: {error.strerror}; expected a program there"
    return None


def _trusted() -> set[int]:
    users = {0, os.geteuid()}
    with contextlib.suppress(KeyError):
        users.add(pwd.getpwnam(AGENT_USER).pw_uid)
    return users

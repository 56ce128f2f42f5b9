"""What the helper runs as root."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from accelwatch.privileged.trust import who_may_change

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="gives files to other users: as root only")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid != 0 or (place.stat().st_mode & 0o1002) == 0o002:
            pytest.skip(f"{place} is not root's alone")
    path = tmp_path / "driver" / "tools" / "hccn_tool"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    path.parent.chmod(0o755)
    return path


def test_roots_own_is_run(tool: Path) -> None:
    assert who_may_change(tool, NOBODY.pw_uid) is None
    os.chown(tool.parent, 12345, 12345)  # the driver's own account
    assert who_may_change(tool, NOBODY.pw_uid) is None


def test_what_the_agents_user_owns_is_not(tool: Path) -> None:
    os.chown(tool.parent, NOBODY.pw_uid, -1)
    assert who_may_change(tool, NOBODY.pw_uid) == f"{tool.parent} belongs to the agent's user"


def test_what_everybody_may_write_is_not(tool: Path) -> None:
    tool.chmod(0o757)
    assert who_may_change(tool, NOBODY.pw_uid) == f"{tool} is writable by everybody"


def test_what_its_group_may_write_is_not(tool: Path) -> None:
    os.chown(tool.parent, 0, NOBODY.pw_gid)
    tool.parent.chmod(0o775)
    assert who_may_change(tool, NOBODY.pw_uid) == f"{tool.parent} is writable by a group of the agent's user"


def test_where_a_link_leads_counts(tool: Path) -> None:
    (tool.parent.parent / "link").symlink_to(tool)
    tool.chmod(0o757)
    assert who_may_change(tool.parent.parent / "link", NOBODY.pw_uid) == f"{tool} is writable by everybody"
    with pytest.raises(FileNotFoundError):
        who_may_change(tool.parent / "none", NOBODY.pw_uid)

"""What the helper runs as root."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

import pytest

from accelwatch.privileged.connections import _groups
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


def test_every_link_on_the_way_counts(tool: Path) -> None:
    """A chain of links, the middle one of which lies in a directory of the agent's user."""
    top = tool.parent.parent
    (top / "theirs").mkdir()
    (top / "theirs" / "middle").symlink_to(tool)
    (top / "link").symlink_to("theirs/middle")
    assert who_may_change(top / "link", NOBODY.pw_uid) is None
    os.chown(top / "theirs", NOBODY.pw_uid, -1)
    assert who_may_change(top / "link", NOBODY.pw_uid) == f"{top / 'theirs'} belongs to the agent's user"
    (top / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        who_may_change(top / "round", NOBODY.pw_uid)


def test_a_sticky_directory_protects_from_all_but_its_owner_and_the_entrys(tool: Path) -> None:
    top = tool.parent.parent
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o1777)
    link = top / "sticky" / "hccn_tool"
    link.symlink_to(tool)
    assert who_may_change(link, NOBODY.pw_uid) is None
    os.chown(link, NOBODY.pw_uid, -1, follow_symlinks=False)
    assert who_may_change(link, NOBODY.pw_uid) == f"{link} belongs to the agent's user"
    os.chown(link, 0, -1, follow_symlinks=False)
    os.chown(top / "sticky", NOBODY.pw_uid, -1)
    assert who_may_change(link, NOBODY.pw_uid) == f"{top / 'sticky'} belongs to the agent's user"


def test_a_group_that_its_unit_gives_the_agent_counts(tool: Path) -> None:
    os.chown(tool.parent, 0, 12345)
    tool.parent.chmod(0o775)
    assert who_may_change(tool, NOBODY.pw_uid) is None
    assert who_may_change(tool, NOBODY.pw_uid, {12345}) == f"{tool.parent} is writable by a group of the agent's user"
    assert _groups_of_a_peer(12345) >= {12345, NOBODY.pw_gid}


def _groups_of_a_peer(group: int) -> frozenset[int]:
    """As the helper sees them, of a process of nobody that has another group beside its own."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # autobind: unix(7)
        listener.listen()
        name = listener.getsockname().decode("latin-1")
        program = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({name!r}); s.recv(1)"
        with subprocess.Popen(
            ["/usr/bin/env", "python3", "-c", program], user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[group]
        ):
            listener.settimeout(60)
            client, _ = listener.accept()
            with client:
                return _groups(client)

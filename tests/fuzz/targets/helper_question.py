"""Questions to the root helper: the agent's user may be somebody else's by then."""

import errno
import json
import os
import socket
from pathlib import Path
from tempfile import mkdtemp

from accelwatch.privileged import wire
from accelwatch.privileged.helper import Helper

PROC = Path(mkdtemp(prefix="accelwatch-fuzz-"))
for _pid, _target in ((7, "/dev/davinci3"), (8, "/home/user/secret")):
    (PROC / str(_pid) / "fd").mkdir(parents=True)
    (PROC / str(_pid) / "fd" / "0").symlink_to(_target)
    (PROC / str(_pid) / "environ").write_bytes(b"RANK=3\0SECRET=s3cr3t\0")
LOG = PROC / "kmsg"
LOG.write_bytes(b"")
HELPER = Helper(socket.socket(), 0, proc=PROC, kernel_log=LOG, hccn_tool="/nonexistent/hccn_tool")


def seeds() -> list[bytes]:
    questions = (
        {"ask": "kernel_log"}, {"ask": "open_files", "pid": 7}, {"ask": "environment", "pid": 7},
        {"ask": "environment", "pid": 8}, {"ask": "traffic", "pid": 7}, {"ask": "open_files", "pid": 9},
        {"ask": "hccn_tool", "arguments": ["-i", "0", "-link", "-g"], "timeout": 5.0},
        {"ask": "hccn_tool", "arguments": ["-g", "-stat", "-i", "3", "-u", "0", "-p", "1"], "timeout": 5.0},
        {"ask": "nothing"}, [1], None,
    )  # fmt: skip
    return [json.dumps(question).encode() for question in questions]


def one(data: bytes) -> None:
    answer, opened = HELPER._answer(data)
    raw = answer.line()
    assert b"secret" not in raw.lower() or b"no such question" in raw
    assert wire.answer(raw).line() == raw
    if opened is not None:
        assert os.readlink(f"/proc/self/fd/{opened}") == str(LOG)
        os.close(opened)
    if answer.error is not None:
        assert answer.number in (errno.EINVAL, errno.ENOENT), answer

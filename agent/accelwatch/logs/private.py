"""What of a log line is a user's own: paths, of which only the last name is told."""

from __future__ import annotations

import re

# Of the system itself, and needed to find the device.
_SYSTEM = ("/dev/", "/proc/", "/sys/")
_END = r"\s'\"`()\[\]{}<>,;:=|"
# Two names and more with a letter in them, where a path can begin: not within a word or an address, and no date.
_PATH = re.compile(rf"(?<![\w./~-])(?=[\d./-]*[^\d./{_END}])[~\w.-]*/(?:[^/{_END}]+/)+([^/{_END}]*)")


def without_directories(text: str) -> str:
    """The text with `/home/user/model/train.py` as `train.py`; paths under /dev, /proc and /sys stay.

    A directory with a blank in its name is not known as one.
    """
    return _PATH.sub(lambda match: match[0] if match[0].startswith(_SYSTEM) else match[1] or "…", text)

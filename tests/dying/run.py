"""`make dying`: every way in which a driver dies, on a node of its own each, and what the agent did. About three minutes.

python -m dying.run [WORD ...]       only the scenes with these words in their names
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from dying.node import Node
from dying.play import HEAD, play
from dying.scenes import SCENES, Unavailable


def main() -> int:
    """1 when a scene did not go as it must."""
    failed = 0
    print(HEAD, flush=True)
    for scene in SCENES:
        if not all(word in scene.name for word in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory() as directory:
            node = Node(Path(directory), scene.vendors)
            try:
                print(play(node, scene).row(), flush=True)
            except AssertionError as error:
                failed += 1
                print(f"{scene.name:58} FAILED: {error}", flush=True)
                print((Path(directory) / "agent.log").read_text()[-1500:], flush=True)
            except Unavailable as why:
                print(f"{scene.name:58} not played: {why}", flush=True)
            finally:
                node.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

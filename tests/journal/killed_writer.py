"""Writers that are killed in the middle of it: `python killed_writer.py DIRECTORY KILLS SEED`; for `test_kill`.

Each round forks a child that writes as fast as it can and names each commit that its ticket says is on disk. After a
random time it is killed. Prints one JSON line per round: what was acknowledged, and what a reader then finds.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from accelwatch.journal.changes import Changes
from accelwatch.journal.reading import read_faults
from accelwatch.journal.rows import CounterRow, JournalError
from accelwatch.journal.writer import Writer
from journal_rows import episode


def write(directory: Path, acknowledgements: int) -> None:
    """Commits of two episodes, a counter and a cursor each, for ever."""
    writer = Writer(directory, lambda _: None)
    loaded = writer.open()
    writer.start()
    number = loaded.next_episode_id
    while True:
        changes = Changes(
            episodes=[episode(number, message="m" * 900), episode(number + 1)],
            counters=[CounterRow("host", "episodes", "all", float(number + 1), None)],
            cursors={"kernel_log": f"boot {number + 1}"},
        )
        if writer.put(changes).wait(10.0):
            os.write(acknowledgements, f"{number + 1}\n".encode())
        number += 2


def main() -> None:
    """See the module."""
    directory, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    for _ in range(kills):
        read, acknowledgements = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            write(directory, acknowledgements)
        os.close(acknowledgements)
        time.sleep(chance.uniform(0.002, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(read) as lines:
            told = [int(line) for line in lines]
        try:
            found = [e.id for e in read_faults(directory, 0.0)]
        except JournalError:  # killed before it had made one
            found = []
        print(json.dumps({"told": told, "found": found}), flush=True)


if __name__ == "__main__":
    main()

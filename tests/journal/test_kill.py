"""kill -9 while the journal is written."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from accelwatch.journal.store import Store

KILLS, SEED = 100, 20261
ROOT = Path(__file__).parents[2]


def test_nothing_acknowledged_is_lost_and_no_commit_is_half_there_after_100_kills(tmp_path: Path) -> None:
    """Each ticket that was true is in the file, commits are whole, counter and cursor are those of the last one."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_writer.py")), str(tmp_path), str(KILLS), str(SEED)],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'agent'}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=400,
    )
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == KILLS
    told: set[int] = set()
    for each in rounds:
        told.update(each["told"])
        found = each["found"]
        assert told <= set(found)
        assert found == list(range(1, len(found) + 1))
        assert len(found) % 2 == 0
    assert len(told) > KILLS  # most of the children came to write
    loaded = Store(tmp_path).load(0.0)
    last = loaded.next_episode_id - 1
    assert [e.id for e in loaded.episodes] == list(range(1, last + 1))
    assert [row.total for row in loaded.counters] == [last]
    assert loaded.cursors == {"kernel_log": f"boot {last}"}
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()

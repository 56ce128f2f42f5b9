"""What the journal lets go of, in steps short enough that a commit never waits for one."""

from __future__ import annotations

import sqlite3

# A report covers a year, and a month more for whoever is late with it.
KEEP_SECONDS = 400 * 86400.0
LIMIT_BYTES = 256 << 20
# Measured: 200 rows of 1.5 kB go in 5 ms, 100 pages are given back in 3 ms (plus one fsync each).
_STEP_ROWS, _STEP_PAGES = 200, 100
# A file that gets some pages back needs them again soon.
_FREE_PAGES_KEPT = 256
# The latest decisions on the site's command stay whatever their age, about 2 MB: an incident that is still active must
# not be decided on twice.
_REMEDIATIONS_KEPT = 2000
_DELETE = {
    "episodes": "DELETE FROM episodes WHERE id = ?",
    "runs": "DELETE FROM runs WHERE rowid = ?",
    "remediations": "DELETE FROM remediations WHERE id = ?",
}


def delete(db: sqlite3.Connection, now: float, keep_seconds: float, limit_bytes: int) -> bool:
    """Deletes some of what is too old, or else of the oldest while the file is too large; true: there may be more.

    Never active episodes, open runs, or counters. `now` in seconds since the epoch. Inside a transaction.
    """
    cutoff = now - keep_seconds
    old = db.execute(
        "DELETE FROM episodes WHERE id IN "
        "(SELECT id FROM episodes WHERE changed < ? AND NOT active ORDER BY changed LIMIT ?)",
        (cutoff, _STEP_ROWS),
    ).rowcount
    old += db.execute(
        "DELETE FROM runs WHERE rowid IN (SELECT rowid FROM runs WHERE until < ? ORDER BY until LIMIT ?)",
        (cutoff, _STEP_ROWS),
    ).rowcount
    old += db.execute(
        "DELETE FROM remediations WHERE id IN (SELECT id FROM remediations "
        "WHERE at < ? AND id <= (SELECT max(id) FROM remediations) - ? ORDER BY at LIMIT ?)",
        (cutoff, _REMEDIATIONS_KEPT, _STEP_ROWS),
    ).rowcount
    if old:
        return True
    if _used_bytes(db) <= limit_bytes:
        return False
    # The oldest of all kinds together, so that a run and the fault that ended it go at about the same time.
    oldest = db.execute(
        "SELECT * FROM (SELECT changed AS at, 'episodes', id FROM episodes WHERE NOT active ORDER BY changed LIMIT ?) "
        "UNION ALL "
        "SELECT * FROM (SELECT until, 'runs', rowid FROM runs WHERE until IS NOT NULL ORDER BY until LIMIT ?) "
        "UNION ALL "
        "SELECT * FROM (SELECT at, 'remediations', id FROM remediations "
        "WHERE id <= (SELECT max(id) FROM remediations) - ? ORDER BY at LIMIT ?) "
        "ORDER BY 1 LIMIT ?",
        (_STEP_ROWS, _STEP_ROWS, _REMEDIATIONS_KEPT, _STEP_ROWS, _STEP_ROWS),
    ).fetchall()
    for table, delete_one in _DELETE.items():
        db.executemany(delete_one, [(row,) for _, of, row in oldest if of == table])
    return bool(oldest)


def give_back(db: sqlite3.Connection) -> bool:
    """Returns some unused pages to the file system; true: there are more. Outside a transaction."""
    free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
    incremental = int(db.execute("PRAGMA auto_vacuum").fetchone()[0]) == 2
    if free <= _FREE_PAGES_KEPT or not incremental:
        return False
    db.execute(f"PRAGMA incremental_vacuum({_STEP_PAGES})").fetchall()
    return free - _STEP_PAGES > _FREE_PAGES_KEPT


def _used_bytes(db: sqlite3.Connection) -> int:
    pages, free, size = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size

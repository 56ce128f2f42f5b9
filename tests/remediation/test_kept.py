"""Decisions outlive the journal's own troubles: a file that is damaged, or there only later, loses none that is held."""

from __future__ import annotations

from pathlib import Path

from accelwatch.journal.changes import REMEDIATIONS_KEPT, Changes, Pending
from accelwatch.journal.late import LateJoin
from accelwatch.journal.loaded import Loaded
from accelwatch.journal.store import Store
from accelwatch.journal.writer import Writer
from journal_rows import WALL, remediation


def test_a_journal_that_is_begun_anew_still_has_them(tmp_path: Path) -> None:
    """The file is replaced by rubbish while the agent runs: what it knows goes into the next one."""
    Store(tmp_path).write(Changes(remediations=[remediation(1)]))
    writer = Writer(tmp_path, lambda _problem: None, wall=lambda: WALL)
    assert [row.id for row in writer.open().remediations] == [1]
    writer.put(Changes(remediations=[remediation(2)]))
    writer.flush()
    writer._let_go()
    for end in ("-wal", "-shm"):
        Path(f"{tmp_path / 'journal.db'}{end}").unlink(missing_ok=True)
    (tmp_path / "journal.db").write_bytes(b"no database at all" * 500)
    writer.put(Changes(remediations=[remediation(3)]))
    writer.flush()
    writer._let_go()
    again = Store(tmp_path).load(WALL)
    assert ([row.id for row in again.remediations], again.next_remediation_id) == ([1, 2, 3], 4)


def test_a_journal_that_could_not_be_read_says_so(tmp_path: Path) -> None:
    """What was run before is not known then, so nothing is run."""
    assert Writer(tmp_path / "new", lambda _problem: None, wall=lambda: WALL).open().read
    (tmp_path / "file").write_text("in the way of the directory")
    assert not Writer(tmp_path / "file", lambda _problem: None, wall=lambda: WALL).open().read


def test_those_of_an_agent_that_came_before_its_file_get_the_files_time() -> None:
    join = LateJoin(Loaded(), 1)
    assert join.join(Changes(remediations=[remediation(5)])).remediations == [remediation(5)]


def test_what_is_held_for_such_a_file_is_bounded() -> None:
    pending = Pending()
    many = Changes(remediations=[remediation(n) for n in range(REMEDIATIONS_KEPT + 100)])
    pending.add(many)
    pending.drop_over(many)
    kept = pending.changes().remediations
    assert (len(kept), kept[0].id) == (REMEDIATIONS_KEPT, 100)

"""The journal's versions, its archives, and reading both beside whoever writes."""

from __future__ import annotations

import sqlite3
from concurrent.futures import wait
from pathlib import Path

import msgspec
import pytest

from console.engine import journal_archive
from console.engine.journal import Journal
from console.engine.journal_archive import prune
from console.engine.journal_files import StateDirLocked, chain_hash
from console.engine.journal_reader import JournalReader, journals_in
from console.engine.journal_schema import (
    MIGRATIONS,
    SCHEMA_VERSION,
    JournalError,
    Migration,
    create_schema,
    version_of,
)

DAY = 86_400 * 10**9
NAME = "journal-demo.db"


class Wall:
    """A wall clock under the test's hand."""

    def __init__(self) -> None:
        self.ns = DAY

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def path(state_dir: Path) -> Path:
    return state_dir / NAME


def write(state_dir: Path, wall: Wall, *rows: tuple[str, str, bool | None, str]) -> None:
    """Rows (kind, subject, is_open, key), and a day goes by after each."""
    journal = Journal.open(state_dir, name=NAME, wall_ns=wall)
    for kind, subject, is_open, key in rows:
        keys = [key] if key else []
        journal.append(kind, subject, {"text": subject}, is_open=is_open, keys=keys).result(30)
        wall.ns += DAY
    journal.close()


def of_days(state_dir: Path, wall: Wall) -> None:
    """Ten days: an old order that still works, one that ended, the trading state, new rows."""
    write(
        state_dir,
        wall,
        ("trading-state", "trading-state", True, ""),
        ("order", "old-open", True, "id:broker-1"),
        ("order", "old-done", True, "id:broker-2"),
        ("fill", "old-done", None, "exec:e-1"),
        ("order", "old-done", False, ""),
        *[("order", f"new-{n}", True, f"cmd:c-{n}") for n in range(5)],
    )


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()


# -- versions --------------------------------------------------------------------------------------


def of_the_first_version(path: Path, rows: int) -> None:
    """A file as the first version wrote it, tables by hand."""
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.executescript("""
        CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        INSERT INTO meta VALUES ('schema_version', '1');
        CREATE TABLE journal (
            seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, market_at INTEGER, kind TEXT NOT NULL,
            subject TEXT NOT NULL, body TEXT NOT NULL, is_open INTEGER, keys TEXT NOT NULL,
            hash BLOB NOT NULL
        ) STRICT;
        CREATE INDEX journal_subject ON journal (subject, seq);
        CREATE TABLE latest (
            subject TEXT PRIMARY KEY, seq INTEGER NOT NULL, is_open INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE keys (key TEXT PRIMARY KEY, subject TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """)
    previous = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    for seq in range(1, rows + 1):
        row = (seq, seq * DAY, None, "order", f"o-{seq}", b"{}", True, ())
        previous = chain_hash(previous, *row)
        connection.execute(
            "INSERT INTO journal VALUES (?,?,?,?,?,?,?,?,?)",
            (seq, seq * DAY, None, "order", f"o-{seq}", "{}", 1, "", previous),
        )
        connection.execute("INSERT INTO latest VALUES (?,?,1)", (f"o-{seq}", seq))
    connection.commit()
    connection.close()


def test_a_file_of_the_first_version_is_brought_up_and_loses_nothing(path: Path) -> None:
    of_the_first_version(path, 5)
    with JournalReader(path) as reader:
        assert [part.verdict.sound for part in reader.verify()] == [True]
    assert query(path, "SELECT value FROM meta") == [("1",)], "reading migrates nothing"
    journal = Journal.open(path.parent, name=NAME)
    assert journal.opened.sound
    assert [row.subject for row in journal.open_subjects()] == [f"o-{n}" for n in range(1, 6)]
    assert journal.append("order", "o-6", {}, is_open=True).result(30) == 6
    assert journal.verify().sound
    journal.close()
    assert query(path, "SELECT value FROM meta") == [(str(SCHEMA_VERSION),)]
    assert query(path, "SELECT count(*) FROM archives") == [(0,)]
    assert prune(path, before_ns=3 * DAY).last == 2


def test_every_step_is_taken_once_and_in_order(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.db")
    create_schema(connection, MIGRATIONS[:1])
    assert version_of(connection) == 1
    later = (
        *MIGRATIONS,
        Migration(SCHEMA_VERSION + 1, ("CREATE TABLE steps (n)", "INSERT INTO steps VALUES (1)")),
        Migration(SCHEMA_VERSION + 2, ("INSERT INTO steps SELECT n + 1 FROM steps",)),
    )
    for _ in range(2):
        create_schema(connection, later)
        assert connection.execute("SELECT n FROM steps").fetchall() == [(1,), (2,)]
        assert version_of(connection) == SCHEMA_VERSION + 2
    connection.close()


def test_a_step_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.db")
    broken = Migration(
        SCHEMA_VERSION + 1, ("CREATE TABLE half (n)", "INSERT INTO nowhere SELECT 1")
    )
    with pytest.raises(sqlite3.OperationalError):
        create_schema(connection, (*MIGRATIONS, broken))
    assert version_of(connection) == SCHEMA_VERSION
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    assert "half" not in names
    assert "archives" in names
    connection.close()


def test_a_newer_file_is_not_read_either(path: Path) -> None:
    of_the_first_version(path, 1)
    query(path, "UPDATE meta SET value='99'")
    with pytest.raises(JournalError, match="version 99"):
        JournalReader(path)


# -- archives --------------------------------------------------------------------------------------


def test_what_is_pruned_lies_in_a_second_file_and_both_verify_together(
    state_dir: Path, path: Path
) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    done = prune(path, before_ns=6 * DAY, wall_ns=wall)
    assert (done.first, done.last, done.carried) == (1, 5, 2)
    assert done.archive.stat().st_mode & 0o077 == 0
    with JournalReader(path) as reader:
        parts = reader.verify()
        assert [(p.path, p.first, p.last, p.verdict.sound) for p in parts] == [
            (done.archive, 1, 5, True),
            (path, 6, 13, True),
        ]
        assert [row.seq for row in reader.rows()] == list(range(1, 14))
        assert reader.subject_of("broker-2") == "old-done"
        assert [row.kind for row in reader.rows(subject="old-done")] == ["order", "fill", "order"]
    assert journals_in(state_dir) == [path]


def test_what_is_open_is_found_at_the_next_start_also_by_its_ids(
    state_dir: Path, path: Path
) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    prune(path, before_ns=6 * DAY, wall_ns=wall)
    journal = Journal.open(state_dir, name=NAME, wall_ns=wall)
    assert {row.subject for row in journal.open_subjects()} == {
        "trading-state", "old-open", *(f"new-{n}" for n in range(5)),
    }  # fmt: skip
    assert msgspec.json.decode(journal.latest("trading-state").body) == {"text": "trading-state"}
    assert journal.subject_of("id:broker-1") == "old-open"
    assert journal.subject_of("cmd:c-3") == "new-3"
    assert journal.latest("old-done") is None
    assert journal.append("order", "next", {}, is_open=True).result(30) == 14
    assert journal.verify().sound
    journal.close()


def test_pruning_goes_on_where_it_left_off(state_dir: Path, path: Path) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    first = prune(path, before_ns=4 * DAY, wall_ns=wall)
    second = prune(path, before_ns=9 * DAY, wall_ns=wall)
    assert (first.last, second.first) == (3, 4)
    assert prune(path, before_ns=9 * DAY, wall_ns=wall) is None
    with JournalReader(path) as reader:
        parts = reader.verify()
        assert [part.verdict.sound for part in parts] == [True] * 3
        assert [row.seq for row in reader.rows()] == list(range(1, parts[-1].last + 1))


def test_everything_may_be_pruned_and_the_numbers_go_on(state_dir: Path, path: Path) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    done = prune(path, before_ns=100 * DAY, wall_ns=wall)
    assert done.last == 10
    journal = Journal.open(state_dir, name=NAME, wall_ns=wall)
    assert len(list(journal.open_subjects())) == 7
    assert journal.verify().sound
    journal.close()


def test_a_running_engine_keeps_its_rows(state_dir: Path, path: Path) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    journal = Journal.open(state_dir, name=NAME)
    with pytest.raises(StateDirLocked):
        prune(path, before_ns=6 * DAY)
    journal.close()


def test_an_archive_that_cannot_be_written_costs_no_row(state_dir: Path, path: Path) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    taken = state_dir / "taken.db"
    for target in (taken, state_dir / "nowhere" / "archive.db"):
        Journal.open(state_dir, name="taken.db").close()
        with pytest.raises(JournalError):
            prune(path, before_ns=6 * DAY, to=target, wall_ns=wall)
        with JournalReader(path) as reader:
            (part,) = reader.verify()
        assert (part.first, part.verdict.sound) == (1, True)


@pytest.mark.parametrize("at", ["_flush", "_holds"])
def test_a_run_broken_off_halfway_is_finished_by_the_next(
    state_dir: Path, path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    true, calls = getattr(journal_archive, at), []

    def die_at_the_last(*given: object) -> object:
        calls.append(given)
        if at == "_holds" or len(calls) == 2:
            raise OSError("the power went")
        return true(*given)

    with monkeypatch.context() as patched:
        patched.setattr(journal_archive, at, die_at_the_last)
        with pytest.raises(JournalError, match="the power went"):
            prune(path, before_ns=6 * DAY, wall_ns=wall)
    with JournalReader(path) as reader:
        assert [part.first for part in reader.verify()] == [1]
    assert prune(path, before_ns=6 * DAY, wall_ns=wall).last == 5
    with JournalReader(path) as reader:
        assert all(part.verdict.sound for part in reader.verify())


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE journal SET body='{}' WHERE seq=2",
        "DELETE FROM journal WHERE seq=5",
        "DELETE FROM journal WHERE seq=1",
        None,
    ],
)
def test_an_archive_that_was_changed_or_is_gone_is_noticed(
    state_dir: Path, path: Path, harm: str | None
) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    archive = prune(path, before_ns=6 * DAY, wall_ns=wall).archive
    if harm is None:
        archive.unlink()
    else:
        query(archive, harm)
    with JournalReader(path) as reader:
        old, own = reader.verify()
    assert not old.verdict.sound
    assert old.verdict.problem
    assert own.verdict.sound


def test_a_damaged_journal_is_salvaged_with_its_archives(state_dir: Path, path: Path) -> None:
    wall = Wall()
    of_days(state_dir, wall)
    prune(path, before_ns=6 * DAY, wall_ns=wall)
    query(path, "UPDATE journal SET body='{}' WHERE seq=12")
    journal = Journal.open(state_dir, name=NAME, wall_ns=wall)
    assert (journal.opened.broken_at, journal.opened.rows) == (12, 11)
    assert journal.append("order", "next", {}, is_open=True).result(30) == 12
    journal.close()
    with JournalReader(path) as reader:
        assert all(part.verdict.sound for part in reader.verify())


def test_it_is_read_beside_the_writer_as_of_one_moment(state_dir: Path, path: Path) -> None:
    journal = Journal.open(state_dir, name=NAME)
    wait([journal.append("order", "a", {"text": "a"}, is_open=True) for _ in range(50)], 30)
    with JournalReader(path) as reader:
        wait([journal.append("order", "b", {"text": "b"}, is_open=True) for _ in range(50)], 30)
        assert reader.verify()[0].last == 50
        assert reader.last_seq == 50
    with JournalReader(path) as reader:
        assert [row.subject for row in reader.newest(2)] == ["b", "b"]
        assert reader.verify()[0].last == 100
    journal.close()

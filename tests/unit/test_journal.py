"""The journal: what is promised of it when the disk, the process or somebody's hand fails."""

import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.engine.journal import FILE_NAME, GROUP, Journal, JournalClosed, RowRefused
from console.engine.journal_files import JournalError, StateDirLocked
from console.engine.unwritten import Rows


@contextlib.contextmanager
def full_disk(state_dir: Path) -> Iterator[None]:
    """No file of this process may grow beyond what the journal's largest has: EFBIG, for real."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in state_dir.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


def write(state_dir: Path, count: int, subject: str = "order-1") -> None:
    journal = Journal.open(state_dir)
    wait([journal.append("order", subject, {"n": n}, is_open=True) for n in range(count)], 30)
    journal.close()


def bodies(journal: Journal) -> list[int]:
    return [msgspec.json.decode(row.body)["n"] for row in journal.rows()]


async def test_a_committed_row_is_there_after_the_process_has_gone(state_dir):
    journal = Journal.open(state_dir)
    assert await journal.commit("order", "a", {"n": 1}, is_open=True, keys=("cmd:1",)) == 1
    other = sqlite3.connect(state_dir / FILE_NAME)
    assert other.execute("SELECT kind, subject, body FROM journal").fetchall() == [
        ("order", "a", '{"n":1}')
    ]
    other.close()
    journal.close()


def test_rows_are_numbered_without_a_gap_over_restarts(state_dir):
    for _ in range(3):
        write(state_dir, 5)
    journal = Journal.open(state_dir)
    assert [row.seq for row in journal.rows()] == list(range(1, 16))
    assert journal.verify().sound
    journal.close()


async def test_many_that_wait_share_a_flush(state_dir):
    journal = Journal.open(state_dir)
    before = journal.flushes
    numbers = await asyncio.gather(*(journal.commit("order", str(n), {}) for n in range(200)))
    assert sorted(numbers) == list(range(1, 201))
    # The first may go alone and the rest pile up behind it; 200 flushes it never is.
    assert journal.flushes - before < 40
    journal.close()


def test_a_group_is_bounded(state_dir):
    journal = Journal.open(state_dir)
    futures = [journal.append("n", "x", {"n": n}) for n in range(3 * GROUP)]
    assert not wait(futures, 30).not_done
    assert bodies(journal) == list(range(3 * GROUP))
    journal.close()


def test_what_is_open_what_is_newest_and_whose_key_it_is(state_dir):
    journal = Journal.open(state_dir)
    rows = [
        journal.append("order", "a", {"n": 1}, is_open=True, keys=("cmd:x", "id:1")),
        journal.append("order", "b", {"n": 2}, is_open=True),
        journal.append("note", "a", {"n": 3}),
        journal.append("order", "b", {"n": 4}, is_open=False),
    ]
    wait(rows, 30)
    journal.close()
    journal = Journal.open(state_dir)
    assert [row.subject for row in journal.open_subjects()] == ["a"]
    assert msgspec.json.decode(journal.latest("a").body) == {"n": 1}
    assert journal.latest("b").is_open is False
    assert [row.seq for row in journal.story("a")] == [1, 3]
    assert (journal.subject_of("cmd:x"), journal.subject_of("id:1")) == ("a", "a")
    assert journal.subject_of("cmd:y") is None
    journal.close()


def test_a_second_engine_on_the_same_directory_is_refused(state_dir):
    journal = Journal.open(state_dir)
    with pytest.raises(StateDirLocked, match=str(os.getpid())) as refused:
        Journal.open(state_dir)
    assert refused.value.exit_code == 73
    journal.close()
    Journal.open(state_dir).close()


def test_the_file_is_its_owners_alone(state_dir):
    write(state_dir, 1)
    assert (state_dir / FILE_NAME).stat().st_mode & 0o077 == 0
    assert state_dir.stat().st_mode & 0o077 == 0


async def test_a_caller_that_goes_away_takes_neither_its_row_nor_the_writer_along(state_dir):
    journal = Journal.open(state_dir)
    task = asyncio.create_task(journal.commit("order", "a", {"n": 0}))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await journal.commit("order", "a", {"n": 1}) == 2
    assert bodies(journal) == [0, 1]
    journal.close()


async def test_rows_that_nobody_waits_for_are_on_disk_soon_and_before_what_follows(state_dir):
    journal = Journal.open(state_dir)
    early = [journal.append("update", "a", {"n": n}) for n in range(3)]
    assert await journal.commit("order", "a", {"n": 3}) == 4
    assert all(future.done() for future in early)
    assert wait([journal.append("update", "a", {"n": 4})], 30).done
    await journal.settled()
    assert bodies(journal) == [0, 1, 2, 3, 4]
    journal.close()


async def test_nothing_is_taken_once_it_is_closed(state_dir):
    journal = Journal.open(state_dir)
    journal.close()
    journal.close()
    with pytest.raises(JournalClosed):
        await journal.commit("order", "a", {})


async def test_a_disk_that_fails_is_an_error_for_each_that_waits_and_it_goes_on_after(state_dir):
    journal = Journal.open(state_dir)
    await journal.commit("order", "a", {"n": 0})
    with full_disk(state_dir):
        with pytest.raises(JournalError, match=FILE_NAME):
            await journal.commit("order", "a", {"n": "x" * 100_000})
        assert journal.failure is not None
    assert await journal.commit("order", "a", {"n": 1}) == 2
    assert journal.failure is None
    assert journal.verify().sound
    journal.close()


# -- damage ----------------------------------------------------------------------------------------


def damage(state_dir: Path, statement: str) -> None:
    connection = sqlite3.connect(state_dir / FILE_NAME)
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET body='{\"n\":99}' WHERE seq=7",
        "UPDATE journal SET at=at+1 WHERE seq=7",
        "UPDATE journal SET subject='other' WHERE seq=7",
        "UPDATE journal SET is_open=0 WHERE seq=7",
        "UPDATE journal SET keys='cmd:forged' WHERE seq=7",
        "UPDATE journal SET hash=zeroblob(32) WHERE seq=7",
        "DELETE FROM journal WHERE seq=7",
    ],
)
def test_rows_from_a_broken_one_on_are_kept_aside_and_told(state_dir, statement):
    write(state_dir, 10)
    damage(state_dir, statement)
    journal = Journal.open(state_dir)
    found = journal.opened
    assert (found.sound, found.broken_at, found.rows) == (False, 7, 6)
    assert bodies(journal) == [0, 1, 2, 3, 4, 5]
    assert msgspec.json.decode(journal.latest("order-1").body) == {"n": 5}
    aside = sqlite3.connect(found.kept_aside)
    kept = [row[0] for row in aside.execute("SELECT seq FROM journal ORDER BY seq")]
    aside.close()
    assert kept == [seq for seq in range(7, 11) if "DELETE" not in statement or seq != 7]
    assert wait([journal.append("order", "order-1", {"n": 6})], 30).done
    assert journal.verify().sound
    journal.close()
    assert Journal.open(state_dir).opened.sound


def test_a_row_exchanged_with_its_neighbour_is_noticed(state_dir):
    write(state_dir, 10)
    damage(
        state_dir,
        "UPDATE journal SET body=(SELECT body FROM journal b WHERE b.seq=11-journal.seq) "
        "WHERE seq IN (5,6)",
    )
    journal = Journal.open(state_dir)
    assert journal.opened.broken_at == 5
    journal.close()


def test_a_file_that_is_no_database_is_kept_aside_and_a_new_one_begun(state_dir):
    write(state_dir, 3)
    (state_dir / FILE_NAME).write_bytes(b"not a database at all, " * 500)
    journal = Journal.open(state_dir)
    assert not journal.opened.sound
    assert (journal.opened.kept_aside / FILE_NAME).read_bytes().startswith(b"not a database")
    assert wait([journal.append("order", "a", {"n": 0})], 30).done
    assert bodies(journal) == [0]
    journal.close()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_bytes_are_overwritten_only_sound_rows_are_believed(tmp_path_factory, data):
    state_dir = tmp_path_factory.mktemp("damaged") / "state"
    write(state_dir, 40)
    path = state_dir / FILE_NAME
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    garbage = data.draw(st.binary(min_size=1, max_size=64))
    whole[at : at + len(garbage)] = garbage
    path.write_bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    journal = Journal.open(state_dir)
    try:
        believed = bodies(journal)
        assert believed == list(range(len(believed)))
        assert journal.opened.rows == len(believed)
        if len(believed) < 40:
            assert not journal.opened.sound
            assert journal.opened.kept_aside.exists()
        assert journal.verify().sound
    finally:
        journal.close()


def test_a_newer_version_is_not_touched(state_dir):
    write(state_dir, 1)
    damage(state_dir, "UPDATE meta SET value='99' WHERE name='schema_version'")
    with pytest.raises(JournalError, match="version 99"):
        Journal.open(state_dir)


# -- rows that no disk can take ----------------------------------------------------------------------


@pytest.mark.parametrize("market_ns", [1 << 63, -(1 << 63) - 1])
def test_a_market_time_that_no_disk_takes_is_refused_and_nothing_else_suffers(state_dir, market_ns):
    journal = Journal.open(state_dir)
    bad = journal.append("order", "bad", {"n": 1}, market_ns=market_ns, urgent=True)
    good = journal.append("order", "good", {"n": 2}, urgent=True)
    with pytest.raises(RowRefused, match="bad"):
        bad.result(5)
    assert good.result(5) == 1
    journal.close()


def test_the_writer_outlives_a_row_that_can_not_be_written_and_writes_its_neighbours(state_dir):
    journal = Journal.open(state_dir)
    subjects = ["a", "half a character: \ud800", "c"]
    first, bad, last = (journal.append("order", subject, {"n": 1}) for subject in subjects)
    with pytest.raises(RowRefused, match="can't be written"):
        bad.result(5)
    assert (first.result(5), last.result(5)) == (1, 2)
    assert journal.failure is None
    assert journal.verify().sound
    journal.close()


def test_the_writer_outlives_whatever_fails_and_its_futures_fail(state_dir):
    broken = [RuntimeError("no clock")]

    def wall_ns() -> int:
        if broken:
            raise broken.pop()
        return 1

    journal = Journal.open(state_dir)
    journal._wall_ns = wall_ns
    with pytest.raises(JournalError, match="no clock"):
        journal.append("order", "a", {"n": 1}, urgent=True).result(5)
    assert journal.append("order", "a", {"n": 1}, urgent=True).result(5) == 1
    journal.close()


def test_a_row_that_can_never_be_written_is_not_written_again(state_dir):
    journal = Journal.open(state_dir)
    failures: list[str] = []
    rows = Rows(journal, failures.append)
    bad = rows.append("order", "\ud800", {"n": 1}, True, (), None, urgent=True)
    with pytest.raises(RowRefused):
        bad.result(5)
    assert rows.again() == []
    assert failures == []
    journal.close()


# -- kill −9 ---------------------------------------------------------------------------------------

_WRITER = """
    import asyncio, sys
    from pathlib import Path
    from console.engine.journal import Journal

    async def main():
        journal = Journal.open(Path(sys.argv[1]))
        n = 0
        while True:
            seqs = await asyncio.gather(*(
                journal.commit("order", f"o-{n + i}", {"n": n + i}, is_open=True) for i in range(20)
            ))
            n += 20
            print(max(seqs), flush=True)

    asyncio.run(main())
"""


def test_what_was_said_to_be_on_disk_is_there_after_kill_9(state_dir):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), str(state_dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    said = 0
    for line in process.stdout:
        said = int(line)
        if said >= 200:
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split()
    process.stdout.close()
    assert process.wait(30) == -signal.SIGKILL
    said = max([said, *(int(word) for word in rest if word.isdigit())])
    journal = Journal.open(state_dir)
    assert journal.opened.sound
    assert journal.verify().rows >= said
    assert len(list(journal.open_subjects())) == journal.verify().rows
    journal.close()


@pytest.mark.slow
def test_a_long_journal_opens_quickly(state_dir):
    write(state_dir, 60_000)
    began = time.monotonic()
    journal = Journal.open(state_dir)
    assert time.monotonic() - began < 2.5
    journal.close()

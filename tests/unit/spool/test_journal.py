"""The journal: transactions, versions, several processes, full disks."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from edge_runtime.errors import SpoolError
from edge_runtime.spool import journal as journal_module
from edge_runtime.spool.journal import JOURNAL_VERSION, Journal, is_sound

INSERT = "INSERT INTO retired VALUES (?,?,'k')"

WRITER = """
import sys, pathlib
from edge_runtime.spool.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
for number in range(150):
    with journal.write(durable=number % 10 == 0) as db:
        seen = db.execute("SELECT count(*) FROM retired").fetchone()[0]
        db.execute("INSERT INTO retired VALUES (?,?,'k')", (sys.argv[2], str(number)))
    if number % 50 == 0:
        print(seen, flush=True)
journal.close()
"""

FULL_DISK = """
import pathlib, resource, signal, sys
from edge_runtime.errors import SpoolError
from edge_runtime.spool.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = pathlib.Path(sys.argv[1])
journal = Journal(path)
limit = path.with_name(path.name + "-wal").stat().st_size + 10_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    with journal.write() as db:
        for number in range(2000):
            db.execute("INSERT INTO retired VALUES (?,?,'k')", ("lost" * 20, str(number)))
except SpoolError as error:
    print("refused", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with journal.write() as db:
    db.execute("INSERT INTO retired VALUES ('kept','b','k')")
import os
os._exit(0)
"""


@pytest.fixture
def journal(tmp_path: Path):
    with closing(Journal(tmp_path / "journal.sqlite")) as opened:
        yield opened


def count(journal: Journal) -> int:
    return len(journal.rows("SELECT * FROM retired"))


def test_a_newer_journal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={JOURNAL_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(SpoolError, match="install the newer runtime"):
        Journal(path)
    assert path.read_bytes() == before


def test_an_older_journal_is_migrated_once_and_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(Journal(path)) as old, old.write() as db:
        db.execute(INSERT, ("a", "b"))
    monkeypatch.setattr(journal_module, "JOURNAL_VERSION", JOURNAL_VERSION + 1)
    monkeypatch.setitem(journal_module.MIGRATIONS, JOURNAL_VERSION, "CREATE TABLE later (x TEXT) STRICT")
    with pytest.raises(SpoolError, match="start the daemon"):
        Journal(path)
    for _ in range(2):
        with closing(Journal(path, migrate=True)) as new:
            assert count(new) == 1
            assert new.row("PRAGMA user_version")[0] == JOURNAL_VERSION + 1
    with closing(Journal(tmp_path / "new.sqlite")) as fresh:
        assert fresh.rows("SELECT * FROM later") == []


def test_the_journal_is_for_its_owner_only(journal: Journal, tmp_path: Path) -> None:
    assert (tmp_path / "journal.sqlite").stat().st_mode & 0o777 == 0o600


def test_an_exception_rolls_the_whole_transaction_back(journal: Journal) -> None:
    with pytest.raises(KeyboardInterrupt), journal.write() as db:
        db.execute(INSERT, ("a", "b"))
        with journal.write() as inner:
            inner.execute(INSERT, ("c", "d"))
        raise KeyboardInterrupt
    assert count(journal) == 0
    with journal.write() as db:
        db.execute(INSERT, ("e", "f"))
    assert count(journal) == 1


def test_a_nested_write_is_part_of_the_outer_one(journal: Journal, tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as other:
        with journal.write() as db:
            with journal.write(durable=False) as inner:
                inner.execute(INSERT, ("a", "b"))
            assert count(other) == 0
            db.execute(INSERT, ("c", "d"))
        assert count(other) == 2


def test_a_durable_write_inside_one_that_is_not_is_refused(journal: Journal) -> None:
    with pytest.raises(ValueError, match="durable"), journal.write(durable=False), journal.write():
        pass


def test_durable_writes_sync_at_every_commit_and_others_do_not(journal: Journal) -> None:
    for durable, synchronous in ((True, 2), (False, 1), (True, 2)):
        with journal.write(durable=durable) as db:
            assert db.execute("PRAGMA synchronous").fetchone()[0] == synchronous


def test_a_broken_statement_is_a_spool_error_and_rolls_back(journal: Journal) -> None:
    with pytest.raises(SpoolError, match="journal cannot be written"), journal.write() as db:
        db.execute(INSERT, ("a", "b"))
        db.execute(INSERT, ("a", "b"))
    assert count(journal) == 0


def test_threads_share_one_journal(journal: Journal) -> None:
    def write(name: str) -> None:
        for number in range(40):
            with journal.write(durable=False) as db:
                before = db.execute("SELECT count(*) FROM retired").fetchone()[0]
                db.execute(INSERT, (name, str(number)))
                assert db.execute("SELECT count(*) FROM retired").fetchone()[0] == before + 1

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(journal) == 160


def test_two_processes_write_at_once_and_neither_finds_the_journal_locked(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in "ab"
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in answers] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    with closing(Journal(path)) as journal:
        assert count(journal) == 300
    seen = [[int(line) for line in output.split()] for output, _ in answers]
    assert any(numbers[-1] > 100 for numbers in seen), "the processes did not interleave"


def test_after_a_full_disk_refused_a_commit_the_next_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")
    with closing(Journal(path)) as journal:
        assert [row["sop_instance_uid"] for row in journal.rows("SELECT * FROM retired")] == ["kept"]


def test_a_sound_journal_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    assert is_sound(path)
    with closing(Journal(path)) as journal, journal.write() as db:
        for number in range(300):
            db.execute(INSERT, (str(number), "x" * 200))
    assert is_sound(path)
    good = path.read_bytes()
    for bad in (b"no database at all" * 100, good[: len(good) // 2], good[:4096] + bytes(8192) + good[12288:]):
        path.write_bytes(bad)
        assert not is_sound(path)


def test_a_journal_that_cannot_be_looked_at_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.mkdir()
    with pytest.raises(SpoolError, match="cannot be read"):
        is_sound(path)


def test_a_journal_in_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="cannot be opened"):
        Journal(tmp_path / "missing" / "journal.sqlite")

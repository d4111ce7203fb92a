"""Spools of older versions are taken over whole, whenever the power fails; those of newer ones are left as they are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.old_spools import VERSION_1, unpack
from support.pacs import wait_until

from edge_runtime.config import Config, Destination, Match, Pipeline, SendTo, Stage
from edge_runtime.config import Spool as SpoolKeys
from edge_runtime.domain import Answer
from edge_runtime.errors import EXIT_CONFIGURATION, SpoolError, SpoolTooNew
from edge_runtime.spool import results
from edge_runtime.spool.journal import JOURNAL_VERSION, MIGRATIONS, Journal
from edge_runtime.spool.results import load_result, save_result
from edge_runtime.spool.spool import open_spool, prepare_spool, read_manifest

STATES = {"delivered": 1, "refused": 1, "reported": 1, "concluded": 1, "collecting": 1}

SLOW_MIGRATION = """
import pathlib, sys
from edge_runtime.spool import journal
slow = "CREATE TABLE half AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
journal.MIGRATIONS[1] += slow  # for ever
journal.Journal(pathlib.Path(sys.argv[1]), migrate=True)
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return unpack(VERSION_1, tmp_path)


@pytest.fixture
def site(old: Path) -> Config:
    """The configuration that the archived spool was made with."""
    return Config(
        spool=SpoolKeys(path=str(old), reserve_bytes=0),
        pipelines=(
            Pipeline("find-ball", (Stage("find", "bright"),), Match(modality=("CT",)), results=("sr", "json"),
                     send_to=(SendTo("disk"), SendTo("pacs"))),
        ),
        destinations=(
            Destination("disk", "folder", path="/nonexistent"),
            Destination("pacs", "dicom", ae_title="AWAY", host="127.0.0.1", port=9),
        ),
    )  # fmt: skip


def dump(journal: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    with closing(sqlite3.connect(journal)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}


def version_of(journal: Path) -> int:
    with closing(sqlite3.connect(journal)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def schema_of(journal: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(journal)) as db:
        return set(db.execute("SELECT name, sql FROM sqlite_master").fetchall())


def job_states(config: Config) -> dict[str, int]:
    with closing(open_spool(config)) as spool:
        rows = spool.journal.rows("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        return {row["state"]: row["n"] for row in rows}


def test_every_older_version_has_its_step_and_no_other() -> None:
    assert set(MIGRATIONS) == set(range(1, JOURNAL_VERSION))


def test_a_journal_of_version_1_keeps_every_row_and_gets_the_schema_of_a_new_one(old: Path, tmp_path: Path) -> None:
    before = dump(old / "journal.sqlite")
    assert version_of(old / "journal.sqlite") == 1
    assert {len(before[table]) > 0 for table in ("instances", "series", "jobs", "results", "deliveries")} == {True}
    Journal(old / "journal.sqlite", migrate=True).close()
    Journal(tmp_path / "new.sqlite").close()
    assert dump(old / "journal.sqlite") == before
    assert version_of(old / "journal.sqlite") == JOURNAL_VERSION
    assert schema_of(old / "journal.sqlite") == schema_of(tmp_path / "new.sqlite")


def test_only_the_one_who_prepares_the_spool_migrates_it(site: Config) -> None:
    with pytest.raises(SpoolError, match=f"version 1, this runtime needs {JOURNAL_VERSION}; start the daemon"):
        open_spool(site)
    prepare_spool(site)
    assert job_states(site) == STATES


def test_a_migration_that_is_killed_leaves_the_old_journal_and_the_next_start_does_it(old: Path, site: Config) -> None:
    journal = old / "journal.sqlite"
    before, was = dump(journal), schema_of(journal)
    process = subprocess.Popen([sys.executable, "-c", SLOW_MIGRATION, str(journal)])
    wal = old / "journal.sqlite-wal"
    wait_until(lambda: wal.exists() and wal.stat().st_size > 3_000_000, 60)  # far into the endless step
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (version_of(journal), dump(journal), schema_of(journal)) == (1, before, was)
    prepare_spool(site)
    assert version_of(journal) == JOURNAL_VERSION
    assert job_states(site) == STATES


def test_a_newer_spool_ends_with_78_and_names_both_versions_and_what_to_do(site: Config, old: Path) -> None:
    with closing(sqlite3.connect(old / "journal.sqlite")) as db:
        db.execute(f"PRAGMA user_version={JOURNAL_VERSION + 1}")
    says = f"version {JOURNAL_VERSION + 1}, this runtime knows up to {JOURNAL_VERSION}; install the newer runtime"
    with pytest.raises(SpoolTooNew, match=says) as caught:
        prepare_spool(site)
    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert version_of(old / "journal.sqlite") == JOURNAL_VERSION + 1


def test_going_back_by_setting_the_journal_aside_finds_every_job_again(site: Config, old: Path) -> None:
    prepare_spool(site)
    for path in old.glob("journal.sqlite*"):
        path.unlink()
    prepare_spool(site)
    again = job_states(site)
    # The pipeline has a second destination since one was delivered; one was refused, and will be again; what was being
    # collected is taken up when its images are looked at.
    assert again == {"reported": 2, "concluded": 1, "pending": 1}
    with closing(open_spool(site)) as spool:
        assert spool.instances.counts()["stored"] == 30


def test_the_files_of_version_1_are_still_read(old: Path, site: Config) -> None:
    prepare_spool(site)
    with closing(open_spool(site)) as spool:
        jobs = {job.state: job for job in spool.jobs.all()}
        assert len(spool.instances.of_job(jobs["concluded"].id)) == 6
        for receipt in spool.instances.of_job(jobs["concluded"].id):
            assert spool.store.verify(receipt)
        for state in ("delivered", "reported", "concluded"):
            result = load_result(spool.layout.job(jobs[state].id))
            assert (result.job_id, result.pipeline, len(result.sources)) == (jobs[state].id, "find-ball", 6)
            assert [finding.answer for finding in result.analysis.findings] == [Answer.POSITIVE]
            (mask,) = result.analysis.masks
            assert mask.voxels.sum() > 0
        kinds = [r.kind.value for r in read_manifest(spool.layout.job(jobs["delivered"].id))]
        assert sorted(kinds) == ["json", "sr"]


def test_a_result_of_a_newer_runtime_is_refused_with_both_versions(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = [path.parent for path in (old / "jobs").glob("*/delivered.jsonl")][:1]
    result = load_result(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with monkeypatch.context() as newer:
        newer.setattr(results, "SCHEMA_VERSION", results.SCHEMA_VERSION + 1)
        save_result(replace(result, revision=2), copy)
        assert load_result(copy).revision == 2
        assert load_result(folder) is not None  # the older one is still read
    with pytest.raises(SpoolError, match=f"version {results.SCHEMA_VERSION + 1}, this program reads"):
        load_result(copy)


def test_a_field_that_an_older_result_does_not_have_takes_its_default(old: Path) -> None:
    (folder,) = [path.parent for path in (old / "jobs").glob("*/delivered.jsonl")][:1]
    path = folder / "result.json"
    document = json.loads(path.read_bytes())
    del document["result"]["notes"]  # as if it had come with version 2
    document["sha256"] = results._digest(document["result"], (folder / "arrays.npz").read_bytes())
    path.write_text(json.dumps(document))
    assert load_result(folder).notes == ()
    del document["result"]["pipeline"]  # has no default
    document["sha256"] = results._digest(document["result"], (folder / "arrays.npz").read_bytes())
    path.write_text(json.dumps(document))
    with pytest.raises(SpoolError, match="damaged"):
        load_result(folder)

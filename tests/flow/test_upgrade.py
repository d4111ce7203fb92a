"""The daemon on a spool that another version of it has left: taken over whole, or refused and left as it is."""

import hashlib
import json
import sqlite3
import subprocess
from contextlib import closing

import pytest
import yaml
from support.hostile import all_states, journal
from support.old_spools import AGES, VERSION_1, unpack
from support.pacs import StubPacs, wait_until
from support.site import write_config

from benchmarks.daemon import Daemon
from edge_runtime.spool.journal import JOURNAL_VERSION

pytestmark = pytest.mark.peer

ENDED = ["delivered"] * 4 + ["refused"] * 2


@pytest.fixture
def pacs():
    with StubPacs().running() as running:
        yield running


@pytest.fixture
def daemon(tmp_path, engines, pacs):
    """Not started, with the spool of version 1 and the destinations that it knows."""
    spool = unpack(VERSION_1, tmp_path)
    destinations = [
        {"name": "disk", "type": "folder", "path": str(tmp_path / "out")},
        {"name": "pacs", "type": "dicom", "ae_title": "ANY", "host": "127.0.0.1", "port": pacs.port},
    ]
    config = write_config(tmp_path / "site.yaml", engines, destinations, results=["sr", "json"])
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **AGES}))
    return Daemon(config, spool)


def version_of(spool):
    with closing(sqlite3.connect(spool / "journal.sqlite")) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def set_version(spool, version):
    with closing(sqlite3.connect(spool / "journal.sqlite")) as db:
        db.execute(f"PRAGMA user_version={version}")


def written(spool):
    """The SHA-256 of every DICOM object in the spool's reports, by SOP Instance UID."""
    manifests = [json.loads(path.read_bytes()) for path in (spool / "jobs").glob("*/report/manifest.json")]
    objects = [one for manifest in manifests for one in manifest["results"] if one["sop_instance_uid"]]
    return {one["sop_instance_uid"]: one["sha256"] for one in objects}


def test_every_job_of_an_older_spool_goes_on_and_what_was_written_is_sent_as_it_is(daemon, pacs):
    assert version_of(daemon.spool) == 1
    before, jobs = written(daemon.spool), {job["id"] for job in journal(daemon.spool, "SELECT id FROM jobs")}
    assert len(before) == 2 and len(jobs) == 5
    with daemon:
        daemon.wait_ready()
        assert "journal migrated" in daemon.log.read_text()
        wait_until(lambda: all_states(daemon) == ENDED, 90)
        assert jobs < {job["id"] for job in daemon.jobs()}
    assert version_of(daemon.spool) == JOURNAL_VERSION
    after = written(daemon.spool)
    assert before.items() < after.items()
    files = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (daemon.spool / "jobs").glob("*/report/*.dcm")}
    assert set(after.values()) == files
    sent = {uid for uid, _ in pacs.received}
    assert len(sent & set(before)) == 1, "the one whose PACS was away; the other went to the folder alone"
    assert sent < set(after)


def test_a_newer_spool_is_refused_with_78_and_going_back_finds_every_job(daemon, pacs):
    with daemon:
        daemon.wait_ready()
        wait_until(lambda: all_states(daemon) == ENDED, 90)
    objects, received = written(daemon.spool), len(pacs.received)
    set_version(daemon.spool, JOURNAL_VERSION + 1)
    done = subprocess.run(daemon.command(), capture_output=True, timeout=60, check=False)
    said = done.stderr.decode()
    assert done.returncode == 78
    assert f"version {JOURNAL_VERSION + 1}" in said and f"up to {JOURNAL_VERSION}" in said and "newer runtime" in said
    assert len(said.strip().splitlines()) == 1
    assert version_of(daemon.spool) == JOURNAL_VERSION + 1
    for path in daemon.spool.glob("journal.sqlite*"):  # as docs/operation.md says
        path.rename(path.with_name(f"newer-{path.name}"))
    with daemon:
        daemon.wait_ready()
        wait_until(lambda: all_states(daemon) == ENDED, 90)
    assert written(daemon.spool) == objects
    again = pacs.received[received:]
    assert {uid for uid, _ in again} <= set(objects), "only the one that the folder alone had may go to the PACS now"
    assert len(again) == 1

"""The files are the truth: without a journal, or after a crash between two steps, nothing is lost or made twice."""

import json
import logging
from pathlib import Path

import pytest
from support.spools import (
    KEY,
    NOW,
    PIPELINE,
    add_matched,
    close,
    collect,
    conclude,
    deliver,
    delivered_series,
    report,
    store_instance,
    take,
    without,
    write_report,
)

from edge_runtime.config import Config
from edge_runtime.errors import SpoolError
from edge_runtime.result_objects import ResultKind
from edge_runtime.spool.jobs import CANCELLED_MARK, Job, JobTable
from edge_runtime.spool.layout import SPOOL_VERSION, append_durably, write_durably
from edge_runtime.spool.retention import Sweeper
from edge_runtime.spool.spool import Spool, open_spool, prepare_spool, read_manifest, write_manifest


@pytest.fixture
def lost(spool: Spool, config: Config):
    """Deletes the journal as a person would, starts again, and opens what is there then."""
    opened: list[Spool] = []

    def start_again(journal: bool = False, config: Config = config) -> Spool:
        for other in (spool, *opened):
            other.close()
        if not journal:
            for path in spool.layout.root.glob("journal.sqlite*"):
                path.unlink()
        prepare_spool(config)
        opened.append(open_spool(config))
        return opened[-1]

    yield start_again
    for other in opened:
        other.close()


def index(spool: Spool) -> list[Job]:
    """What infer does with stored instances, for one series and one pipeline."""
    jobs = []
    for receipt in spool.instances.stored(1000):
        if spool.instances.twin(receipt) is not None:
            spool.instances.step(receipt.id, "same_bytes")
            continue
        spool.instances.step(receipt.id, "match", series_key=KEY)
        job = spool.jobs.take(receipt, KEY, PIPELINE, 60.0)
        if job is not None:
            jobs.append(job)
    return jobs


def shape(spool: Spool, job_id: str) -> dict[str, object]:
    job = spool.jobs.get(job_id)
    kept = ("series_key", "pipeline", "revision", "state", "first_received_at", "last_received_at", "deadline_at",
            "amends", "created_at")  # fmt: skip
    deliveries = {
        (r["destination"], r["file_name"], r["position"], r["state"]) for r in spool.deliveries.of_job(job_id)
    }
    return {
        **{key: getattr(job, key) for key in kept},
        "instances": {receipt.id for receipt in spool.instances.of_job(job_id)},
        "results": [tuple(row) for row in spool.deliveries.results_of(job_id)],
        "deliveries": deliveries,
    }


def test_a_collecting_series_is_collected_again(spool: Spool, lost) -> None:
    before = {receipt.id for receipt in spool.instances.of_job(collect(spool, (1, 2, 3)).id)}
    again = lost()
    jobs = index(again)
    assert {receipt.id for receipt in again.instances.of_job(jobs[-1].id)} == before
    assert {job.id for job in jobs} == {jobs[-1].id}


@pytest.mark.parametrize("state", ["pending", "concluded", "reported", "half delivered", "delivered", "cancelled"])
def test_a_job_comes_back_as_it_was(spool: Spool, lost, state: str) -> None:
    job = close(spool, collect(spool, (1, 2)))
    if state not in ("pending", "cancelled"):
        job = conclude(spool, job)
    if state in ("reported", "half delivered", "delivered"):
        job = report(spool, job)
    if state == "half delivered":
        for row in spool.deliveries.due("disk", 0.0, 100):
            spool.deliveries.begin([row["id"]])
            spool.deliveries.done(row["id"], "stored")
    if state == "delivered":
        job = deliver(spool, job)
    if state == "cancelled":
        job = spool.deliveries.cancel(job.id, "by hand")
    before = shape(spool, job.id)
    again = lost()
    assert index(again) == []
    assert shape(again, job.id) == before
    assert len(again.jobs.all()) == 1


@pytest.mark.parametrize(
    ("state", "becomes"),
    [("running", "pending"), ("refused", "pending"), ("parked", "pending"), ("reporting", "concluded")],
)
def test_a_job_whose_state_has_no_file_goes_back_to_what_its_files_prove(
    spool: Spool, lost, state: str, becomes: str
) -> None:
    job = close(spool, collect(spool))
    if state == "reporting":
        conclude(spool, job)
        spool.jobs.step(job.id, "report")
    elif state == "parked":
        spool.jobs.step(job.id, "park")
    else:
        spool.jobs.step(job.id, "begin")
        if state == "refused":
            spool.jobs.step(job.id, "refuse")
    before = shape(spool, job.id)
    again = lost()
    assert index(again) == []
    assert shape(again, job.id) == {**before, "state": becomes}
    assert again.jobs.get(job.id).attempts == 0


def test_a_journal_whose_write_ahead_log_was_left_behind_is_rebuilt_as_well(spool: Spool, config: Config) -> None:
    job = close(spool, collect(spool))
    assert (spool.layout.root / "journal.sqlite-wal").exists()
    spool.layout.journal.unlink()
    prepare_spool(config)
    again = open_spool(config)
    assert again.jobs.get(job.id).state == "pending"
    assert again.instances.counts() == {"stored": 2}
    again.close()


def test_a_cancelled_job_that_was_never_closed_stays_cancelled(spool: Spool, lost) -> None:
    job = collect(spool)
    spool.deliveries.cancel(job.id, "by hand")
    again = lost()
    assert index(again) == []
    assert again.jobs.get(job.id).state == "cancelled"


def test_a_cancelled_job_with_a_report_is_not_delivered_after_the_journal_was_lost(spool: Spool, lost) -> None:
    job = report(spool, conclude(spool, close(spool, collect(spool))))
    spool.deliveries.cancel(job.id, "by hand")
    again = lost()
    assert again.jobs.get(job.id).state == "cancelled"
    assert again.deliveries.due("disk", 1e12, 100) == []
    assert again.instances.is_own_result(f"2.25.{job.id}.sr")


def test_a_cancel_cut_short_before_its_mark_is_marked_at_the_next_start(spool: Spool, lost) -> None:
    job = close(spool, collect(spool))
    spool.jobs.step(job.id, "cancel")
    lost(journal=True)
    assert (spool.layout.job(job.id) / CANCELLED_MARK).exists()
    assert lost().jobs.get(job.id).state == "cancelled"


def test_a_late_image_still_amends_the_whole_series_after_the_journal_was_lost(spool: Spool, lost) -> None:
    first = delivered_series(spool, (1, 2))
    take(spool, add_matched(spool, 3, at=NOW + 9))
    again = lost()
    (job,) = index(again)
    assert (job.revision, job.amends) == (2, first.id)
    assert len(again.instances.of_job(job.id)) == 3


def test_duplicates_of_deleted_images_are_known_after_the_journal_was_lost(spool: Spool, config: Config, lost) -> None:
    delivered_series(spool, (1, 2))
    Sweeper(spool.layout, spool.journal, spool.store, config.retention, 0).sweep(NOW + 1e6)
    again = lost()
    assert again.instances.has_retired(KEY)
    receipt = store_instance(again, 1)
    again.instances.add([receipt])
    assert index(again) == []
    assert again.instances.state(receipt.id) == "duplicate"


# -- power loss between two steps: only the first is performed --------------------------------------------------------


def test_stored_but_not_noted(spool: Spool, lost) -> None:
    receipt = store_instance(spool)
    assert [r.id for r in lost(journal=True).instances.stored(10)] == [receipt.id]


def test_job_json_written_but_not_closed_in_the_journal(spool: Spool, lost, monkeypatch: pytest.MonkeyPatch) -> None:
    job = collect(spool)
    with monkeypatch.context() as dying:
        dying.setattr(JobTable, "step", lambda *_: None)
        spool.jobs.close(job, spool.instances.of_job(job.id))
    again = lost(journal=True)
    assert again.jobs.get(job.id).state == "collecting"
    assert close(again, job).state == "pending"


def test_job_json_written_and_the_journal_lost_all_that_was_not_durable(spool: Spool, lost) -> None:
    """Matching and taking are not synced: a power cut may forget them and keep job.json, and the journal is not new."""
    job = close(spool, collect(spool))
    with spool.journal.write() as db:
        for table in ("jobs", "job_instances", "instances", "series"):
            db.execute(f"DELETE FROM {table}")
    again = lost(journal=True)
    assert again.jobs.get(job.id).state == "pending"
    assert index(again) == []
    assert len(again.jobs.all()) == 1


def test_a_second_folder_for_the_same_revision_is_left_alone_and_does_not_stop_the_start(
    spool: Spool, lost, caplog: pytest.LogCaptureFixture
) -> None:
    job = close(spool, collect(spool))
    record = json.loads((spool.layout.job(job.id) / "job.json").read_bytes())
    twin = spool.layout.job("zzz")
    twin.mkdir()
    write_durably(twin / "job.json", json.dumps({**record, "id": "zzz"}).encode())
    again = lost()
    assert [j.id for j in again.jobs.all()] == [job.id]
    assert "another job" in caplog.text


def test_a_report_moved_into_place_but_not_committed(spool: Spool, lost) -> None:
    job = conclude(spool, close(spool, collect(spool)))
    spool.jobs.step(job.id, "report")
    results = write_report(spool, job)
    again = lost()
    assert again.jobs.get(job.id).state == "reported"
    assert read_manifest(again.layout.job(job.id)) == results
    assert {row["state"] for row in again.deliveries.of_job(job.id)} == {"queued"}
    assert {row["destination"] for row in again.deliveries.of_job(job.id)} == {"disk", "pacs"}


def test_a_draft_of_a_report_proves_nothing(spool: Spool, lost) -> None:
    job = conclude(spool, close(spool, collect(spool)))
    draft = spool.layout.job(job.id) / "report.draft"
    draft.mkdir()
    write_manifest(draft, ())
    assert lost().jobs.get(job.id).state == "concluded"


def test_a_report_without_any_object_is_a_report(spool: Spool, lost) -> None:
    job = conclude(spool, close(spool, collect(spool)))
    folder = spool.layout.job(job.id) / "report"
    folder.mkdir()
    write_manifest(folder, ())
    assert lost().jobs.get(job.id).state == "delivered"


def test_a_delivery_marked_done_but_not_committed_is_done_after_the_journal_was_lost(spool: Spool, lost) -> None:
    job = report(spool, conclude(spool, close(spool, collect(spool))))
    row = spool.deliveries.due("disk", 0.0, 1)[0]
    spool.deliveries.begin([row["id"]])
    marker = {"file_name": row["file_name"], "destination": "disk", "reason": "stored"}
    append_durably(spool.layout.job(job.id) / "delivered.jsonl", marker)
    with (spool.layout.job(job.id) / "delivered.jsonl").open("ab") as file:
        file.write(b'{"file_name": "sr.dcm", "desti')
    again = lost()
    done = [r["file_name"] for r in again.deliveries.of_job(job.id) if r["state"] == "done"]
    assert done == [row["file_name"]]


def test_a_rebuild_that_is_cut_short_is_finished_by_the_next_start(
    spool: Spool, lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [close(spool, collect(spool, (n,), f"series {n}")) for n in range(3)]
    restore = JobTable.restore
    calls: list[str] = []

    def dying(table: JobTable, record: dict[str, str], *rest: str) -> bool:
        calls.append(record["id"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return restore(table, record, *rest)

    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(JobTable, "restore", dying)
        lost()
    again = lost(journal=True)
    assert {job.id for job in again.jobs.in_state("pending")} == {job.id for job in jobs}


# -- damage and other versions ---------------------------------------------------------------------------------------


def test_a_damaged_journal_is_set_aside_and_rebuilt(spool: Spool, lost, caplog: pytest.LogCaptureFixture) -> None:
    job = delivered_series(spool)
    spool.close()
    data = bytearray(spool.layout.journal.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    spool.layout.journal.write_bytes(data)
    again = lost(journal=True)
    assert again.jobs.get(job.id).state == "delivered"
    (aside,) = spool.layout.root.glob("journal.damaged-*")
    assert aside.read_bytes() == bytes(data)
    assert "set aside" in caplog.text


def test_a_spool_of_a_newer_version_is_refused_before_anything_is_changed(spool: Spool, config: Config) -> None:
    spool.layout.version.write_text(f"{SPOOL_VERSION + 1}\n")
    spool.layout.journal.write_bytes(b"of another time")
    with pytest.raises(SpoolError, match="newer runtime"):
        prepare_spool(config)
    assert spool.layout.journal.read_bytes() == b"of another time"


def test_a_job_of_a_newer_runtime_stops_every_start_until_that_is_installed(spool: Spool, config: Config, lost) -> None:
    job = close(spool, collect(spool))
    path = spool.layout.job(job.id) / "job.json"
    record = json.loads(path.read_bytes())
    write_durably(path, json.dumps({**record, "schema_version": 2}).encode())
    for journal in (False, True):
        with pytest.raises(SpoolError, match="newer runtime"):
            lost(journal=journal)
    write_durably(path, json.dumps(record).encode())
    assert lost(journal=True).jobs.get(job.id).state == "pending"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"id": "other", "schema_version": 1}'])
def test_a_job_folder_that_cannot_be_read_is_left_alone_and_its_images_are_analysed_again(
    spool: Spool, lost, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = close(spool, collect(spool, (1, 2)))
    (spool.layout.job(job.id) / "job.json").write_bytes(content)
    again = lost()
    jobs = index(again)
    assert jobs[-1].id != job.id
    assert len(again.instances.of_job(jobs[-1].id)) == 2
    assert spool.layout.job(job.id).exists()
    assert "left alone" in caplog.text


@pytest.mark.parametrize("content", [b"{", b'{"results": [{}]}', b'{"results": [{"kind": "hologram"}]}'])
def test_a_damaged_manifest_does_not_stop_the_start(spool: Spool, lost, content: bytes) -> None:
    job = report(spool, conclude(spool, close(spool, collect(spool))))
    other = close(spool, collect(spool, (9,), "other"))
    (spool.layout.job(job.id) / "report" / "manifest.json").write_bytes(content)
    assert lost().jobs.get(other.id).state == "pending"


def test_results_of_a_pipeline_that_is_no_longer_configured_are_parked_not_forgotten(
    spool: Spool, config: Config, lost
) -> None:
    job = report(spool, conclude(spool, close(spool, collect(spool))))
    parked = lost(config=without(config, PIPELINE)).jobs.get(job.id)
    assert parked.state == "parked"
    assert PIPELINE in parked.reason


def test_starting_again_with_a_whole_journal_changes_nothing(spool: Spool, lost) -> None:
    job = delivered_series(spool, (1, 2))
    open_job = close(spool, collect(spool, (3,), "other"))
    before = shape(spool, job.id), shape(spool, open_job.id), spool.instances.counts()
    again = lost(journal=True)
    assert (shape(again, job.id), shape(again, open_job.id), again.instances.counts()) == before


def test_the_manifest_says_what_was_written(spool: Spool) -> None:
    job = conclude(spool, close(spool, collect(spool)))
    results = write_report(spool, job, (ResultKind.JSON, ResultKind.SEG))
    assert read_manifest(spool.layout.job(job.id)) == results
    assert read_manifest(Path("/nowhere")) == ()


def test_a_closed_job_waits_until_each_of_its_images_was_looked_at(spool: Spool, lost) -> None:
    job = close(spool, collect(spool, (1, 2)))
    assert not spool.instances.waits_for_look(job.id)
    rebuilt = lost()
    assert rebuilt.jobs.get(job.id).state == "pending"
    first, second = rebuilt.instances.of_job(job.id)
    rebuilt.instances.step(first.id, "match", series_key=KEY)
    assert rebuilt.instances.waits_for_look(job.id)
    rebuilt.instances.step(second.id, "bad", "altered")
    assert not rebuilt.instances.waits_for_look(job.id)
    assert rebuilt.instances.missing_of_job(job.id) == 1

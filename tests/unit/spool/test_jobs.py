"""Jobs: who takes an instance, revisions, attempts, and what a crash between two durable steps leaves."""

import json

import pytest
from support.spools import KEY, NOW, PIPELINE, add_matched, close, collect, conclude, delivered_series, report, take

from edge_runtime.errors import SpoolError
from edge_runtime.spool.jobs import JOB_FILE_VERSION, new_id
from edge_runtime.spool.spool import Spool


def ids(spool: Spool, job_id: str) -> set[str]:
    return {receipt.id for receipt in spool.instances.of_job(job_id)}


def test_the_first_instance_opens_a_job_and_the_next_extends_it(spool: Spool) -> None:
    first = take(spool, add_matched(spool, 1, at=NOW))
    second = take(spool, add_matched(spool, 2, at=NOW + 3))
    assert (first.state, first.revision, first.amends) == ("collecting", 1, None)
    assert second.id == first.id
    assert (second.first_received_at, second.last_received_at, second.deadline_at) == (NOW, NOW + 3, NOW + 63)


def test_a_clock_set_back_moves_no_deadline_back(spool: Spool) -> None:
    take(spool, add_matched(spool, 1, at=NOW))
    job = take(spool, add_matched(spool, 2, at=NOW - 500))
    assert (job.last_received_at, job.deadline_at) == (NOW, NOW + 60)


def test_an_instance_is_taken_once(spool: Spool) -> None:
    receipt = add_matched(spool)
    job = take(spool, receipt)
    assert spool.jobs.take(receipt, KEY, PIPELINE, 60.0) is None
    assert ids(spool, job.id) == {receipt.id}


def test_two_pipelines_and_two_series_have_jobs_of_their_own(spool: Spool) -> None:
    receipt = add_matched(spool)
    jobs = [spool.jobs.take(receipt, KEY, name, 60.0) for name in ("head", "chest")]
    jobs.append(take(spool, add_matched(spool, 2, key="other"), "other"))
    assert len({job.id for job in jobs if job}) == 3


def test_a_late_image_opens_a_pending_job_again(spool: Spool) -> None:
    job = close(spool, collect(spool, (1,)))
    assert job.state == "pending"
    assert take(spool, add_matched(spool, 2)).id == job.id
    assert spool.jobs.get(job.id).state == "collecting"


@pytest.mark.parametrize("state", ["running", "concluded", "reported", "refused", "cancelled", "parked"])
def test_a_later_image_makes_a_new_revision_of_the_whole_series(spool: Spool, state: str) -> None:
    job = close(spool, collect(spool, (1, 2)))
    if state == "cancelled":
        spool.deliveries.cancel(job.id, "")
    elif state == "parked":
        spool.jobs.step(job.id, "park")
    elif state in ("concluded", "reported"):
        job = conclude(spool, job)
        job = report(spool, job) if state == "reported" else job
    else:
        spool.jobs.step(job.id, "begin")
        if state == "refused":
            spool.jobs.step(job.id, "refuse")
    assert spool.jobs.get(job.id).state == state
    late = add_matched(spool, 3)
    amended = take(spool, late)
    assert (amended.revision, amended.amends, amended.state) == (2, job.id, "collecting")
    assert ids(spool, amended.id) == ids(spool, job.id) | {late.id}
    assert late.id not in ids(spool, job.id)


def test_a_third_revision_carries_the_images_of_the_first_two(spool: Spool) -> None:
    delivered_series(spool, (1, 2))
    second = close(spool, take(spool, add_matched(spool, 3)))
    spool.jobs.step(second.id, "begin")
    third = take(spool, add_matched(spool, 4))
    assert third.revision == 3
    assert len(ids(spool, third.id)) == 4


def test_attempts_are_counted_before_they_are_made(spool: Spool) -> None:
    job = close(spool, collect(spool))
    assert spool.jobs.step(job.id, "begin").attempts == 1
    assert spool.jobs.step(job.id, "interrupt").attempts == 1
    assert spool.jobs.step(job.id, "begin").attempts == 2
    assert spool.jobs.step(job.id, "conclude").report_attempts == 0
    assert spool.jobs.step(job.id, "report").report_attempts == 1


def test_a_job_that_was_only_stopped_gets_its_attempt_back(spool: Spool) -> None:
    job = close(spool, collect(spool))
    spool.jobs.step(job.id, "begin")
    assert spool.jobs.step(job.id, "yield", "the daemon was stopped").attempts == 0


@pytest.mark.parametrize(("event", "state"), [("retry_inference", "pending"), ("retry_report", "concluded")])
def test_a_retry_starts_counting_afresh(spool: Spool, event: str, state: str) -> None:
    job = close(spool, collect(spool))
    for _ in range(2):
        spool.jobs.step(job.id, "begin")
        spool.jobs.step(job.id, "interrupt")
    spool.jobs.step(job.id, "park", "twice")
    again = spool.jobs.step(job.id, event)
    assert (again.state, again.attempts, again.report_attempts, again.reason) == (state, 0, 0, "")


def test_an_ended_job_says_when_and_a_retry_takes_that_back(spool: Spool) -> None:
    job = close(spool, collect(spool))
    spool.jobs.step(job.id, "begin")
    assert spool.jobs.step(job.id, "refuse", "geometry").ended_at is not None
    assert spool.jobs.step(job.id, "retry_inference").ended_at is None


def test_a_refused_step_changes_nothing(spool: Spool) -> None:
    job = collect(spool)
    with pytest.raises(SpoolError, match=f"job {job.id} is collecting"):
        spool.jobs.step(job.id, "conclude")
    assert spool.jobs.get(job.id) == job


def test_an_unknown_job_says_where_to_look(spool: Spool) -> None:
    with pytest.raises(SpoolError, match="jobs list"):
        spool.jobs.get("nobody")


def test_job_json_says_what_the_job_is_made_of_and_nothing_that_passes(spool: Spool) -> None:
    job = close(spool, collect(spool, (1, 2)))
    record = json.loads((spool.layout.job(job.id) / "job.json").read_bytes())
    assert record["schema_version"] == JOB_FILE_VERSION
    assert set(record["instances"]) == ids(spool, job.id)
    assert not {"state", "reason", "attempts", "report_attempts", "ended_at"} & set(record)


def test_closing_again_after_a_late_image_forgets_the_result_of_fewer_images(spool: Spool) -> None:
    """An attempt wrote result.json and was interrupted; then one more image came, and the worker died."""
    job = close(spool, collect(spool, (1,)))
    spool.jobs.step(job.id, "begin")
    (spool.layout.job(job.id) / "result.json").write_bytes(b"of one image")
    spool.jobs.step(job.id, "interrupt")
    close(spool, take(spool, add_matched(spool, 2)))
    assert not (spool.layout.job(job.id) / "result.json").exists()


def test_jobs_are_listed_by_deadline_and_counted_by_state(spool: Spool) -> None:
    late = close(spool, collect(spool, (1,), "late", NOW + 9))
    soon = close(spool, collect(spool, (2,), "soon", NOW))
    assert [job.id for job in spool.jobs.in_state("pending", "running")] == [soon.id, late.id]
    assert spool.jobs.counts() == {(PIPELINE, "pending"): 2}
    assert {job.id for job in spool.jobs.all()} == {late.id, soon.id}


def test_the_predecessor_is_the_newest_report_of_an_earlier_revision(spool: Spool) -> None:
    first = delivered_series(spool, (1,))
    second = take(spool, add_matched(spool, 2))
    found = spool.jobs.predecessor(second)
    assert found is not None
    assert (found["job"], found["kind"]) == (first.id, "sr")
    assert spool.jobs.predecessor(first) is None


def test_a_revision_waits_for_the_report_of_an_earlier_one(spool: Spool) -> None:
    first = close(spool, collect(spool, (1,)))
    spool.jobs.step(first.id, "begin")
    second = take(spool, add_matched(spool, 2))
    assert spool.jobs.earlier_is_open(second)
    assert not spool.jobs.earlier_is_open(first)
    spool.jobs.step(first.id, "refuse")
    assert not spool.jobs.earlier_is_open(second)


def test_ids_sort_by_time_and_never_collide() -> None:
    made = [new_id(NOW + step / 100) for step in range(300)]
    assert made == sorted(made)
    assert len({new_id(NOW) for _ in range(1000)}) == 1000


def test_a_job_that_ended_one_worker_twice_is_not_held_against_it_by_the_next(spool: Spool) -> None:
    job = close(spool, collect(spool))
    spool.jobs.step(job.id, "begin")
    spool.jobs.step(job.id, "interrupt")
    job = conclude(spool, spool.jobs.get(job.id))
    assert job.attempts == 2
    assert not job.poisonous

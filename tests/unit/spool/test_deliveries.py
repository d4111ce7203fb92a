"""Deliveries: order, attempts, ends, cancelling, and the mark that outlives the journal."""

import pytest
from support.spools import close, collect, conclude, deliver, report, write_report

from edge_runtime.errors import SpoolError
from edge_runtime.result_objects import ResultKind
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.layout import read_lines
from edge_runtime.spool.spool import Spool


@pytest.fixture
def job(spool: Spool) -> Job:
    return report(spool, conclude(spool, close(spool, collect(spool))))


def states(spool: Spool, job: Job) -> dict[tuple[str, str], str]:
    return {(row["destination"], row["file_name"]): row["state"] for row in spool.deliveries.of_job(job.id)}


def due(spool: Spool, destination: str = "disk", now: float = 0.0) -> list[int]:
    return [row["id"] for row in spool.deliveries.due(destination, now, 100)]


def test_what_a_report_refers_to_is_sent_before_it(spool: Spool, job: Job) -> None:
    assert [row["kind"] for row in spool.deliveries.due("disk", 0.0, 100)] == ["seg", "sr", "overlay", "json"]
    assert [row["kind"] for row in spool.deliveries.due("pacs", 0.0, 2)] == ["seg", "sr"]


def test_jobs_are_sent_whole_and_in_the_order_of_their_making(spool: Spool, job: Job) -> None:
    later = report(spool, conclude(spool, close(spool, collect(spool, (7,), "other"))))
    assert [row["job_id"] for row in spool.deliveries.due("disk", 0.0, 100)] == [job.id] * 4 + [later.id] * 4


def test_a_deferred_delivery_waits_until_its_time(spool: Spool, job: Job) -> None:
    first, *rest = due(spool)
    spool.deliveries.begin([first])
    assert due(spool) == rest
    spool.deliveries.defer(first, "away", 100.0)
    assert due(spool, now=99.9) == rest
    assert due(spool, now=100.0) == [first, *rest]
    row = next(row for row in spool.deliveries.of_job(job.id) if row["id"] == first)
    assert (row["attempts"], row["reason"], row["state"]) == (1, "away", "queued")


def test_the_next_time_is_that_of_the_earliest_waiting_delivery(spool: Spool, job: Job) -> None:
    assert spool.deliveries.next_due_at("nobody") is None
    ids = due(spool)
    spool.deliveries.begin(ids)
    assert spool.deliveries.next_due_at("disk") is None
    for delay, delivery_id in enumerate(ids, start=5):
        spool.deliveries.defer(delivery_id, "away", float(delay))
    assert spool.deliveries.next_due_at("disk") == 5.0


def test_a_job_ends_when_the_last_delivery_is_done(spool: Spool, job: Job) -> None:
    for row in spool.deliveries.of_job(job.id):
        assert spool.jobs.get(job.id).state == "reported"
        spool.deliveries.begin([row["id"]])
        spool.deliveries.done(row["id"], "stored")
    assert spool.jobs.get(job.id).state == "delivered"
    assert spool.jobs.get(job.id).ended_at is not None


def test_a_parked_delivery_keeps_the_job_open_and_a_retry_queues_it_again(spool: Spool, job: Job) -> None:
    parked, *rest = [row["id"] for row in spool.deliveries.of_job(job.id)]
    spool.deliveries.begin([parked, *rest])
    spool.deliveries.park(parked, "refused")
    for delivery_id in rest:
        spool.deliveries.done(delivery_id, "stored")
    assert spool.jobs.get(job.id).state == "reported"
    assert spool.deliveries.retry(job.id) == 1
    assert due(spool) == [parked]


def test_a_retry_makes_waiting_deliveries_due_now(spool: Spool, job: Job) -> None:
    first, *_ = due(spool)
    spool.deliveries.begin([first])
    spool.deliveries.defer(first, "away", 1e12)
    assert spool.deliveries.retry(job.id) == len(spool.deliveries.of_job(job.id))
    assert first in due(spool)


def test_a_delivery_that_was_under_way_when_the_process_died_goes_again(spool: Spool, job: Job) -> None:
    ids = due(spool)
    spool.deliveries.begin(ids[:2])
    assert spool.deliveries.interrupt_all() == 2
    assert due(spool) == ids


def test_a_step_that_is_not_possible_changes_none_of_a_batch(spool: Spool, job: Job) -> None:
    first, second, *_ = due(spool)
    spool.deliveries.begin([second])
    with pytest.raises(SpoolError, match="is sending"):
        spool.deliveries.begin([first, second])
    assert first in due(spool)
    with pytest.raises(SpoolError, match="no delivery"):
        spool.deliveries.done(10_000, "stored")


def test_cancelling_gives_up_the_job_and_all_that_waits_in_one_step(spool: Spool, job: Job) -> None:
    cancelled = spool.deliveries.cancel(job.id, "by hand")
    assert (cancelled.state, cancelled.reason) == ("cancelled", "by hand")
    assert set(states(spool, job).values()) == {"cancelled"}
    assert due(spool) == []


@pytest.mark.parametrize("outcome", ["defer", "park", "interrupt"])
def test_what_was_being_sent_when_its_job_was_cancelled_is_not_sent_again(spool: Spool, job: Job, outcome: str) -> None:
    first, *_ = due(spool)
    spool.deliveries.begin([first])
    spool.deliveries.cancel(job.id, "by hand")
    if outcome == "defer":
        spool.deliveries.defer(first, "away", 0.0)
    elif outcome == "park":
        spool.deliveries.park(first, "refused")
    else:
        spool.deliveries.interrupt_all()
    assert set(states(spool, job).values()) == {"cancelled"}


def test_what_arrives_after_the_cancelling_is_done_and_the_job_stays_cancelled(spool: Spool, job: Job) -> None:
    first, *_ = due(spool)
    spool.deliveries.begin([first])
    spool.deliveries.cancel(job.id, "by hand")
    spool.deliveries.done(first, "stored")
    assert sorted(set(states(spool, job).values())) == ["cancelled", "done"]
    assert spool.jobs.get(job.id).state == "cancelled"


def test_a_delivered_job_cannot_be_cancelled(spool: Spool, job: Job) -> None:
    deliver(spool, job)
    with pytest.raises(SpoolError, match="is delivered"):
        spool.deliveries.cancel(job.id, "by hand")
    assert spool.jobs.get(job.id).state == "delivered"


def test_done_is_written_beside_the_job_before_the_journal_hears_of_it(spool: Spool, job: Job) -> None:
    first, *_ = due(spool)
    with pytest.raises(SpoolError, match="is queued"):  # the journal refuses, as a crash would keep it from hearing
        spool.deliveries.done(first, "stored")
    (marker,) = read_lines(spool.layout.job(job.id) / "delivered.jsonl")
    assert (marker["destination"], marker["reason"]) == ("disk", "stored")


def test_adding_the_same_results_again_changes_nothing(spool: Spool, job: Job) -> None:
    """The report role died between queueing and its commit, and does both again."""
    deliver(spool, job)
    before = states(spool, job)
    everything = {"disk": tuple(ResultKind), "pacs": tuple(ResultKind)[:3]}
    results = spool.deliveries.results_of(job.id)
    folder = spool.layout.job(job.id) / "report"
    for path in (*folder.iterdir(), folder):
        path.rmdir() if path.is_dir() else path.unlink()
    spool.deliveries.add_results(job.id, write_report(spool, job), everything)
    assert states(spool, job) == before
    assert spool.deliveries.results_of(job.id) == results


def test_a_job_with_nothing_to_deliver_is_delivered_at_once(spool: Spool) -> None:
    job = conclude(spool, close(spool, collect(spool)))
    spool.jobs.step(job.id, "report")
    spool.deliveries.add_results(job.id, (), {"disk": tuple(ResultKind)})
    spool.deliveries.end_if_delivered(job.id)
    assert spool.jobs.get(job.id).state == "reporting"
    spool.jobs.step(job.id, "commit")
    spool.deliveries.end_if_delivered(job.id)
    assert spool.jobs.get(job.id).state == "delivered"


def test_the_backlog_counts_each_destination(spool: Spool, job: Job) -> None:
    spool.deliveries.begin(due(spool)[:1])
    counts = {(row["destination"], row["state"]): row["n"] for row in spool.deliveries.backlog()}
    assert counts == {("disk", "queued"): 3, ("disk", "sending"): 1, ("pacs", "queued"): 3}

"""How long studies wait is read from the journal, so it is right after a restart."""

import pytest
from support.spools import NOW, PIPELINE, close, collect, conclude, deliver, delivered_series, report, store_instance


def test_a_job_waits_from_its_last_image_until_its_report_is_written(spool):
    assert spool.jobs.waiting_since() == {}
    job = collect(spool, at=NOW)
    assert spool.jobs.waiting_since() == {}  # images are still coming
    job = close(spool, job)
    assert spool.jobs.waiting_since() == {PIPELINE: NOW}
    spool.jobs.step(job.id, "begin")
    assert spool.jobs.waiting_since() == {PIPELINE: NOW}
    job = spool.jobs.step(job.id, "conclude")
    assert spool.jobs.waiting_since() == {PIPELINE: NOW}
    spool.jobs.step(job.id, "report")
    assert spool.jobs.waiting_since() == {PIPELINE: NOW}
    spool.jobs.step(job.id, "commit")
    assert spool.jobs.waiting_since() == {}


def test_the_job_that_waits_longest_counts(spool):
    for number, at in ((1, NOW), (2, NOW - 500), (3, NOW - 100)):
        close(spool, collect(spool, (number,), key=str(number) * 64, at=at))
    assert spool.jobs.waiting_since() == {PIPELINE: NOW - 500}


def test_a_destination_waits_from_the_last_image_until_it_has_all(spool):
    assert spool.deliveries.waiting_since("pacs") is None
    later = report(spool, conclude(spool, close(spool, collect(spool, (1,), key="a" * 64, at=NOW))))
    earlier = report(spool, conclude(spool, close(spool, collect(spool, (2,), key="b" * 64, at=NOW - 60))))
    assert spool.deliveries.waiting_since("pacs") == NOW - 60
    spool.deliveries.begin([row["id"] for row in spool.deliveries.of_job(earlier.id)])
    assert spool.deliveries.waiting_since("pacs") == NOW - 60
    for row in spool.deliveries.of_job(earlier.id):
        spool.deliveries.done(row["id"], "stored")
    assert spool.deliveries.waiting_since("pacs") == NOW
    deliver(spool, later)
    assert spool.deliveries.waiting_since("pacs") is None


def test_what_is_parked_does_not_wait(spool):
    job = report(spool, conclude(spool, close(spool, collect(spool))))
    for row in spool.deliveries.of_job(job.id):
        spool.deliveries.begin([row["id"]])
        spool.deliveries.park(row["id"], "refused")
    assert spool.deliveries.waiting_since("pacs") is None


@pytest.mark.parametrize(("answered", "amends"), [(True, True), (False, False)])
def test_a_study_has_an_answer_only_when_an_earlier_revision_was_concluded(spool, answered, amends):
    first = close(spool, collect(spool, (1, 2)))
    if answered:
        report(spool, conclude(spool, first))
    else:
        spool.jobs.step(first.id, "begin")
        spool.jobs.step(first.id, "refuse", "missing_slices")
    second = collect(spool, (3,))
    assert (second.revision, spool.jobs.answered_before(second)) == (2, amends)
    assert not spool.jobs.answered_before(first)


def test_the_newest_image_is_known_from_the_journal(spool):
    assert spool.instances.last_received_at() is None
    spool.instances.add([store_instance(spool, 1, at=NOW), store_instance(spool, 2, at=NOW - 9)])
    assert spool.instances.last_received_at() == NOW
    delivered_series(spool, (3,), at=NOW + 5)
    assert spool.instances.last_received_at() == NOW + 5

"""Retention: only what is delivered and old goes, or what is delivered when the disk runs short."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.spools import (
    KEY,
    NOW,
    add_matched,
    close,
    collect,
    conclude,
    delivered_series,
    make_config,
    report,
    store_instance,
    take,
)

from edge_runtime.config import Retention
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.layout import Layout, read_lines
from edge_runtime.spool.receipt import Receipt
from edge_runtime.spool.retention import Sweeper, Swept, free_bytes
from edge_runtime.spool.spool import Spool

HOUR = 3600.0
PLENTY = 1 << 50


def sweeper(spool: Spool, free: Callable[[Layout], int] = lambda _: PLENTY, **keys: object) -> Sweeper:
    retention = Retention(originals_hours=24, results_days=7, **keys)
    return Sweeper(spool.layout, spool.journal, spool.store, retention, 1000, free)


def files(spool: Spool) -> set[str]:
    return {path.stem for path in spool.layout.instances.rglob("*.dcm")}


def one_unmatched(spool: Spool, number: int = 50, at: float = NOW) -> Receipt:
    receipt = store_instance(spool, number, at=at)
    spool.instances.add([receipt])
    spool.instances.step(receipt.id, "no_match", "head: modality")
    return receipt


def at_state(spool: Spool, state: str) -> Job:
    job = collect(spool)
    if state == "collecting":
        return job
    job = close(spool, job)
    if state in ("running", "refused"):
        job = spool.jobs.step(job.id, "begin")
    if state == "refused":
        job = spool.jobs.step(job.id, "refuse")
    if state == "parked":
        job = spool.jobs.step(job.id, "park")
    if state in ("concluded", "reporting", "reported"):
        job = conclude(spool, job)
    if state == "reporting":
        job = spool.jobs.step(job.id, "report")
    if state == "reported":
        job = report(spool, job)
    assert job.state == state
    return job


OPEN = ["collecting", "pending", "running", "parked", "concluded", "reporting", "reported"]


@pytest.mark.parametrize("state", OPEN)
def test_what_has_an_open_job_is_never_deleted(spool: Spool, state: str) -> None:
    job = at_state(spool, state)
    before = files(spool)
    assert sweeper(spool, lambda _: 0).sweep(NOW + 1e9) == Swept()
    assert files(spool) == before
    assert spool.layout.job(job.id).exists() == (state != "collecting")


def test_what_was_not_looked_at_yet_is_never_deleted(spool: Spool) -> None:
    receipt = store_instance(spool)
    spool.instances.add([receipt])
    assert sweeper(spool, lambda _: 0).sweep(NOW + 1e9) == Swept()
    assert files(spool) == {receipt.id}


def test_originals_of_a_delivered_series_go_after_their_hours_and_not_before(spool: Spool) -> None:
    job = delivered_series(spool)
    size = sum(receipt.size_bytes for receipt in spool.instances.of_job(job.id))
    assert sweeper(spool).sweep(NOW + 23.9 * HOUR) == Swept()
    assert sweeper(spool).sweep(NOW + 24.1 * HOUR) == Swept(originals=2, freed_bytes=size)
    assert files(spool) == set()
    assert spool.instances.has_retired(KEY)
    assert spool.instances.of_job(job.id) == []
    assert (spool.layout.job(job.id) / "report" / "manifest.json").exists()


def test_results_go_after_their_days(spool: Spool) -> None:
    job = delivered_series(spool)
    ended = spool.jobs.get(job.id).ended_at or 0.0
    sweeper(spool).sweep(NOW + 25 * HOUR)
    assert sweeper(spool).sweep(ended + 6.9 * 24 * HOUR).results == 0
    assert sweeper(spool).sweep(ended + 7.1 * 24 * HOUR).results == 1
    assert list(spool.layout.jobs.iterdir()) == []
    assert spool.jobs.get(job.id).state == "retired"
    assert spool.instances.is_own_result(f"2.25.{job.id}.sr")


def test_results_are_kept_as_long_as_an_image_they_were_made_of(spool: Spool) -> None:
    job = delivered_series(spool)
    late = Sweeper(spool.layout, spool.journal, spool.store, Retention(1e9, 0.001), 0, lambda _: PLENTY)
    assert late.sweep((spool.jobs.get(job.id).ended_at or 0.0) + HOUR).results == 0
    assert spool.layout.job(job.id).exists()


def test_unmatched_and_refused_are_kept_for_their_whole_time_whatever_the_pressure(spool: Spool) -> None:
    unmatched = one_unmatched(spool)
    at_state(spool, "refused")
    before = files(spool)
    assert sweeper(spool, lambda _: 0).sweep(NOW + 23 * HOUR) == Swept()
    assert files(spool) == before
    assert unmatched.id in before
    assert sweeper(spool).sweep(NOW + 25 * HOUR).originals == 3


def test_under_pressure_the_oldest_delivered_goes_first_and_no_more_than_needed(spool: Spool) -> None:
    for number in range(4):
        delivered_series(spool, tuple(range(number * 20, number * 20 + 20)), f"series {number}", NOW + number)
    order = sorted(files(spool))
    asked = iter([0, 0, PLENTY])
    assert sweeper(spool, lambda _: next(asked)).sweep(NOW).originals == 40
    assert files(spool) == set(order[40:])


def test_a_spool_that_keeps_deletes_nothing_under_pressure(spool: Spool) -> None:
    delivered_series(spool)
    assert sweeper(spool, lambda _: 0, on_pressure="keep").sweep(NOW) == Swept()


def test_deleting_starts_before_receiving_has_to_stop(spool: Spool) -> None:
    delivered_series(spool)
    assert sweeper(spool, lambda _: 1101).sweep(NOW).originals == 0
    assert sweeper(spool, lambda _: 1099).sweep(NOW).originals == 2


def test_the_same_bytes_are_a_twin_after_their_file_is_gone(spool: Spool) -> None:
    delivered_series(spool, (1,))
    sweeper(spool).sweep(NOW + 25 * HOUR)
    again = store_instance(spool, 1)
    other = store_instance(spool, 1, b"other bytes")
    twin = spool.instances.twin(again)
    assert twin is not None
    assert twin["state"] == "retired"
    assert spool.instances.twin(other) is None
    (memory,) = read_lines(spool.layout.retired)
    assert memory == spool.instances.memory(again)


def test_what_was_never_analysed_is_looked_at_afresh_when_it_is_sent_after_its_deletion(spool: Spool) -> None:
    one_unmatched(spool, 5)
    assert sweeper(spool).sweep(NOW + 25 * HOUR).originals == 1
    assert spool.instances.twin(store_instance(spool, 5)) is None
    assert list(read_lines(spool.layout.retired)) == []


def test_a_file_that_the_disk_spoiled_is_no_twin_of_its_good_copy(spool: Spool) -> None:
    spoiled, broken = store_instance(spool, 1), store_instance(spool, 2)
    spool.instances.add([spoiled, broken])
    spool.instances.step(spoiled.id, "bad", "altered")
    spool.instances.step(broken.id, "bad", "unreadable_header")
    assert spool.instances.twin(store_instance(spool, 1)) is None
    assert spool.instances.twin(store_instance(spool, 2)) is not None


def test_a_late_image_that_came_between_keeps_the_whole_series(spool: Spool) -> None:
    delivered_series(spool, (1, 2))
    take(spool, add_matched(spool, 3))
    assert sweeper(spool, lambda _: 0).sweep(NOW + 1e9).originals == 0
    assert len(files(spool)) == 3


def test_a_disk_that_refuses_leaves_the_rest_for_the_next_start(spool: Spool, tmp_path: Path) -> None:
    """The journal decided, the process died before the memory and the files: the next start finishes it."""
    from edge_runtime.spool.spool import prepare_spool

    job = delivered_series(spool, (1,))
    spool.layout.retired.mkdir()
    with pytest.raises(OSError, match="directory"):
        sweeper(spool).sweep(NOW + 25 * HOUR)
    assert len(files(spool)) == 1
    spool.layout.retired.rmdir()
    prepare_spool(make_config(tmp_path))
    assert files(spool) == set()
    assert len(list(read_lines(spool.layout.retired))) == 1
    assert spool.jobs.get(job.id).state == "delivered"


def test_a_job_folder_whose_deletion_was_cut_short_is_gone_after_the_next_start(spool: Spool, tmp_path: Path) -> None:
    from edge_runtime.spool.spool import prepare_spool

    job = delivered_series(spool, (1,))
    with spool.journal.write() as db:
        db.execute("UPDATE jobs SET state = 'retired' WHERE id = ?", (job.id,))
    prepare_spool(make_config(tmp_path))
    assert not spool.layout.job(job.id).exists()


def test_free_bytes_are_those_of_the_file_system(spool: Spool) -> None:
    assert 0 < free_bytes(spool.layout) < PLENTY

"""What the roles do when the journal takes nothing for a while: they wait, and no work is lost or counted as failed."""

import time
from collections.abc import Iterator

import pytest
from support.spools import close, collect, conclude, store_instance, write_report

from edge_runtime.config import Config
from edge_runtime.roles.inference import recover_jobs
from edge_runtime.roles.link import Link, socket_pair
from edge_runtime.roles.receive import Indexer
from edge_runtime.roles.reporting import write_waiting as report_turn
from edge_runtime.spool.spool import Spool
from edge_runtime.telemetry.metrics import NullMetrics


@pytest.fixture
def link() -> Iterator[Link]:
    ours, theirs = socket_pair()
    with ours, theirs:
        yield Link(theirs, list)


def test_news_of_stored_images_waits_until_the_journal_takes_it(spool: Spool, link: Link) -> None:
    receipts = [store_instance(spool, number) for number in range(200)]
    spool.journal.rows("PRAGMA max_page_count=1")  # SQLite then answers as on a full disk
    indexer = Indexer(spool, link, NullMetrics())
    for receipt in receipts:
        indexer.add(receipt)
    indexer.start()
    time.sleep(0.3)
    assert indexer.is_alive() and len(spool.instances.states()) < 200
    spool.journal.rows("PRAGMA max_page_count=100000")
    indexer.finish()
    assert len(spool.instances.states()) == 200


def test_a_report_whose_end_could_not_be_written_down_is_committed_at_the_next_turn(
    spool: Spool, config: Config, link: Link
) -> None:
    job = conclude(spool, close(spool, collect(spool)))
    spool.jobs.step(job.id, "report")
    write_report(spool, job)
    assert report_turn(config, spool, link, NullMetrics())
    job = spool.jobs.get(job.id)
    assert (job.state, job.report_attempts) == ("reported", 1)


@pytest.mark.parametrize(("whole", "state"), [(True, "concluded"), (False, "pending")])
def test_a_run_whose_end_could_not_be_written_down_costs_no_attempt(spool: Spool, whole: bool, state: str) -> None:
    job = close(spool, collect(spool))
    spool.jobs.step(job.id, "begin")
    if whole:
        (spool.layout.job(job.id) / "result.json").write_bytes(b"{}")
    recover_jobs(spool, "defer")
    job = spool.jobs.get(job.id)
    assert job.state == state and (whole or job.attempts == 0)

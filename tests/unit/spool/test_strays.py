"""What waits for a pipeline or destination that is gone says so, and goes on when that is put back."""

import logging

import pytest
from support.spools import PIPELINE, close, collect, conclude, deliver, report

from edge_runtime.spool.spool import Spool
from edge_runtime.spool.strays import (
    NO_DESTINATION,
    NO_PIPELINE,
    WAITS_FOR,
    explain_deliveries,
    explain_jobs,
    forget_deliveries,
    forget_jobs,
)


def delivery_reasons(spool: Spool, job_id: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in spool.deliveries.of_job(job_id):
        found.setdefault(row["destination"], set()).add(row["reason"])
    return found


def test_a_job_of_a_pipeline_that_is_gone_stays_pending_with_a_reason(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    job = close(spool, collect(spool))
    explain_jobs(spool.journal, "pending", ["another"])
    assert spool.jobs.get(job.id).reason == ""
    with caplog.at_level(logging.WARNING):
        explain_jobs(spool.journal, "pending", [PIPELINE])
        explain_jobs(spool.journal, "pending", [PIPELINE])
    told = spool.jobs.get(job.id)
    assert (told.state, told.reason, told.attempts) == ("pending", NO_PIPELINE, 0)
    assert len(caplog.records) == 1, "it is said once"
    assert "reload" in NO_PIPELINE and "cancel" in NO_PIPELINE
    forget_jobs(spool.journal, "pending")
    assert spool.jobs.get(job.id).reason == ""


def test_a_job_in_another_state_keeps_its_reason(spool: Spool) -> None:
    job = conclude(spool, close(spool, collect(spool)))
    explain_jobs(spool.journal, "pending", [PIPELINE])
    assert spool.jobs.get(job.id).reason == ""
    explain_jobs(spool.journal, "concluded", [PIPELINE])
    assert spool.jobs.get(job.id).reason == NO_PIPELINE
    forget_jobs(spool.journal, "pending")
    assert spool.jobs.get(job.id).reason == NO_PIPELINE


def test_deliveries_to_a_destination_that_is_gone_say_so_and_their_job_names_it(spool: Spool) -> None:
    job = report(spool, conclude(spool, close(spool, collect(spool))))
    explain_deliveries(spool.journal, ["pacs"])
    assert delivery_reasons(spool, job.id) == {"disk": {""}, "pacs": {NO_DESTINATION}}
    told = spool.jobs.get(job.id)
    assert told.state == "reported"
    assert told.reason.startswith(f"{WAITS_FOR}pacs") and "cancel" in told.reason
    forget_deliveries(spool.journal)
    assert delivery_reasons(spool, job.id) == {"disk": {""}, "pacs": {""}}
    assert spool.jobs.get(job.id).reason == ""
    assert deliver(spool, job).state == "delivered"


def test_what_is_delivered_already_is_not_touched(spool: Spool) -> None:
    job = deliver(spool, report(spool, conclude(spool, close(spool, collect(spool)))))
    explain_deliveries(spool.journal, ["pacs", "disk"])
    assert delivery_reasons(spool, job.id) == {"disk": {"stored"}, "pacs": {"stored"}}
    assert spool.jobs.get(job.id).reason == ""

"""Which events a job's report makes: what an earlier revision said decides whether a negative is news."""

import shutil
from dataclasses import replace

import pytest
from support.report_sources import ENGINE, HEMORRHAGE, volume_case
from support.spools import close, collect, deliver, report

from edge_runtime.config import Destination, SendTo
from edge_runtime.domain import Analysis, Answer, Finding, StageOutcome, StageRecord
from edge_runtime.roles.reporting import _announcements
from edge_runtime.spool.results import save_result


@pytest.fixture
def hooked(config):
    """The configuration with two webhooks, of which one wants all."""
    hooks = [
        Destination(name, "webhook", url="https://example.org", secret_file="/key", announce=announce)
        for name, announce in (("alert", "positive"), ("all", "all"))
    ]
    (pipeline,) = config.pipelines
    pipeline = replace(pipeline, send_to=(SendTo("disk"), SendTo("alert"), SendTo("all")))
    return replace(config, pipelines=(pipeline,), destinations=(*config.destinations, *hooks))


@pytest.fixture
def saying(tmp_path):
    base = volume_case(tmp_path).result
    record = StageRecord("triage", ENGINE, StageOutcome.RAN)

    def result_of(job, answer):
        findings = (Finding("triage", "hemorrhage", HEMORRHAGE, answer),)
        return replace(base, job_id=job.id, revision=job.revision, analysis=Analysis((record,), findings))

    return result_of


def concluded(spool, number, saying, answer):
    """The next revision of the series, concluded with this answer."""
    job = close(spool, collect(spool, (number,)))
    spool.jobs.step(job.id, "begin")
    save_result(saying(job, answer), spool.layout.job(job.id))
    return spool.jobs.step(job.id, "conclude")


def announced(job, saying, answer, hooked, spool):
    found = _announcements(job, saying(job, answer), hooked, spool)
    return {one.destination: one.replaces for one in found}


def test_a_first_negative_goes_only_to_those_who_want_all(hooked, spool, saying):
    job = concluded(spool, 1, saying, Answer.NEGATIVE)
    assert announced(job, saying, Answer.NEGATIVE, hooked, spool) == {"all": None}
    assert announced(job, saying, Answer.POSITIVE, hooked, spool) == {"alert": None, "all": None}


@pytest.mark.parametrize("earlier", Answer)
def test_a_negative_is_news_where_it_takes_something_back(hooked, spool, saying, earlier):
    first = deliver(spool, report(spool, concluded(spool, 1, saying, earlier)))
    second = concluded(spool, 2, saying, Answer.NEGATIVE)
    found = announced(second, saying, Answer.NEGATIVE, hooked, spool)
    assert found == ({"all": first.id} if earlier is Answer.NEGATIVE else {"alert": first.id, "all": first.id})


@pytest.mark.parametrize("lost", ["whole folder", "result"])
def test_a_negative_is_news_where_nobody_knows_what_was_said_before(hooked, spool, saying, lost):
    first = deliver(spool, report(spool, concluded(spool, 1, saying, Answer.POSITIVE)))
    second = concluded(spool, 2, saying, Answer.NEGATIVE)
    folder = spool.layout.job(first.id)
    if lost == "result":
        (folder / "result.json").write_bytes(b"{")
    else:
        shutil.rmtree(folder)
    assert "alert" in announced(second, saying, Answer.NEGATIVE, hooked, spool)


def test_a_revision_that_never_reported_is_looked_through(hooked, spool, saying):
    first = deliver(spool, report(spool, concluded(spool, 1, saying, Answer.POSITIVE)))
    refused = close(spool, collect(spool, (2,)))
    spool.jobs.step(refused.id, "begin")
    spool.jobs.step(refused.id, "refuse", "missing_slices")
    third = concluded(spool, 3, saying, Answer.NEGATIVE)
    found = announced(third, saying, Answer.NEGATIVE, hooked, spool)
    assert found["alert"] == first.id


def test_a_pipeline_without_a_webhook_announces_nothing(config, spool, saying):
    job = concluded(spool, 1, saying, Answer.POSITIVE)
    assert announced(job, saying, Answer.POSITIVE, config, spool) == {}

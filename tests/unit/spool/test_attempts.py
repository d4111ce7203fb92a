"""When a job is parked: by its own deaths, not by those of the daemon, the disk, or another step."""

import pytest

from edge_runtime.spool.jobs import MAXIMUM_ATTEMPTS, MAXIMUM_INTERRUPTIONS, MAXIMUM_REPORT_ATTEMPTS, Job


def job(state="pending", attempts=0, report_attempts=0, interruptions=0):
    times = {"created_at": 0.0, "first_received_at": 0.0, "last_received_at": 0.0, "deadline_at": 0.0, "ended_at": None}
    counts = {"attempts": attempts, "report_attempts": report_attempts, "interruptions": interruptions}
    return Job("j", "s", "p", 1, state, "", **counts, **times, amends=None)


def test_inference_that_succeeded_at_the_last_attempt_may_still_be_reported():
    assert not job("concluded", attempts=MAXIMUM_ATTEMPTS).poisonous


@pytest.mark.parametrize("state", ["pending", "running"])
def test_inference_that_ended_its_worker_too_often_is_poisonous(state):
    assert job(state, attempts=MAXIMUM_ATTEMPTS).poisonous
    assert not job(state, attempts=MAXIMUM_ATTEMPTS - 1).poisonous


@pytest.mark.parametrize("state", ["concluded", "reporting"])
def test_a_report_that_ended_its_worker_too_often_is_poisonous(state):
    assert job(state, report_attempts=MAXIMUM_REPORT_ATTEMPTS).poisonous
    assert not job(state, report_attempts=MAXIMUM_REPORT_ATTEMPTS - 1).poisonous


def test_a_job_that_was_there_at_too_many_ends_of_the_daemon_is_poisonous():
    assert job(interruptions=MAXIMUM_INTERRUPTIONS).poisonous
    assert not job(interruptions=MAXIMUM_INTERRUPTIONS - 1).poisonous

"""Whom a failure of the device is held against: nobody at first, and a study only when other work fares better."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.spools import close, collect

from edge_runtime.config import Config
from edge_runtime.errors import (
    EXIT_DEVICE_LOST,
    EXIT_UNAVAILABLE,
    BackendUnavailable,
    CaptureFailed,
    DeviceError,
    DeviceLost,
    EngineRejected,
    OutOfDeviceMemory,
)
from edge_runtime.roles.inference import DEVICE_FAILED, LONGEST_AGAIN_SECONDS, JobRunner, _look, recover_jobs
from edge_runtime.roles.link import Link, socket_pair
from edge_runtime.roles.main import exit_code
from edge_runtime.spool.jobs import MAXIMUM_INTERRUPTIONS, Job
from edge_runtime.spool.spool import Spool
from edge_runtime.telemetry.metrics import NullMetrics

LOST = DeviceLost("cuStreamSynchronize", "CUDA_ERROR_ILLEGAL_ADDRESS")


class Ahead:
    def forget(self) -> None:
        """Nothing was read ahead."""


class Infer:
    """The processes of infer, one after the other, on one spool. `fails` names the jobs at which the device fails."""

    def __init__(self, config: Config, spool: Spool, link: Link) -> None:
        self.spool, self.link, self.config = spool, link, config
        self.fails: set[str] = set()
        self.ran: list[str] = []
        self.live = False

    def add(self, number: int) -> str:
        """A job; those of lower numbers are due earlier."""
        return close(self.spool, collect(self.spool, (number,), f"{number:064d}", 1_790_000_000.0 + number)).id

    def runner(self) -> JobRunner:
        arguments: tuple[Any, ...] = (self.config, self.spool, self.link, NullMetrics(), {"head": None}, {}, Ahead())
        runner = JobRunner(*arguments, live_works=lambda: self.live)
        vars(runner)["_conclude"] = self.conclude
        return runner

    def conclude(self, job: Job, _following: Job | None) -> None:
        self.ran.append(job.id)
        if job.id in self.fails:
            raise LOST
        self.spool.jobs.step(job.id, "conclude")

    def live_once(self, seconds: float = 0.0) -> JobRunner:
        """A process that began so long ago, from now until the device fails or nothing is left to do."""
        recover_jobs(self.spool)
        runner = self.runner()
        runner._began_at -= seconds
        while runner.broken is None and runner._run_next():
            pass
        return runner

    def job(self, job_id: str) -> Job:
        return self.spool.jobs.get(job_id)


@pytest.fixture
def infer(config: Config, spool: Spool) -> Iterator[Infer]:
    ours, theirs = socket_pair()
    with ours, theirs:
        yield Infer(config, spool, Link(theirs, list))


def test_a_failed_device_ends_the_process_and_gives_the_attempt_back(infer: Infer) -> None:
    job = infer.add(1)
    infer.fails = {job}
    assert infer.live_once().broken is LOST
    assert infer.link.hinted.is_set(), "the main loop waits for nothing else"
    found = infer.job(job)
    assert (found.state, found.attempts, found.interruptions) == ("pending", 0, 1)
    assert found.reason.startswith(DEVICE_FAILED) and "cuStreamSynchronize" in found.reason


def test_a_device_that_fails_at_every_job_parks_none(infer: Infer) -> None:
    jobs = [infer.add(number) for number in range(4)]
    infer.fails = set(jobs)
    for _ in range(4):
        infer.live_once()
    assert [infer.job(job).attempts for job in jobs] == [0] * 4
    assert sorted(infer.ran) == sorted(jobs), "each in its turn"
    infer.fails = set()
    infer.live_once()
    assert {infer.job(job).state for job in jobs} == {"concluded"}


def test_a_study_at_which_the_device_fails_while_others_are_analysed_is_parked_at_the_third_time(infer: Infer) -> None:
    poison, others = infer.add(0), [infer.add(number) for number in (1, 2, 3)]
    infer.fails = {poison}
    attempts = []
    for number in range(3):
        infer.live_once()
        attempts.append(infer.job(poison).attempts)
        infer.add(10 + number)  # there is always something else to do
    assert attempts == [0, 1, 2]
    infer.live_once()
    assert {infer.job(job).state for job in others} == {"concluded"}
    assert infer.job(poison).state == "parked" and "cuStreamSynchronize" in infer.job(poison).reason
    assert infer.ran.count(poison) == 3


def test_live_frames_that_are_answered_are_other_work_too(infer: Infer) -> None:
    poison = infer.add(0)
    infer.fails, infer.live = {poison}, True
    for _ in range(4):
        infer.live_once()
    assert (infer.job(poison).state, infer.ran.count(poison)) == ("parked", 3)


def test_a_study_that_is_alone_with_the_device_is_parked_after_ten_failures_each_after_golden_runs(
    infer: Infer,
) -> None:
    poison = infer.add(0)
    infer.fails = {poison}
    for _ in range(MAXIMUM_INTERRUPTIONS + 3):
        infer.live_once(LONGEST_AGAIN_SECONDS)
    assert (infer.job(poison).state, infer.ran.count(poison)) == ("parked", MAXIMUM_INTERRUPTIONS)


def test_a_job_that_is_alone_with_a_failing_device_is_tried_less_and_less_often(infer: Infer) -> None:
    poison = infer.add(0)
    infer.fails = {poison}
    for failures, seconds in ((1, 0.0), (2, 0.0), (2, 4.0), (3, 6.0), (3, 9.0), (4, 11.0), (4, 19.0), (5, 21.0)):
        infer.live_once(seconds)
        assert len(infer.ran) == failures, seconds
    other = infer.add(1)
    infer.live_once()
    assert infer.ran[-2:] == [other, poison], "other work goes on meanwhile, and then shows that the device works"


def test_a_study_that_is_to_be_parked_is_not_held_back_first(infer: Infer) -> None:
    poison = infer.add(0)
    infer.fails, infer.live = {poison}, True
    for _ in range(3):
        infer.live_once()
    infer.live = False
    infer.live_once()
    assert infer.job(poison).state == "parked"


def test_the_job_at_work_when_a_live_frame_meets_the_failure_gets_its_attempt_back(infer: Infer) -> None:
    job = infer.add(1)
    runner = infer.runner()

    def meet(_job: Job, _following: object) -> None:
        with pytest.raises(DeviceLost):
            _look(lambda: _raise(LOST), runner)

    vars(runner)["_conclude"] = meet
    runner._run_next()
    assert (infer.job(job).state, infer.job(job).attempts) == ("pending", 0)


def test_a_failure_between_two_jobs_concerns_none(infer: Infer) -> None:
    job = infer.add(1)
    runner = infer.runner()
    runner._run_next()
    runner.device_failed(LOST)
    assert (infer.job(job).state, runner.broken) == ("concluded", LOST)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LOST, EXIT_DEVICE_LOST),
        (OutOfDeviceMemory("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY"), EXIT_DEVICE_LOST),
        (DeviceError("cuLaunchKernel", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"), EXIT_DEVICE_LOST),
        (CaptureFailed("cuStreamEndCapture", "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"), EXIT_DEVICE_LOST),
        (EngineRejected("for another SM"), EXIT_UNAVAILABLE),
        (BackendUnavailable("no driver"), EXIT_UNAVAILABLE),
    ],
)
def test_a_role_says_whether_a_new_process_may_do_better(error: DeviceError, code: int) -> None:
    assert exit_code(error) == code


def _raise(error: Exception) -> None:
    raise error

"""The work of infer: collects series, has them decoded, runs the pipeline, commits findings."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import threading
import time
from collections.abc import Callable

from edge_runtime.assemble.decoder import DecodePool
from edge_runtime.config import Config
from edge_runtime.errors import (
    AssemblyRefused,
    DeviceError,
    EngineError,
    InferenceFailed,
    Refused,
    SpoolError,
    StepRefused,
)
from edge_runtime.roles.ahead import Ahead
from edge_runtime.roles.answers import count_answers
from edge_runtime.roles.collect import BATCH, Collector
from edge_runtime.roles.device_end import DeviceHang
from edge_runtime.roles.link import Link
from edge_runtime.roles.study import Study, conclude
from edge_runtime.schedule.arbiter import RunClass
from edge_runtime.schedule.claim import Claim
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.results import save_result
from edge_runtime.spool.spool import Spool
from edge_runtime.spool.states import JOB_STATES
from edge_runtime.spool.strays import explain_jobs, forget_jobs
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.telemetry.logs import describe
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.infer")

POLL_SECONDS = 1.0
GATHER_SECONDS = 0.1
LOOKING_NICENESS = 10
"""Images that arrive go before the looking at those that are stored."""

DISK_WAIT_SECONDS = 10.0
INDEX_BOUND_SECONDS = 900.0
"""For one batch of new images, each of which is read whole: a slow disk and large objects take their time."""


DEVICE_FAILED = "the device failed: "
"""The reason of a pending job at which it did begins so: other work goes first, for the job may be the cause."""

AGAIN_SECONDS, LONGEST_AGAIN_SECONDS = 5.0, 300.0
"""After a second failure at the same job, and at most; twice as long each time."""


class JobRunner(threading.Thread):
    """Runs pending jobs one at a time, the earliest deadline first.

    A failure of the device gives a job its attempt back: a device that fails twice in a row says nothing of a study.
    It is held against the job when the device failed at its last attempt too, and did other work in between. A job that
    is alone with such a device is tried less and less often.
    """

    def __init__(
        self,
        config: Config,
        spool: Spool,
        link: Link,
        metrics: Metrics,
        pipelines: dict[str, Pipeline],
        claims: dict[str, Claim],
        ahead: Ahead,
        live_works: Callable[[], bool] = lambda: False,
    ) -> None:
        """`live_works`: whether a live frame was answered on the same device since this process began."""
        super().__init__(name="job-runner", daemon=True)
        self.wake = threading.Event()
        self.broken: EngineError | None = None
        self._config = config
        self._spool = spool
        self._link = link
        self._metrics = metrics
        self._pipelines = pipelines
        self._claims = claims
        self._ahead = ahead
        self._live_works = live_works
        self._began_at = time.monotonic()
        self._concluded = False
        self._running: Job | None = None  # as it was before it began

    def device_failed(self, error: DeviceError) -> None:
        """This process can use the device no more: the job at work begins anew in the next. From any thread."""
        job, self._running, self.broken = self._running, None, error
        self._link.hinted.set()
        if job is None:
            return
        suspect = _device_failures(job) > 0 and self._device_works()
        with contextlib.suppress(StepRefused):  # it has ended this very moment
            self._spool.jobs.step(job.id, "interrupt" if suspect else "yield", DEVICE_FAILED + describe(error))

    def _device_works(self) -> bool:
        """Whether it did a whole piece of work in this process, beside the golden runs."""
        return self._concluded or self._live_works()

    def run(self) -> None:
        """Until the role stops."""
        while not self._link.stopped.is_set() and self.broken is None:
            try:
                worked = self._run_next()
            except SpoolError:  # it was cancelled at the console a moment ago, or the disk is full
                log.exception("job not begun or not ended")
                worked = False
            if not worked:
                self.wake.wait(POLL_SECONDS)
                self.wake.clear()

    def _run_next(self) -> bool:
        recover_jobs(self._spool, "defer")  # an end that could not be written down
        pending = [job for job in self._spool.jobs.in_state("pending") if job.pipeline in self._pipelines]
        ready = pending
        if not self._device_works():
            seconds = time.monotonic() - self._began_at
            ready = sorted((job for job in pending if seconds >= _apart_seconds(job)), key=_device_failures)
        due = next((job for job in ready if not self._spool.instances.waits_for_look(job.id)), None)
        if due is None:
            if not pending and not self._spool.jobs.in_state("collecting"):
                self._ahead.forget()
            return False
        self._run_job(due, next((job for job in pending if job.id != due.id), None))
        return True

    def _run_job(self, job: Job, following: Job | None) -> None:
        if job.poisonous:
            text = (f"ended its worker {job.attempts} times, was at work at {job.interruptions} ends of the daemon "
                    "or failures of the device")  # fmt: skip
            self._end(job, "park", f"{text}; last: {job.reason or 'the process died'}")
            return
        self._running, job = job, self._spool.jobs.step(job.id, "begin")
        config = self._config.pipeline(job.pipeline)
        assert config is not None
        with self._link.progress("job", job.id, config.maximum_seconds):
            try:
                self._conclude(job, following)
            except Refused as refused:
                self._end(job, "refuse", f"{refused.reason}: {refused.detail}", refused.reason)
            except DeviceError as error:
                log.critical("device failed", extra={"event": {"job": job.id, "error": describe(error)}})
                self.device_failed(error)
            except EngineError as error:
                log.critical("device or engine lost", extra={"event": {"job": job.id, "error": describe(error)}})
                self._spool.jobs.step(job.id, "interrupt", describe(error))
                self.broken = error
                self._link.hinted.set()
            except SpoolError as error:
                log.exception("job waits for the disk", extra={"event": {"job": job.id}})
                self._spool.jobs.step(job.id, "defer", describe(error))
                self._link.stopped.wait(DISK_WAIT_SECONDS)
            except Exception as error:  # a job must not take the others down
                log.exception("job failed", extra={"event": {"job": job.id, "attempt": job.attempts}})
                self._failed(job, error)
            else:
                self._concluded = True
        self._running = None

    def _failed(self, job: Job, error: BaseException) -> None:
        """Try it once more, then park it."""
        if job.poisonous:
            self._end(job, "park", describe(error))
        else:
            self._spool.jobs.step(job.id, "interrupt", describe(error))

    def _conclude(self, job: Job, following: Job | None) -> None:
        receipts = tuple(self._spool.instances.of_job(job.id))
        config, pipeline = self._config.pipeline(job.pipeline), self._pipelines[job.pipeline]
        assert config is not None
        missing = self._spool.instances.missing_of_job(job.id)
        if missing or self._spool.instances.has_retired(job.series_key):
            raise AssemblyRefused("originals_missing", f"{missing} images of this job are no longer kept, or others of "
                                  "its series were deleted after the retention time")  # fmt: skip
        amends = self._spool.jobs.answered_before(job)
        study = Study(
            job_id=job.id,
            revision=job.revision,
            receipts=receipts,
            completeness=f"no further image for {config.complete_after_seconds:g} s",
            deadline_at=job.deadline_at,
        )
        objects = self._ahead.take(receipts)
        if following is not None:
            self._ahead.go_on(self._spool.instances.of_job(following.id))
        if job.pipeline in self._claims:
            left = job.deadline_at - time.time()
            self._claims[job.pipeline].begin(RunClass.STUDY, time.monotonic() + left)
        result = conclude(study, config, pipeline, objects, job.deadline_at - time.time())
        save_result(result, self._spool.layout.job(job.id))
        self._spool.jobs.step(job.id, "conclude")
        self._link.hint("report")
        for stage in result.analysis.stages:
            labels = {"pipeline": job.pipeline, "stage": stage.stage}
            self._metrics.observe("edge_stage_seconds", stage.seconds, **labels)
            self._metrics.count("edge_stage_outcomes_total", 1, outcome=stage.outcome.value, **labels)
        self._metrics.observe("edge_study_seconds", result.concluded_at - job.last_received_at, pipeline=job.pipeline)
        outcome = "complete" if result.analysis.complete else "incomplete"
        self._metrics.count("edge_jobs_concluded_total", pipeline=job.pipeline, outcome=outcome)
        count_answers(result, amends, self._metrics)
        if result.late:
            self._metrics.count("edge_deadline_missed_total", pipeline=job.pipeline)
        event = {"job": job.id, "pipeline": job.pipeline, "outcome": outcome, "late": result.late}
        log.info("job concluded", extra={"event": event})

    def _end(self, job: Job, event: str, text: str, reason: str = "attempts") -> None:
        self._spool.jobs.step(job.id, event, text)
        name = {"refuse": "edge_jobs_refused_total", "park": "edge_jobs_parked_total"}[event]
        self._metrics.count(name, pipeline=job.pipeline, reason=reason)
        log.error(f"job {event}d", extra={"event": {"job": job.id, "pipeline": job.pipeline, "reason": text}})


def _device_failures(job: Job) -> int:
    """How often the device failed at a pending job, if it did at the last attempt."""
    return job.interruptions + job.attempts if job.reason.startswith(DEVICE_FAILED) else 0


def _apart_seconds(job: Job) -> float:
    """How long a process does without a job at which the device failed, so that others are not held up by it."""
    failures = _device_failures(job)
    return 0.0 if failures < 2 or job.poisonous else min(AGAIN_SECONDS * 2.0 ** (failures - 2), LONGEST_AGAIN_SECONDS)


def recover_jobs(spool: Spool, event: str = "interrupt") -> None:
    """While nothing runs: what is said to run is concluded if its result is whole, else runs again."""
    for job in spool.jobs.in_state("running"):
        whole = (spool.layout.job(job.id) / "result.json").exists()
        spool.jobs.step(job.id, "conclude" if whole else event)


def work(
    config: Config,
    spool: Spool,
    link: Link,
    metrics: Metrics,
    pipelines: dict[str, Pipeline],
    claims: dict[str, Claim],
    hang: DeviceHang,
    each_turn: Callable[[], None] | None = None,
    live_works: Callable[[], bool] = lambda: False,
) -> None:
    """Collect series and run their jobs until stopped. `claims`: in whose name they run beside live frames.

    `hang` gives the job at work back first; `live_works`: whether live frames were answered on the same device.

    Raises:
        EngineError: the device or an engine is lost.
        InferenceFailed: the thread that runs jobs has ended.
    """
    forget_jobs(spool.journal, "pending")
    importlib.import_module("scipy.ndimage")  # the first mask needs it; nobody waits now
    pool = DecodePool(config.decode, metrics)
    ahead = Ahead(lambda receipt: pool.submit(spool.store.path(receipt.id)))
    collector = Collector(config, spool, metrics, ahead.start)
    runner = JobRunner(config, spool, link, metrics, pipelines, claims, ahead, live_works)
    hang.give_back = runner.device_failed
    runner.start()
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOOKING_NICENESS)  # this thread alone
    counts_at = 0.0
    while not link.stopped.is_set() and runner.broken is None:
        link.beat()
        if each_turn is not None:
            _look(each_turn, runner)
        if not runner.is_alive():
            raise InferenceFailed("the thread that runs jobs has ended; its last words are in the log")
        try:
            with link.progress("index", "", INDEX_BOUND_SECONDS):
                indexed = collector.index()
            if indexed == BATCH:
                continue  # there is more to look at
            if collector.close_quiet():
                runner.wake.set()
        except SpoolError:  # the disk is full: what was begun is undone, and is read again from the journal
            log.exception("images not looked at")
            link.stopped.wait(POLL_SECONDS)
            collector = Collector(config, spool, metrics, ahead.start)
        if time.monotonic() >= counts_at:
            _count_jobs(config, spool, metrics)
            counts_at = time.monotonic() + POLL_SECONDS
        if link.hinted.wait(min(POLL_SECONDS, collector.seconds_to_next())):
            link.stopped.wait(GATHER_SECONDS)  # what follows a hint closely is looked at together
        link.hinted.clear()
    runner.wake.set()
    while runner.is_alive() and link.drain_seconds > 0:
        runner.join(min(link.drain_seconds, POLL_SECONDS))
    if runner.broken is not None:
        raise runner.broken
    if runner.is_alive():
        _put_back(spool, link.replaced)
    pool.close()
    spool.close()


def _look(each_turn: Callable[[], None], runner: JobRunner) -> None:
    try:
        each_turn()
    except DeviceError as error:  # of a live frame; a job may be at work on the same device
        runner.device_failed(error)
        raise


def _put_back(spool: Spool, replaced: bool) -> None:
    """The running job begins anew in the next process. Only an end of the whole daemon is remembered of it."""
    event, reason = ("defer", "the configuration was changed") if replaced else ("yield", "the daemon was stopped")
    for job in spool.jobs.in_state("running"):
        with contextlib.suppress(StepRefused):  # it has ended this very moment
            spool.jobs.step(job.id, event, reason)


def _count_jobs(config: Config, spool: Spool, metrics: Metrics) -> None:
    counts, since, now = spool.jobs.counts(), spool.jobs.waiting_since(), time.time()
    for pipeline in config.pipelines:
        age = max(0.0, now - since.get(pipeline.name, now))
        metrics.set("edge_job_oldest_pending_seconds", age, pipeline=pipeline.name)
        metrics.set("edge_deadline_seconds", pipeline.deadline_seconds, pipeline=pipeline.name)
        for state in JOB_STATES:
            metrics.set("edge_jobs", counts.get((pipeline.name, state), 0), pipeline=pipeline.name, state=state)
    stray = {name: n for (name, state), n in counts.items() if state == "pending" and config.pipeline(name) is None}
    explain_jobs(spool.journal, "pending", stray)
    metrics.set("edge_jobs_without_pipeline", sum(stray.values()))

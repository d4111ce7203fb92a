"""Runs a site: its configuration in the real daemon, its traffic, stand-ins for its peers; and fills the record."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from benchmarks.acceptance.daemon_facts import ENDED, JobFacts, frames_by_outcome, jobs_of, troubles_of
from benchmarks.acceptance.replaced import Replaced, replacements
from benchmarks.acceptance.seen import Measured, Site
from benchmarks.acceptance.sender import Route, Sender, SentStudy, send_one
from benchmarks.acceptance.series import callers_of, choose, load
from benchmarks.acceptance.stand_ins import StandIns
from benchmarks.acceptance.traffic import EVEN, SeriesTraffic
from benchmarks.daemon import Daemon
from benchmarks.record import BenchFailed, Record
from edge_runtime.config import Config, Pipeline
from edge_runtime.metrics import CONNECT_OUTCOMES, SOURCE_STATES
from edge_runtime.spool.layout import Layout
from edge_runtime.yaml_schema import read_schema

READY_SECONDS = 600.0
"""Loading and warming engines may take minutes on a small device."""

BUSY_SHARE = 0.5
"""Of the time that a site without a traffic shape is kept busy: each study is alone, and there are as many as fit."""

_TURN_SECONDS = 0.5
_SHORTEST_INTERVAL_SECONDS = 1.0
_UNMATCHED_SECONDS = 5.0


class SiteRun:
    """One run; a context manager that ends and removes all that it started."""

    def __init__(self, site: Site, record: Record) -> None:
        self.measured = Measured(site.config)
        self._site, self._record = site, record
        self._stack = ExitStack()
        self._senders: list[Sender] = []
        self._before: dict[str, dict[str, int]] = {}

    def __enter__(self) -> SiteRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self) -> None:
        """Start everything, send for as long as asked, wait for what is under way.

        Raises:
            BenchFailed, DaemonFailed: the site cannot be measured; what was seen until then is kept.
        """
        site = self._site
        videos = {} if site.traffic is None else {name: str(file) for name, file in site.traffic.videos.items()}
        self._stand_ins = self._stack.enter_context(StandIns(site.config, site.work / "stand-ins"))
        over = replacements(site.config, self._stand_ins.places, videos)
        self._tell(over)
        self._start(over)
        routes = self._routes()
        self._begin_examinations()
        self._warm_up(routes)
        self._before = frames_by_outcome(self._daemon, [video.name for video in site.config.video])
        self._losses_before = self._losses()
        self.measured.frames_from = time.time()
        for pipeline, traffic in self.measured.traffic.items():
            sender = Sender(routes[pipeline], traffic, site.seconds, site.work)
            self._stack.callback(sender.stop)
            self._senders.append(sender)
            sender.start()
        self._wait_for_the_end(time.monotonic() + site.seconds)
        self._wait_for_results()
        self.measured.troubles = troubles_of(self._daemon)

    def collect(self) -> None:
        """Take what there is now, whether or not the run went to its end."""
        measured = self.measured
        measured.ended_at = time.time()
        if measured.spool is None or not Layout(measured.spool).journal.exists():
            return
        for sender in self._senders:
            sender.stop()
        measured.sent = [study for sender in self._senders for study in sender.sent]
        measured.jobs = jobs_of(measured.config)
        measured.arrived = self._stand_ins.arrived()
        measured.lines = {video.pipeline: self._stand_ins.lines(video.pipeline) for video in measured.config.video}
        if measured.frames_from:
            with suppress(BenchFailed):  # a daemon that ended says no more: no frame was counted
                self._count_frames()

    def _count_frames(self) -> None:
        if not self.measured.frames:
            now = frames_by_outcome(self._daemon, list(self._before))
            self.measured.frames_until = time.time()
            self.measured.source_states = {source: self._state(source) for source in self._before}
            self.measured.source_losses = {
                source: count - self._losses_before[source] for source, count in self._losses().items()
            }
            self.measured.frames = {
                source: {outcome: count - self._before[source].get(outcome, 0) for outcome, count in counts.items()}
                for source, counts in now.items()
            }

    def _losses(self) -> dict[str, int]:
        """How often each source ended or could not be opened; the end of a file that begins again is no loss."""
        found = {}
        for video in self.measured.config.video:
            usual = ("opened", "ended") if video.loop else ("opened",)
            outcomes = [outcome for outcome in CONNECT_OUTCOMES if outcome not in usual]
            name = "edge_video_connects_total"
            lost = [self._daemon.metric(name, source=video.name, outcome=outcome) for outcome in outcomes]
            found[video.name] = int(sum(lost))
        return found

    def _state(self, source: str) -> str:
        of = [one for one in SOURCE_STATES if self._daemon.metric("edge_video_state", source=source, state=one)]
        return of[0] if of else "unknown"

    def _tell(self, over: Replaced) -> None:
        self._record.notes.extend(f"not as at the site: {one}" for one in over.differences)
        if self._site.reserve_bytes is not None:
            self._record.notes.append(f"not as at the site: spool.reserve_bytes: {self._site.reserve_bytes}")
        for name in over.left_out:
            self._record.problem(f"destination {name} was left out: its type has no stand-in; its load is not in here")

    def _start(self, over: Replaced) -> None:
        site, spool = self._site, self._site.work / "spool"
        reserve = [] if site.reserve_bytes is None else [f"spool.reserve_bytes={site.reserve_bytes}"]
        self._daemon = Daemon(site.file, spool, [*reserve, *over.overrides], log=site.work / "daemon.log")
        self.measured.config = read_schema(Config, site.file, self._daemon.overrides)
        self.measured.spool, self.measured.log = spool, self._daemon.log
        self._say("start the daemon")
        self._stack.enter_context(self._daemon)
        self.measured.ready_seconds = self._daemon.wait_ready(READY_SECONDS)

    def _routes(self) -> dict[str, Route]:
        """Where series come from, by pipeline; those that get none are noted."""
        routes = {}
        for pipeline in self._site.config.series_pipelines:
            found = self._series(pipeline)
            if isinstance(found, str):
                self.measured.unsent[pipeline.name] = found
                continue
            name, series = found
            callers = callers_of(pipeline, self._site.config)
            routes[pipeline.name] = Route(pipeline.name, series, callers, self._daemon.dicom_port)
            self._record.details[f"pipelines.{pipeline.name}: series"] = {"name": name, "instances": len(series)}
        return routes

    def _series(self, pipeline: Pipeline) -> tuple[str, Sequence[Any]] | str:
        folder = self._site.work / f"series-{pipeline.name}"
        if self._site.traffic is None:
            return choose(pipeline, self._site.config, folder)
        traffic = self._site.traffic.of(pipeline.name)
        if traffic is None:
            return "the traffic shape sends nothing to this pipeline"
        self.measured.traffic[pipeline.name] = traffic
        return traffic.series, load(traffic.series, folder)

    def _begin_examinations(self) -> None:
        """Open one on each source, of a stand-in patient, so that key frames are made as in daily work."""
        sets = [part for override in self._daemon.overrides for part in ("--set", override)]
        for video in self._site.config.video:
            if video.key_frames.maximum:
                command = [sys.executable, "-m", "edge_runtime.cli", "video", "begin", str(self._site.file), video.name]
                command += ["--patient-id", "ACCEPTANCE", "--patient-name", "Acceptance^Test", *sets]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise BenchFailed(f"no examination can be begun at {video.name}: {done.stderr.strip()}")
                self._record.notes.append(f"an examination of a stand-in patient was open at {video.name}")

    def _warm_up(self, routes: dict[str, Route]) -> None:
        """One study through each pipeline, which is not counted; without a traffic shape it also sets the rate."""
        busy: dict[str, float] = {}
        for number, (pipeline, route) in enumerate(routes.items()):
            self._say(f"a first study through {pipeline}")
            began = time.monotonic()
            study = send_one(route, self._site.work / f"first-{number}", time.time(), threading.Event())
            assert study is not None
            self.measured.warm_up.append(study)
            self._wait_for([study])
            configured = self._site.config.pipeline(pipeline)
            assert configured is not None
            busy[pipeline] = time.monotonic() - began - configured.complete_after_seconds
        if self._site.traffic is None and routes:
            interval = max(_SHORTEST_INTERVAL_SECONDS, sum(busy.values()) / BUSY_SHARE)
            names = {name: self._record.details[f"pipelines.{name}: series"]["name"] for name in routes}
            self.measured.traffic = {
                name: SeriesTraffic(name, names[name], round(3600 / interval, 3), EVEN) for name in routes
            }
            self._record.problem(
                f"no traffic shape given: each pipeline got a study every {interval:.1f} s, which keeps this device "
                f"busy about half of the time; say with --traffic what the site does"
            )
        self._record.scenario["traffic"] = [dataclasses.asdict(one) for one in self.measured.traffic.values()]

    def _wait_for_the_end(self, until: float) -> None:
        self._say(f"run for {self._site.seconds / 60:g} min")
        while time.monotonic() < until:
            self._look()
            time.sleep(min(_TURN_SECONDS, max(0.0, until - time.monotonic())))
        self._count_frames()

    def _wait_for_results(self) -> None:
        self._say("wait for what is under way")
        while not all(sender.done for sender in self._senders):
            self._look()
            time.sleep(_TURN_SECONDS)
        self._wait_for([study for sender in self._senders for study in sender.sent])

    def _wait_for(self, studies: Sequence[SentStudy]) -> None:
        """Until their jobs have ended, or the time in which they could be in time is long over."""
        longest = max((p.deadline_seconds + p.complete_after_seconds for p in self._site.config.pipelines), default=0)
        give_up_at = time.monotonic() + 2 * longest + 30
        wanted = {study.study_uid for study in studies if study.acknowledged}
        while time.monotonic() < give_up_at:
            self._look()
            jobs = jobs_of(self.measured.config)
            over = {job.study_uid for job in jobs if job.state in ENDED} - {
                job.study_uid for job in jobs if job.state not in ENDED
            }
            if wanted <= over:
                return
            self._check_matched(studies, jobs)
            time.sleep(_TURN_SECONDS)

    def _look(self) -> None:
        process = self._daemon.process
        if process is not None and process.poll() is not None:
            raise BenchFailed(f"the daemon ended with {process.returncode}:\n{self._daemon.tail()}")
        for sender in self._senders:
            _ = sender.done

    def _check_matched(self, studies: Sequence[SentStudy], jobs: Sequence[JobFacts]) -> None:
        """Raises BenchFailed where a series that was sent long ago is not one of its pipeline's."""
        taken = {(job.study_uid, job.pipeline) for job in jobs}
        for study in studies:
            waited = time.time() - study.last_response_at
            if study.acknowledged and (study.study_uid, study.pipeline) not in taken and waited > _UNMATCHED_SECONDS:
                raise BenchFailed(
                    f"pipeline {study.pipeline} did not take the series that it was sent: the series of the traffic "
                    f"shape does not fit pipelines.{study.pipeline}.match; name one that does"
                )

    def _say(self, text: str) -> None:
        print(f"... {text}", flush=True)

"""The live half of infer: takes the newest frame of each source, runs its pipeline in a lane, sends what it says.

A frame waits nowhere: it is taken from its slot when a lane is free and it can be in time, or it is overwritten there.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge_runtime.compose import Claimed
from edge_runtime.config import Config
from edge_runtime.domain import Analysis, Frames, SourceImage, StageRecord
from edge_runtime.errors import EdgeRuntimeError, EngineError, FrameDropped, InferenceFailed
from edge_runtime.frames.channels import Channels
from edge_runtime.frames.frame_result import FrameResult, encode
from edge_runtime.frames.slot import Lease, SlotReader
from edge_runtime.schedule.decision import Admission, admit
from edge_runtime.schedule.misses import Timeline, cause_of
from edge_runtime.schedule.order import Order
from edge_runtime.telemetry.logs import Troubles, describe
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.frames")

MODALITY = "ES"  # PS3.3 C.7.3.1.1.1: endoscopy
WHOLE_FRAME = "(frame)"
"""Under this name the estimates hold what a whole frame takes; no stage can be called so."""

_POLL_SECONDS = 0.5
_WAIT_SECONDS = 0.005


@dataclass(eq=False)
class _Source:
    """A source of frames, as infer sees it."""

    name: str
    pipeline: str
    deadline_seconds: float
    reader: SlotReader
    taken: int = 0  # sequence number of the newest frame that was looked at
    waiting_since: float | None = None  # capture of the first frame that was offered since one was begun
    kept: Lease | None = None  # the picture of the newest result: it is being drawn


@dataclass(frozen=True, eq=False)
class _Task:
    source: _Source
    lease: Lease
    ticket: int
    taken_at: float

    @property
    def captured_at(self) -> float:
        return self.lease.header.captured_at

    @property
    def deadline_at(self) -> float:
        return self.captured_at + self.source.deadline_seconds


@dataclass(eq=False)
class _Pool:
    """The lanes of one pipeline."""

    lanes: tuple[Lane, ...]
    idle: deque[Lane] = field(default_factory=deque)


class Lane(threading.Thread):
    """Runs one frame at a time through its pipeline, with buffers of its own."""

    def __init__(self, name: str, claimed: Claimed, conclude: Callable[[Lane, _Task], None]) -> None:
        super().__init__(name=name, daemon=True)
        self.pipeline, self.claim = claimed.pipeline, claimed.claim
        self._conclude = conclude
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._ends_at = 0.0
        self.deadline_at: float | None = None  # of the frame under way

    @property
    def expected_seconds(self) -> float:
        """What a frame is expected to take."""
        return self.pipeline.estimates.of(WHOLE_FRAME, 0).seconds

    @property
    def remaining_seconds(self) -> float:
        """What the frame under way is still expected to take; 0 where there is none."""
        return max(0.0, self._ends_at - time.monotonic())

    def begin(self, task: _Task) -> None:
        """Run a frame; `conclude` is called in this lane's thread."""
        self._ends_at, self.deadline_at = task.taken_at + self.expected_seconds, task.deadline_at
        self._tasks.put(task)

    def rest(self) -> None:
        """The frame has ended."""
        self._ends_at, self.deadline_at = 0.0, None

    def end(self) -> None:
        """Run no more frames."""
        self._tasks.put(None)

    def run(self) -> None:
        """Until `end`."""
        while (task := self._tasks.get()) is not None:
            self._conclude(self, task)


class LiveFrames:
    """The loop that gives frames to lanes. `start()`, and `stop()` at the end; `broken` says that a device is lost."""

    def __init__(
        self,
        config: Config,
        channels: Channels,
        claimed: Mapping[str, tuple[Claimed, ...]],
        capacity: int,
        metrics: Metrics,
    ) -> None:
        """`claimed`: the lanes of each pipeline; `capacity`: how many runs the accelerator takes at once."""
        self._capacity = capacity
        self.broken: EdgeRuntimeError | None = None
        self.on_broken: Callable[[], None] = _nothing
        self._answered = False
        self._metrics = metrics
        self._results = socket.socket(fileno=os.dup(channels.results_in))
        self._sources = [
            _Source(v.name, v.pipeline, config.live_deadline_seconds(v), SlotReader(channels.sources[v.name].frames))
            for v in config.video
        ]
        self._pools = {name: self._pool(name, lanes) for name, lanes in claimed.items()}
        self._order = Order()
        self._stopped = threading.Event()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._loop, name="live-frames", daemon=True)
        self._logged_at = 0.0
        self._troubles = Troubles()

    def _pool(self, name: str, claimed: tuple[Claimed, ...]) -> _Pool:
        lanes = tuple(Lane(f"lane-{name}-{k}", one, self._conclude) for k, one in enumerate(claimed))
        return _Pool(lanes, deque(lanes))

    def start(self) -> None:
        """Begin to take frames."""
        for pool in self._pools.values():
            pipeline = pool.lanes[0].pipeline
            needed = (pipeline.estimates.of(stage.name, 0) for stage in pipeline.stages if not stage.optional)
            mandatory = sum(estimate.seconds for estimate in needed)
            pipeline.estimates.expect(WHOLE_FRAME, 0, mandatory)
        for source in self._sources:
            self._metrics.set("edge_frame_deadline_seconds", source.deadline_seconds, source=source.name)
        for pool in self._pools.values():
            for lane in pool.lanes:
                lane.start()
        self._thread.start()

    def has_answered(self) -> bool:
        """Whether the pipeline of any frame has run."""
        return self._answered

    def check(self) -> None:
        """Raises what ended the live half: a lost device, or a thread that is no more."""
        if self.broken is not None:
            raise self.broken
        lanes = [lane for pool in self._pools.values() for lane in pool.lanes]
        if not all(thread.is_alive() for thread in (self._thread, *lanes)):
            raise InferenceFailed("a thread that runs live frames has ended; its last words are in the log")

    def stop(self, seconds: float = 2.0) -> None:
        """Take no more frames, and let those under way end."""
        self._stopped.set()
        self._wake()
        self._thread.join(seconds)
        for pool in self._pools.values():
            for lane in pool.lanes:
                lane.end()
        ends_at = time.monotonic() + seconds
        for pool in self._pools.values():
            for lane in pool.lanes:
                lane.join(max(0.0, ends_at - time.monotonic()))
        self._results.close()
        for source in self._sources:
            source.reader.close()
        os.close(self._woken)

    def _loop(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for source in self._sources:
                selector.register(source.reader.news, selectors.EVENT_READ, source)
            patience = _POLL_SECONDS
            while not self._stopped.is_set():
                for key, _ in selector.select(patience):
                    if key.data is None:
                        os.eventfd_read(self._woken)
                    else:
                        key.data.reader.hear()
                patience = min(_WAIT_SECONDS if self._take() else _POLL_SECONDS, self._overtake())
                self._report_estimates()

    def _overtake(self) -> float:
        """Let results go whose earlier frames will not be in time. Seconds until there may be more of them."""
        due = self._order.overtake()
        return _POLL_SECONDS if due is None else max(0.001, due - time.monotonic())

    def _take(self) -> bool:
        """Give frames to idle lanes, the earliest deadline first. True where one waits beside an idle lane.

        A source keeps its place while newer frames replace the one that waits.
        """
        waits = False
        offered = []
        for source in self._sources:
            lease = source.reader.newest(source.taken)
            if lease is not None:
                if source.waiting_since is None:
                    source.waiting_since = lease.header.captured_at
                offered.append((source.waiting_since + source.deadline_seconds, source, lease))
        for _, source, lease in sorted(offered, key=lambda each: each[0]):
            admission = self._offer(source, lease)
            if admission is not Admission.START:
                lease.release()
            waits = waits or admission is Admission.WAIT
        return waits

    def _offer(self, source: _Source, lease: Lease) -> Admission | None:
        """Begin with a frame if its time is right; None where no lane is idle."""
        pool, now = self._pools[source.pipeline], time.monotonic()
        if not pool.idle:
            return None
        lane = pool.idle[0]
        estimate = lane.pipeline.estimates.of(WHOLE_FRAME, 0)
        lanes = [each for pool in self._pools.values() for each in pool.lanes]
        under_way = [deadline for each in lanes if (deadline := each.deadline_at) is not None]
        left = lease.header.captured_at + source.deadline_seconds - now
        admission = admit(
            age_seconds=now - lease.header.captured_at,
            deadline_seconds=source.deadline_seconds,
            own_seconds=estimate.seconds,
            ahead_seconds=sum(each.remaining_seconds for each in lanes),
            in_flight=len(under_way),
            depth=len(lanes),
            probe=estimate.probe,
            urgent_seconds=min(under_way, default=math.inf) - now,
            capacity=self._capacity,
        )
        if admission is Admission.WAIT:
            return admission
        missed = lease.header.sequence - source.taken - 1 if source.taken else 0
        source.taken = lease.header.sequence
        self._count(source, "superseded", missed)
        if admission is Admission.STALE:
            self._count(source, "dropped")
            self._metrics.count("edge_frame_deadline_missed_total", source=source.name, cause="capture")
            return admission
        source.waiting_since = None
        if estimate.probe and estimate.seconds > left:
            lane.pipeline.estimates.tried(WHOLE_FRAME, 0, 1)
        ticket = self._order.begin(source.name, lease.header.captured_at + source.deadline_seconds)
        pool.idle.popleft().begin(_Task(source, lease, ticket, now))
        return admission

    def _conclude(self, lane: Lane, task: _Task) -> None:
        """Run the pipeline on one frame, in its lane's thread, and send the result if it is in time."""
        publish: Callable[[], None] | None = None
        try:
            analysis = self._analyse(lane, task)
            if analysis is not None:
                self._answered = True
                publish = self._judge(lane, task, analysis)
        except EngineError as error:
            log.critical(
                "device or engine lost", extra={"event": {"source": task.source.name, "error": describe(error)}}
            )
            self.broken = self.broken or error  # the first is the cause of the others
            self.on_broken()
        except Exception as error:  # one frame must not end its lane
            suppressed = self._troubles.untold(task.source.name, error)
            if suppressed is not None:
                log.exception("frame failed", extra={"event": {"source": task.source.name, "suppressed": suppressed}})
            self._count(task.source, "failed")
        finally:
            self._leave(task, publish)
            lane.rest()
            self._pools[task.source.pipeline].idle.append(lane)
            self._wake()

    def _leave(self, task: _Task, publish: Callable[[], None] | None) -> None:
        left = self._order.end(task.source.name, task.ticket, publish)
        if not left and publish is not None:
            self._count(task.source, "overtaken")
        if not left or publish is None:
            task.lease.release()

    def _analyse(self, lane: Lane, task: _Task) -> Analysis | None:
        lane.pipeline.pin(task.lease.pixels)
        image = Frames(task.lease.pixels[None], MODALITY, (SourceImage("live", "live"),))
        try:
            with lane.claim.frame(task.deadline_at):
                return lane.pipeline.run(image, task.deadline_at - time.monotonic(), droppable=True)
        except FrameDropped as dropped:
            self._count(task.source, "dropped")
            self._missed(task, dropped.records)
            return None

    def _judge(self, lane: Lane, task: _Task, analysis: Analysis) -> Callable[[], None] | None:
        """Count what became of the frame; what sends its result, or None where it is late."""
        concluded_at = time.monotonic()
        in_stages = sum(record.seconds for record in analysis.stages)
        waited = sum(record.waited_seconds for record in analysis.stages)
        lane.pipeline.estimates.observe(WHOLE_FRAME, 0, 1, concluded_at - task.taken_at - waited)
        header, source = task.lease.header, task.source
        for record in analysis.stages:
            labels = {"pipeline": source.pipeline, "stage": record.stage}
            self._metrics.observe("edge_stage_seconds", record.seconds, **labels)
            self._metrics.count("edge_stage_outcomes_total", 1, outcome=record.outcome.value, **labels)
        if concluded_at > task.deadline_at:
            self._count(source, "late")
            self._missed(task, analysis.stages)
            return None
        self._metrics.observe("edge_frame_seconds", concluded_at - task.captured_at, source=source.name)
        self._metrics.observe(
            "edge_frame_runtime_seconds", concluded_at - task.taken_at - in_stages, source=source.name
        )
        result = FrameResult(
            source=source.name,
            pipeline=source.pipeline,
            sequence=header.sequence,
            buffer=task.lease.buffer,
            captured_at=header.captured_at,
            captured_unix=header.captured_unix,
            concluded_at=concluded_at,
            deadline_seconds=source.deadline_seconds,
            rows=header.rows,
            columns=header.columns,
            analysis=analysis,
            notes=lane.pipeline.notes,
        )
        return lambda: self._send(task, result)

    def _send(self, task: _Task, result: FrameResult) -> None:
        """Hand the result on. Its picture is kept until the next one, for whoever draws it."""
        try:
            self._results.send(encode(result), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            self._metrics.count("edge_live_results_lost_total", source=task.source.name)
        self._count(task.source, "in_time")
        before, task.source.kept = task.source.kept, task.lease
        if before is not None:
            before.release()

    def _missed(self, task: _Task, records: tuple[StageRecord, ...]) -> None:
        timeline = Timeline(
            before_taken_seconds=task.taken_at - task.captured_at,
            waited_seconds=sum(record.waited_seconds for record in records),
            stages=[(r.seconds - r.waited_seconds, r.expected_seconds or 0.0) for r in records],
        )
        cause = cause_of(timeline, task.source.deadline_seconds)
        self._metrics.count("edge_frame_deadline_missed_total", source=task.source.name, cause=cause)

    def _count(self, source: _Source, outcome: str, amount: int = 1) -> None:
        self._metrics.count("edge_video_frames_total", amount, source=source.name, outcome=outcome)

    def _report_estimates(self) -> None:
        now = time.monotonic()
        if now < self._logged_at + _POLL_SECONDS:
            return
        self._logged_at = now
        for name, pool in self._pools.items():
            for stage in pool.lanes[0].pipeline.stages:
                seconds = pool.lanes[0].pipeline.estimates.of(stage.name, 0).seconds
                self._metrics.set("edge_schedule_estimate_seconds", seconds, pipeline=name, stage=stage.name)

    def _wake(self) -> None:
        os.eventfd_write(self._woken, 1)


def _nothing() -> None:
    """Nobody waits to hear it."""

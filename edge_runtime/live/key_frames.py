"""Positive frames of a live source become concluded jobs of the open examination; report and deliver do the rest."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_runtime.config import Config, Pipeline, Video
from edge_runtime.domain import Array, InputInstance, JobResult, KeyImage, SourceImage
from edge_runtime.examination import Examination, Moment, OpenExaminations, boot_id
from edge_runtime.frames.frame_result import FrameResult
from edge_runtime.live.key_frame_object import MODALITY, SOP_CLASS_UID, key_frame_data_set, series_description
from edge_runtime.live.key_frame_policy import TAKE, Seen, consider, give_back, is_candidate
from edge_runtime.patient_and_study import new_uid, value_of
from edge_runtime.spool.concluded import add_concluded
from edge_runtime.spool.drafts import SeriesFacts, adopt, discard_drafts
from edge_runtime.spool.receipt import Arrival
from edge_runtime.spool.spool import Spool
from edge_runtime.telemetry.logs import Troubles
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.live")

COMPLETENESS = "1 frame of a live source"
POLL_SECONDS = 1.0
_WAITING = 4
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


@dataclass(frozen=True, eq=False)
class _Taken:
    """A frame that is to be stored. Its examination is the one that was open when it was captured."""

    result: FrameResult
    pixels: Array
    examination: Examination


class KeyFrames:
    """Chooses key frames and stores them in a thread of its own. The only one who does so for this spool.

    hint: called with the name of a role for which there is work.
    """

    def __init__(self, config: Config, spool: Spool, metrics: Metrics, hint: Callable[[str], None]) -> None:
        self._config = config
        self._spool = spool
        self._metrics = metrics
        self._hint = hint
        self._videos = {video.name: video for video in config.video}
        self._examinations = OpenExaminations(spool.layout)
        self._lock = threading.Lock()
        self._seen: dict[str, Seen] = {}
        self._open: dict[str, bool] = {}
        self._queue: queue.Queue[_Taken | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="key-frames", daemon=True)
        self._thread.start()

    def offer(self, result: FrameResult, pixels: Array) -> None:
        """Look at a result; quick. pixels: uint8 (rows, columns, 3) RGB, used during the call only."""
        video = self._videos.get(result.source)
        if video is None:
            return
        positive = is_candidate(result.analysis.findings, video.key_frames.when)
        examination = None
        if positive:
            moment = Moment(result.captured_unix, result.captured_at, boot_id())
            examination = self._examinations.at(result.source, moment)
        identity = None if examination is None else examination.id
        with self._lock:
            seen = self._seen.get(result.source, Seen())
            self._seen[result.source], outcome = consider(
                seen, video.key_frames, identity, positive, result.captured_at
            )
        if outcome == TAKE and examination is not None:
            self._take(_Taken(result, np.array(pixels, dtype=np.uint8, order="C"), examination))
        elif outcome is not None:
            self._count(result.source, outcome)

    def close(self, seconds: float = 5.0) -> None:
        """Store what waits and end; what is not done within that time is given up, and is whole or not there."""
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _take(self, taken: _Taken) -> None:
        try:
            self._queue.put_nowait(taken)
        except queue.Full:  # the disk is slower than the frames are asked for
            self._failed(taken)

    def _run(self) -> None:
        examinations = OpenExaminations(self._spool.layout)
        troubles, clean, ended = Troubles(), False, False
        while not ended:
            taken = None
            with contextlib.suppress(queue.Empty):
                taken = self._queue.get(timeout=POLL_SECONDS)
                ended = taken is None
            try:
                clean = clean or self._clean()
                self._tell(examinations)
                if taken is not None:
                    self._store(taken)
            except Exception as error:  # live pictures go on whatever becomes of a key frame
                suppressed = troubles.untold("", error)
                if suppressed is not None:
                    log.exception("key frame not stored", extra={"event": {"suppressed": suppressed}})
                if taken is not None:
                    self._failed(taken)

    def _clean(self) -> bool:
        """What the process before this one has left: drafts go, whole jobs are adopted."""
        discard_drafts(self._spool.layout, self._spool.store)
        adopt(self._spool)
        self._hint("report")
        return True

    def _tell(self, examinations: OpenExaminations) -> None:
        now = Moment.now()
        for source in self._videos:
            is_open = examinations.at(source, now) is not None
            if is_open != self._open.get(source, False):
                self._open[source] = is_open
                log.info("examination open" if is_open else "examination over", extra={"event": {"source": source}})
            self._metrics.set("edge_examination_open", 1.0 if is_open else 0.0, source=source)

    def _store(self, taken: _Taken) -> None:
        result, examination = taken.result, taken.examination
        video, pipeline = self._videos[result.source], self._config.pipeline(result.pipeline)
        if pipeline is None or taken.pixels.shape != (result.rows, result.columns, 3):
            raise ValueError(f"a frame of {result.source} has no pipeline, or other pixels than its result says")
        number = self._spool.instances.count_series(examination.series_uid) + 1
        if number > video.key_frames.maximum:  # the process was replaced in mid-examination
            self._count(result.source, "maximum")
            return
        uid, serial = new_uid(), self._config.receive.dicom.ae_title
        now = time.time()
        data_set = key_frame_data_set(
            examination, video, taken.pixels, number=number, captured_unix=result.captured_unix, stored_unix=now,
            sop_instance_uid=uid, device_serial=serial,
        )  # fmt: skip
        arrival = Arrival(
            sop_class_uid=SOP_CLASS_UID,
            sop_instance_uid=uid,
            transfer_syntax_uid=_EXPLICIT_LITTLE_ENDIAN,
            caller_ae_title=video.name[:16],
            caller_host="live video",
            called_ae_title=serial,
            received_at=now,
        )

        def make_result(job_id: str, one: InputInstance) -> JobResult:
            return job_result(job_id, one, pipeline, taken.result, taken.pixels, number)

        job = add_concluded(self._spool, arrival, data_set, _series(examination, video, result), make_result)
        self._hint("report")
        self._count(result.source, "stored")
        log.info("key frame stored", extra={"event": {"job": job.id, "source": result.source, "number": number}})

    def _failed(self, taken: _Taken) -> None:
        source = taken.result.source
        with self._lock:
            self._seen[source] = give_back(self._seen.get(source, Seen()), taken.examination.id)
        self._count(source, "failed")

    def _count(self, source: str, outcome: str) -> None:
        self._metrics.count("edge_key_frames_total", source=source, outcome=outcome)


def job_result(
    job_id: str, one: InputInstance, pipeline: Pipeline, result: FrameResult, pixels: Array, number: int
) -> JobResult:
    """What the writers of DICOM need of a key frame: the frame's own analysis, and the frame as its key image."""
    return JobResult(
        job_id=job_id,
        pipeline=pipeline.name,
        pipeline_stages=_stages(pipeline),
        revision=1,
        modality=MODALITY,
        geometry=None,
        sources=(SourceImage(one.sop_class_uid, one.sop_instance_uid),),
        inputs=(one,),
        completeness=COMPLETENESS,
        first_received_at=result.captured_unix,
        last_received_at=result.captured_unix,
        concluded_at=result.captured_unix + result.age_seconds,
        deadline_at=result.captured_unix + result.deadline_seconds,
        analysis=result.analysis,
        key_images=(KeyImage(0, pixels),),
        notes=(*result.notes, f"key frame {number} of live source {result.source}, its frame {result.sequence}"),
    )


def _stages(pipeline: Pipeline) -> str:
    """The configuration of the stages as canonical JSON."""
    stages = [
        {key: value for key, value in dataclasses.asdict(stage).items() if value is not None}
        for stage in pipeline.stages
    ]
    return json.dumps(stages, sort_keys=True, separators=(",", ":"))


def _series(examination: Examination, video: Video, result: FrameResult) -> SeriesFacts:
    attributes = examination.attributes
    return SeriesFacts(
        study_instance_uid=str(attributes.StudyInstanceUID),
        series_instance_uid=examination.series_uid,
        accession_number=str(value_of(attributes, "AccessionNumber") or "").strip(),
        header={
            "modality": MODALITY,
            "series_description": series_description(video),
            "rows": result.rows,
            "columns": result.columns,
        },
    )

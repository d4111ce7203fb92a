"""Makes jobs that begin concluded: of a picture that this runtime took itself, with the result that it already has.

Whatever happens meanwhile, there is a whole job in the end, or nothing: `drafts` says how.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from edge_runtime.domain import InputInstance, JobResult
from edge_runtime.errors import SpoolError
from edge_runtime.spool.drafts import DRAFT, SeriesFacts, enter_series
from edge_runtime.spool.instance_incoming import spool_error
from edge_runtime.spool.instances import InstanceStore, new_id
from edge_runtime.spool.jobs import Job, job_record
from edge_runtime.spool.jobs import new_id as new_job_id
from edge_runtime.spool.layout import Layout, sync_folder, write_durably
from edge_runtime.spool.receipt import Arrival, Receipt
from edge_runtime.spool.results import save_result
from edge_runtime.spool.spool import Spool

log = logging.getLogger("edge_runtime.spool")


def add_concluded(
    spool: Spool,
    arrival: Arrival,
    data_set: bytes,
    series: SeriesFacts,
    make_result: Callable[[str, InputInstance], JobResult],
) -> Job:
    """Store an image of our own with its result as a concluded job: whole, or not at all.

    data_set: in Explicit VR Little Endian. make_result: gets the job's id and the image.

    Raises:
        SpoolFull: below the reserve, or the disk did not take it. SpoolError: it cannot be written. Nothing was kept.
    """
    now = time.time()
    receipt = Receipt(new_id(now), arrival, hashlib.sha256(data_set).hexdigest(), len(data_set))
    job_id = new_job_id(now)
    result = make_result(job_id, InputInstance(arrival.sop_class_uid, arrival.sop_instance_uid, receipt.sha256))
    job = Job(
        id=job_id,
        series_key=hashlib.sha256(f"{series.series_instance_uid}\x1f{arrival.sop_instance_uid}".encode()).hexdigest(),
        pipeline=result.pipeline,
        revision=result.revision,
        state="concluded",
        reason="",
        attempts=0,
        report_attempts=0,
        interruptions=0,
        created_at=now,
        first_received_at=result.first_received_at,
        last_received_at=result.last_received_at,
        deadline_at=result.deadline_at,
        ended_at=None,
        amends=None,
    )
    record = {**job_record(job, [receipt.id]), "series": asdict(series)}
    try:
        _write_files(spool, receipt, data_set, result, record)
        with spool.journal.write():
            spool.instances.add([receipt])
            spool.jobs.restore(record, job.state, "")
            enter_series(spool.instances, record)
    except BaseException:
        _undo(spool.layout, spool.store, job_id, receipt.id)
        raise
    return job


def _write_files(spool: Spool, receipt: Receipt, data_set: bytes, result: JobResult, record: dict[str, Any]) -> None:
    draft = spool.layout.job(record["id"] + DRAFT)
    try:
        draft.mkdir(mode=0o700)
        write_durably(draft / "job.json", json.dumps(record, indent=1).encode())
        sync_folder(draft.parent)
        save_result(result, draft)
        spool.store.add(receipt, data_set)
        draft.rename(spool.layout.job(record["id"]))
        sync_folder(draft.parent)
    except OSError as error:
        raise spool_error(error, "writing a job") from error


def _undo(layout: Layout, store: InstanceStore, job_id: str, instance_id: str) -> None:
    draft = layout.job(job_id + DRAFT)
    try:
        if layout.job(job_id).exists():
            layout.job(job_id).rename(draft)
        store.remove(instance_id)
        if draft.exists():
            shutil.rmtree(draft)
    except (OSError, SpoolError):  # the next start tries again
        log.exception("draft of a job not removed", extra={"event": {"job": job_id}})

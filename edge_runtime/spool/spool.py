"""A spool opened by one process: the files and the journal's tables."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.result_objects import ResultKind, ResultObject
from edge_runtime.spool.deliveries import DeliveryTable
from edge_runtime.spool.drafts import discard_drafts, enter_series
from edge_runtime.spool.index import InstanceTable
from edge_runtime.spool.instances import InstanceStore
from edge_runtime.spool.jobs import CANCELLED_MARK, JobTable
from edge_runtime.spool.journal import Journal, is_sound
from edge_runtime.spool.layout import (
    DISCARDED,
    Layout,
    append_durably,
    discard_job,
    read_lines,
    write_durably,
)
from edge_runtime.spool.retention import MEMORY
from edge_runtime.telemetry.logs import describe

log = logging.getLogger("edge_runtime.spool")


@dataclass(frozen=True)
class Spool:
    """What a role needs of the spool."""

    layout: Layout
    store: InstanceStore
    journal: Journal
    instances: InstanceTable
    jobs: JobTable
    deliveries: DeliveryTable

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()


def open_spool(config: Config) -> Spool:
    """Open the spool that `config` names; it must have been prepared by `prepare_spool`."""
    layout = Layout(Path(config.spool.path))
    journal = Journal(layout.journal)
    jobs = JobTable(journal, layout)
    return Spool(
        layout=layout,
        store=InstanceStore(layout.root, config.spool.reserve_bytes),
        journal=journal,
        instances=InstanceTable(journal),
        jobs=jobs,
        deliveries=DeliveryTable(journal, layout, jobs),
    )


def prepare_spool(config: Config) -> None:
    """Make the spool usable before any role starts: folders, version, journal; and take in what the journal lacks.

    A missing or damaged journal is rebuilt from the files, an older one is migrated. The caller holds the spool's lock.

    Raises:
        SpoolError: the spool cannot be used.
        SpoolTooNew: a newer runtime made it.
    """
    layout = Layout(Path(config.spool.path))
    layout.create()
    if not is_sound(layout.journal):
        aside = layout.root / f"journal.damaged-{int(time.time())}"
        layout.journal.replace(aside)
        for suffix in ("-wal", "-shm"):
            layout.journal.with_name(layout.journal.name + suffix).unlink(missing_ok=True)
        log.error("journal damaged and set aside", extra={"event": {"file": aside.name}})
    Journal(layout.journal, migrate=True).close()
    spool = open_spool(config)
    try:
        discard_drafts(layout, spool.store)
        spool.store.recover()
        _restore_memory(spool)
        take_in_missing(spool)
        restore_jobs(spool, config)
        spool.jobs.yield_all()
    finally:
        spool.close()


def take_in_missing(spool: Spool) -> None:
    """Tell the journal of the durable files it lacks, and finish deletions: a process died between the two."""
    known = spool.instances.states()
    receipts = list(spool.store.scan())
    missing = [receipt for receipt in receipts if receipt.id not in known]
    spool.instances.add(missing)
    if missing:
        log.info("journal completed from files", extra={"event": {"instances": len(missing)}})
    for receipt in receipts:
        if known.get(receipt.id) == "retired":
            memory = spool.instances.memory(receipt)
            if memory is not None:
                append_durably(spool.layout.retired, memory)
            spool.store.remove(receipt.id)


def _restore_memory(spool: Spool) -> None:
    """Fill an empty memory of deleted instances from its file."""
    with spool.journal.write() as db:
        if db.execute("SELECT 1 FROM retired LIMIT 1").fetchone() is None:
            for memory in read_lines(spool.layout.retired):
                values = tuple(str(memory.get(key, "")) for key in MEMORY)
                db.execute("INSERT OR IGNORE INTO retired VALUES (?,?,?)", values)


def restore_jobs(spool: Spool, config: Config) -> None:
    """Make the journal and the job folders agree: folders are truth, save for what the journal has deleted."""
    states = {row["id"]: row["state"] for row in spool.journal.rows("SELECT id, state FROM jobs")}
    for folder in sorted(spool.layout.jobs.iterdir()):
        job_id = folder.name.removesuffix(DISCARDED)
        if job_id != folder.name or states.get(job_id) == "retired":
            discard_job(spool.layout, job_id)
        elif job_id not in states:
            _restore_job(folder, spool, config)
        elif states[job_id] == "cancelled":
            spool.jobs.mark_cancelled(spool.jobs.get(job_id))


def _restore_job(folder: Path, spool: Spool, config: Config) -> None:
    """Put a job back in the state that its files prove."""
    event = {"job": folder.name}
    try:
        record = json.loads((folder / "job.json").read_bytes())
        if record["id"] != folder.name:
            raise ValueError("job.json is of another job")
        manifest = read_manifest(folder)
        state, reason = _proven_state(folder, config, record["pipeline"])
        destinations = destinations_of(config, record["pipeline"]) if state == "reported" else {}
        with spool.journal.write():
            if not spool.jobs.restore(record, state, reason):
                log.warning("job folder left alone: the series has another job", extra={"event": event})
                return
            enter_series(spool.instances, record)
            spool.deliveries.add_results(folder.name, manifest, destinations)
            spool.deliveries.end_if_delivered(folder.name)
    except (OSError, ValueError, LookupError, TypeError) as error:
        event["error"] = describe(error)
        log.error("job folder left alone: its files cannot be read", extra={"event": event})
    else:
        log.info("job restored from files", extra={"event": event})


def _proven_state(folder: Path, config: Config, pipeline_name: str) -> tuple[str, str]:
    if (folder / CANCELLED_MARK).exists():
        return "cancelled", "cancelled before the journal was rebuilt"
    if (folder / "report" / "manifest.json").exists():
        if config.pipeline(pipeline_name) is None:
            return "parked", f"the configuration has no pipeline {pipeline_name!r}; put it back and retry, or cancel"
        return "reported", ""
    return ("concluded" if (folder / "result.json").exists() else "pending"), ""


def destinations_of(config: Config, pipeline_name: str) -> dict[str, tuple[ResultKind, ...]]:
    """Which kinds of result each destination of a pipeline takes. JSON goes to folders only, events to webhooks."""
    pipeline = config.pipeline(pipeline_name)
    types = {d.name: d.type for d in config.delivery_destinations}
    wanted: dict[str, tuple[ResultKind, ...]] = {}
    if pipeline is not None:
        for send in pipeline.send_to:
            if send.name not in types:
                continue  # gets live frames
            if types[send.name] == "webhook":
                wanted[send.name] = (ResultKind.EVENT,)
                continue
            kinds = [ResultKind(kind) for kind in send.results or pipeline.results]
            wanted[send.name] = tuple(k for k in kinds if k is not ResultKind.JSON or types[send.name] == "folder")
    return wanted


def write_manifest(folder: Path, results: tuple[ResultObject, ...]) -> None:
    """Say durably which files a report folder holds; a folder without it was never finished."""
    records = [
        {
            "kind": r.kind.value,
            "file_name": r.file_name,
            "sha256": r.sha256,
            "sop_class_uid": r.sop_class_uid,
            "sop_instance_uid": r.sop_instance_uid,
            **({} if r.destination is None else {"destination": r.destination}),
        }
        for r in results
    ]
    write_durably(folder / "manifest.json", json.dumps({"schema_version": 1, "results": records}, indent=1).encode())


def read_manifest(job_folder: Path) -> tuple[ResultObject, ...]:
    """The written files of a finished report, or none."""
    path = job_folder / "report" / "manifest.json"
    if not path.exists():
        return ()
    records = json.loads(path.read_bytes())["results"]
    return tuple(ResultObject(**{**record, "kind": ResultKind(record["kind"])}) for record in records)

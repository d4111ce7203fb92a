"""Small spools on a real disk: a configuration, stored instances, jobs at any state, and results."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from edge_runtime.config import RESULT_KINDS, Config, Destination, Pipeline, Retention, SendTo, Stage
from edge_runtime.config import Spool as SpoolKeys
from edge_runtime.result_objects import ResultKind, ResultObject
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.receipt import Arrival, Receipt
from edge_runtime.spool.spool import Spool, write_manifest

NOW = 1_790_000_000.0
KEY = "k" * 64
PIPELINE = "head"
EVERYTHING = tuple(ResultKind(kind) for kind in RESULT_KINDS)


def make_config(folder: Path, retention: Retention | None = None) -> Config:
    """One pipeline that sends all it makes to a folder and to a PACS."""
    return Config(
        spool=SpoolKeys(path=str(folder / "spool"), reserve_bytes=0),
        pipelines=(
            Pipeline(name=PIPELINE, stages=(Stage(name="a", engine="e"),), send_to=(SendTo("disk"), SendTo("pacs"))),
        ),
        destinations=(
            Destination(name="disk", type="folder", path=str(folder / "out")),
            Destination(name="pacs", type="dicom", ae_title="PACS", host="127.0.0.1", port=4242),
        ),
        retention=retention or Retention(),
    )


def store_instance(spool: Spool, number: int = 1, content: bytes | None = None, at: float = NOW) -> Receipt:
    """A durable instance file that the journal does not know yet."""
    arrival = Arrival("1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{number}", "1.2.840.10008.1.2.1", "CT01", "10.1.2.3",
                      "EDGE", at)  # fmt: skip
    incoming = spool.store.begin(arrival)
    incoming.write(content if content is not None else b"data set %d" % number)
    return incoming.commit()


def add_matched(spool: Spool, number: int = 1, key: str = KEY, at: float = NOW) -> Receipt:
    """An instance of the series `key` that is stored, noted and matched."""
    receipt = store_instance(spool, number, at=at)
    spool.instances.add([receipt])
    spool.instances.step(receipt.id, "match", series_key=key)
    return receipt


def take(spool: Spool, receipt: Receipt, key: str = KEY) -> Job:
    """The job that takes the instance."""
    job = spool.jobs.take(receipt, key, PIPELINE, 60.0)
    assert job is not None
    return job


def collect(spool: Spool, numbers: tuple[int, ...] = (1, 2), key: str = KEY, at: float = NOW) -> Job:
    """A job that collects the instances of those numbers."""
    jobs = [take(spool, add_matched(spool, number, key, at), key) for number in numbers]
    return jobs[-1]


def close(spool: Spool, job: Job) -> Job:
    """The job, pending."""
    spool.jobs.close(job, spool.instances.of_job(job.id))
    return spool.jobs.get(job.id)


def conclude(spool: Spool, job: Job) -> Job:
    """The job, concluded, with a result file."""
    spool.jobs.step(job.id, "begin")
    (spool.layout.job(job.id) / "result.json").write_bytes(b"{}")
    return spool.jobs.step(job.id, "conclude")


def write_report(spool: Spool, job: Job, kinds: tuple[ResultKind, ...] = EVERYTHING) -> tuple[ResultObject, ...]:
    """The job's report folder as the report role leaves it, before the journal hears of it."""
    folder = spool.layout.job(job.id) / "report"
    folder.mkdir()
    results = []
    for kind in kinds:
        data = f"{job.id} {kind.value}".encode()
        name = f"{kind.value}.dcm"
        (folder / name).write_bytes(data)
        results.append(ResultObject(kind, name, hashlib.sha256(data).hexdigest(), "1.2", f"2.25.{job.id}.{kind.value}"))
    write_manifest(folder, tuple(results))
    return tuple(results)


def report(spool: Spool, job: Job, destinations: dict[str, tuple[ResultKind, ...]] | None = None) -> Job:
    """The job, reported, its deliveries queued."""
    spool.jobs.step(job.id, "report")
    results = write_report(spool, job)
    dicom = tuple(kind for kind in EVERYTHING if kind is not ResultKind.JSON)
    spool.deliveries.add_results(job.id, results, destinations or {"disk": EVERYTHING, "pacs": dicom})
    return spool.jobs.step(job.id, "commit")


def deliver(spool: Spool, job: Job) -> Job:
    """The job with every delivery done."""
    for row in spool.deliveries.of_job(job.id):
        spool.deliveries.begin([row["id"]])
        spool.deliveries.done(row["id"], "stored")
    return spool.jobs.get(job.id)


def delivered_series(spool: Spool, numbers: tuple[int, ...] = (1, 2), key: str = KEY, at: float = NOW) -> Job:
    """A series that went all the way."""
    return deliver(spool, report(spool, conclude(spool, close(spool, collect(spool, numbers, key, at)))))


def without(config: Config, pipeline: str) -> Config:
    """The configuration without a pipeline."""
    return replace(config, pipelines=tuple(p for p in config.pipelines if p.name != pipeline))

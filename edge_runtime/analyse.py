"""`edge-runtime analyse`: the daemon's pipelines on a folder of DICOM files, offline, with the daemon's own code."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.assemble.decoder import DecodePool
from edge_runtime.assemble.header import SeriesHeader, read_header
from edge_runtime.assemble.match import matches
from edge_runtime.compose import compose_pipelines
from edge_runtime.config import Config
from edge_runtime.config import Pipeline as PipelineConfig
from edge_runtime.domain import Array
from edge_runtime.errors import EdgeRuntimeError, Refused
from edge_runtime.report.writer import write_results
from edge_runtime.result_objects import ResultKind
from edge_runtime.roles.collect import series_key
from edge_runtime.roles.study import Study, conclude
from edge_runtime.spool.receipt import Arrival, Receipt
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.telemetry.metrics import NullMetrics

log = logging.getLogger("edge_runtime.analyse")


@dataclass(frozen=True)
class Outcome:
    """What came of one series through one pipeline: `state` is concluded, incomplete or refused."""

    pipeline: str
    state: str
    text: str


@dataclass(frozen=True)
class _Found:
    path: Path
    header: SeriesHeader
    receipt: Receipt


def analyse_folder(config: Config, folder: Path, out: Path, dump_tensors: bool) -> list[Outcome]:
    """Analyse every series below `folder` that a pipeline matches, into `out/<pipeline>-<n>/`; tensors beside it.

    Raises:
        EdgeRuntimeError: the folder cannot be read, or an engine cannot be used.
    """
    if not folder.is_dir():
        raise EdgeRuntimeError(f"{folder} is no folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EdgeRuntimeError(f"{out} is not an empty folder; give another --out")
    series: dict[str, list[_Found]] = {}
    for found in _read(folder):
        series.setdefault(series_key(found.header), []).append(found)
    pipelines = compose_pipelines(config, NullMetrics())
    for pipeline in pipelines.values():
        pipeline.warm()
    outcomes: list[Outcome] = []
    pool = DecodePool(config.decode, NullMetrics())
    try:
        for images in series.values():
            for chosen in config.series_pipelines:
                header = images[0].header
                planes = sum(found.header.number_of_frames for found in images)
                if matches(header, chosen.wanted, planes, "", "") is None:
                    place = out / f"{chosen.name}-{len(outcomes) + 1}"
                    outcomes.append(_analyse(images, chosen, pipelines[chosen.name], pool, place, dump_tensors))
    finally:
        pool.close()
    return outcomes


def _analyse(
    images: list[_Found], config: PipelineConfig, pipeline: Pipeline, pool: DecodePool, out: Path, dump_tensors: bool
) -> Outcome:
    now = time.time()
    out.mkdir(parents=True)
    tensors = out.with_name(f"{out.name}-tensors")
    study = Study(
        job_id=out.name,
        revision=1,
        receipts=tuple(found.receipt for found in images),
        completeness="all files of the folder, analysed offline",
        deadline_at=now + config.deadline_seconds,
    )

    def dump(name: str, tensor: Array) -> None:
        tensors.mkdir(exist_ok=True)
        np.save(tensors / f"{name}.npy", tensor)

    try:
        objects = [future.result() for future in [pool.submit(found.path) for found in images]]
        result = conclude(study, config, pipeline, objects, trace=dump if dump_tensors else None)
    except Refused as refused:
        return Outcome(config.name, "refused", f"{len(images)} files: {refused}")
    originals = {found.header.sop_instance_uid: found.path for found in images}
    written = write_results(result, [ResultKind(kind) for kind in config.results], originals, None, out)
    state = "concluded" if result.analysis.complete else "incomplete"
    return Outcome(
        config.name, state, f"{len(images)} files, results in {out}: {', '.join(w.file_name for w in written)}"
    )


def _read(folder: Path) -> Iterator[_Found]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            header = read_header(path)
        except Refused as refused:
            log.warning("file left out", extra={"event": {"reason": refused.reason}})
            continue
        if header.has_pixels and not header.own_result:
            yield _Found(path, header, _receipt(path, header))


def _receipt(path: Path, header: SeriesHeader) -> Receipt:
    arrival = Arrival(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        caller_ae_title="",
        caller_host="",
        called_ae_title="",
        received_at=time.time(),
    )
    data = path.read_bytes()
    meta_bytes = int.from_bytes(data[140:144], "little") if data[132:136] == b"\x02\x00\x00\x00" else -12
    data_set = data[144 + meta_bytes :]
    return Receipt(path.stem, arrival, hashlib.sha256(data_set).hexdigest(), len(data_set))

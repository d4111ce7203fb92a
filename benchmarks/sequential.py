"""The bare steps of a study, one after the other in one process, each timed: what no runtime can do without.

python -m benchmarks.sequential CONFIG      reads {"series": FOLDER, "out": FOLDER} a line, answers with the steps
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from benchmarks.lines import LineProcess, answer_lines
from benchmarks.record import BenchFailed
from edge_runtime.assemble.decoded import Plane
from edge_runtime.assemble.geometry import grid_of
from edge_runtime.compose import compose_pipeline
from edge_runtime.config import Config
from edge_runtime.deliver.base import Outcome, Parcel
from edge_runtime.deliver.registry import accepted_kinds, build_destination
from edge_runtime.domain import Array, Image, InputInstance, JobResult, SourceImage, Volume
from edge_runtime.engines.required import verify_engines
from edge_runtime.engines.views import Place, Region
from edge_runtime.report.writer import prepare, write_results
from edge_runtime.result_objects import ResultKind
from edge_runtime.stages.key_images import key_images
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.stages.stage import OneByOne, Runner, Stage
from edge_runtime.telemetry.metrics import NullMetrics
from edge_runtime.yaml_schema import read_schema

CALLING = "BENCH"


class Sequential(LineProcess):
    """The process, its engines loaded; a context manager."""

    def __init__(self, config: Path, log: Path) -> None:
        super().__init__("sequential", "benchmarks.sequential", [str(config)], log)

    def __enter__(self) -> Sequential:
        return self

    def analyse(self, series: Path, out: Path) -> dict[str, float]:
        """Seconds of each step.

        Raises:
            BenchFailed: the process has ended.
        """
        return self.ask({"series": str(series), "out": str(out)})


class Clock:
    """Adds up the seconds of named steps."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.steps: dict[str, float] = {}
        self._now = now
        self._at = now()

    def start(self) -> None:
        """Forget what was; the first step begins now."""
        self.steps = {}
        self._at = self._now()

    def step(self, name: str) -> None:
        """What was done since the last step is called `name`."""
        now = self._now()
        self.steps[name] = self.steps.get(name, 0.0) + now - self._at
        self._at = now


class BareRunner(OneByOne):
    """`InferenceSession.run` with ONNX Runtime's defaults but for the threads: one a core."""

    engine_seconds = waited_seconds = 0.0

    def __init__(self, engine: bytes, clock: Clock) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self._session = onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._clock = clock

    def run(self, prepared: Array) -> Array:
        """See `stages.stage.Runner`."""
        self._clock.step("postprocess")  # of the window before
        output: Array = self._session.run(None, {self._input: prepared})[0]
        self._clock.step("inference")
        return output

    def close(self) -> None:
        """See `stages.stage.Runner`."""


def timed(stage: Stage, runner: Runner, clock: Clock) -> Stage:
    """The stage with another runner; its looking at the image and its windows count as `preprocess`."""

    def check(image: Image) -> None:
        clock.step("postprocess")  # of the stage before
        stage.check(image)
        clock.step("preprocess")

    def places(image: Image, region: Region | None, margin: float) -> Iterator[Place]:
        for place in stage.prepare(image, region, margin):
            clock.step("preprocess")
            yield place
            clock.step("postprocess")
        clock.step("preprocess")

    return dataclasses.replace(stage, runner=runner, check=check, prepare=places)


class _Steps:
    """The first pipeline of a configuration, with bare runners."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._chosen = config.pipelines[0]
        self._clock = Clock()
        composed = compose_pipeline(self._chosen, config.engines, NullMetrics())
        composed.close()
        engines = verify_engines(self._chosen, config.engines)
        runners = {name: BareRunner(engine.data, self._clock) for name, engine in engines.items()}
        stages = [timed(stage, runners[stage.name], self._clock) for stage in composed.stages]
        self._pipeline = Pipeline(composed.name, stages, composed.stages_json, NullMetrics(), lambda: None)
        self._destination = build_destination(config.destinations[0], CALLING)
        prepare()

    def run(self, series: Path, out: Path) -> dict[str, float]:
        out.mkdir(parents=True)
        clock = self._clock
        clock.start()
        volume, originals = _decode(series)
        clock.step("decode")
        analysis = self._pipeline.run(volume)
        keys = key_images(volume, analysis.masks)
        clock.step("postprocess")
        now = time.time()
        result = JobResult(
            job_id=out.name, pipeline=self._chosen.name, pipeline_stages=self._pipeline.stages_json, revision=1,
            modality=volume.modality, geometry=volume.geometry, sources=volume.sources,
            inputs=tuple(InputInstance(s.sop_class_uid, s.sop_instance_uid, "0" * 64) for s in volume.sources),
            completeness="all files of the folder", first_received_at=now, last_received_at=now, concluded_at=now,
            deadline_at=now + 60, analysis=analysis, key_images=keys, notes=self._pipeline.notes,
        )  # fmt: skip
        kinds = [ResultKind(kind) for kind in self._chosen.results]
        written = write_results(result, kinds, originals, None, out, CALLING)
        clock.step("write")
        accepted = accepted_kinds(self._config.destinations[0])
        parcels = [
            Parcel(out.name, one.kind, out / one.file_name, one.sha256, one.sop_class_uid, one.sop_instance_uid,
                   one.file_name)
            for one in written if one.kind in accepted
        ]  # fmt: skip
        for delivery in self._destination.send_many(parcels):
            if delivery.outcome is not Outcome.DONE:
                raise BenchFailed(f"sending failed: {delivery}")
        clock.step("send")
        return clock.steps


def _decode(series: Path) -> tuple[Volume, dict[str, Path]]:
    """Read with pydicom, sort by position, stack."""
    read = [(pydicom.dcmread(path), path) for path in sorted(series.glob("*.dcm"))]
    planes = [_plane(data_set) for data_set, _ in read]
    first = read[0][0]
    order, geometry = grid_of(planes, first.Rows, first.Columns, first.get("FrameOfReferenceUID"))
    voxels = np.empty(geometry.shape, np.float32)
    for index, source in enumerate(order):
        data_set = read[source][0]
        slope, intercept = data_set.get("RescaleSlope", 1), data_set.get("RescaleIntercept", 0)
        voxels[index] = data_set.pixel_array * np.float32(slope) + np.float32(intercept)
    sources = tuple(SourceImage(str(read[i][0].SOPClassUID), str(read[i][0].SOPInstanceUID)) for i in order)
    return Volume(voxels, geometry, str(first.Modality), sources), {str(d.SOPInstanceUID): path for d, path in read}


def _plane(data_set: Any) -> Plane:
    x, y, z = (float(value) for value in data_set.ImagePositionPatient)
    a, b, c, d, e, f = (float(value) for value in data_set.ImageOrientationPatient)
    rows, columns = (float(value) for value in data_set.PixelSpacing)
    return Plane((x, y, z), (a, b, c), (d, e, f), (rows, columns))


def main() -> None:
    """Answer each line until the input ends."""
    steps = _Steps(read_schema(Config, Path(sys.argv[1])))
    answer_lines(lambda asked: dict(steps.run(Path(asked["series"]), Path(asked["out"]))))


if __name__ == "__main__":
    main()

"""Engines loaded in one process as infer loads them: memory and load time of each, and run time of a stage.

python -m benchmarks.scenarios.scaling_engines CONFIG RUNS      writes one JSON line
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.scaling_curves import add_cost
from benchmarks.scenarios.scaling_schema import ENGINES, Scaling
from benchmarks.scenarios.scaling_sites import FRAME_SIDE, build_frame_engine, write_site
from benchmarks.site import memory_bytes
from edge_runtime.compose import compose_pipeline
from edge_runtime.config import Config
from edge_runtime.domain import Frames, SourceImage
from edge_runtime.telemetry.metrics import NullMetrics
from edge_runtime.yaml_schema import read_schema

_FIRST = "first"
_SECONDS = 300.0


@dataclass(frozen=True)
class Loaded:
    """What the engines of a pipeline took beside one that was loaded before. run_seconds: of the whole pipeline."""

    load_seconds: float
    memory_bytes: int
    run_seconds: float


class EnginesPart:
    """Engines of the same size and different weights, each a stage of one pipeline."""

    def __init__(self, scenario: Scaling, record: Record, work: Path) -> None:
        self._scenario, self._record, self._work = scenario, record, work
        engines = work / "engines"
        build_frame_engine(engines, _FIRST)
        names = [f"engine-{number}" for number in range(max(scenario.engines))]
        for number, name in enumerate(names):
            build_frame_engine(engines, name, scenario.engine_megabytes, number + 1)
        first = {"name": _FIRST, "stages": [{"name": _FIRST, "engine": _FIRST}]}
        self._configs = {
            size: write_site(work / f"engines-{size}.yaml", engines, [first, _pipeline(names[:size])], record)
            for size in scenario.engines
        }

    def round(self, sizes: Sequence[int]) -> None:
        """A process for each number of engines. Raises BenchFailed where one fails."""
        for size in sizes:
            loaded = self._measure(size)
            megabytes = loaded.memory_bytes / 1e6
            add_cost(self._record, "engines/memory", ENGINES, size, megabytes, size, "MB/engine")
            add_cost(self._record, "engines/load", ENGINES, size, 1000 * loaded.load_seconds, size, "ms/engine")
            add_cost(self._record, "engines/run", ENGINES, size, 1000 * loaded.run_seconds, size, "ms/stage")

    def _measure(self, size: int) -> Loaded:
        command = [sys.executable, "-m", "benchmarks.scenarios.scaling_engines", str(self._configs[size])]
        command.append(str(self._scenario.engine_runs))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        if done.returncode != 0:
            raise BenchFailed(f"{size} engines could not be loaded: {done.stderr[-1000:]}")
        return Loaded(**json.loads(done.stdout.splitlines()[-1]))


def _pipeline(engines: Sequence[str]) -> dict[str, object]:
    return {"name": "all", "stages": [{"name": name, "engine": name} for name in engines]}


def measure(config: Config, runs: int) -> Loaded:
    """Load the first pipeline, then the second; what the second took, its golden runs included."""
    first, every = config.pipelines
    pixels = np.full((1, FRAME_SIDE, FRAME_SIDE, 3), 200, np.uint8)
    picture = Frames(pixels, "OT", (SourceImage("picture", "1"),))
    before_all = compose_pipeline(first, config.engines, NullMetrics())
    before_all.warm()
    before_all.run(picture)
    gc.collect()
    held, began = memory_bytes(os.getpid()), time.perf_counter()
    pipeline = compose_pipeline(every, config.engines, NullMetrics())
    pipeline.warm()
    load_seconds = time.perf_counter() - began
    gc.collect()
    took = memory_bytes(os.getpid()) - held
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        analysis = pipeline.run(picture)
        seconds.append(time.perf_counter() - began)
        if not analysis.complete:
            raise BenchFailed("a stage did not run")
    pipeline.close()
    before_all.close()
    return Loaded(load_seconds, took, float(np.median(seconds)))


def main() -> None:
    """Run as the arguments say."""
    config, runs = sys.argv[1:]
    print(json.dumps(dataclasses.asdict(measure(read_schema(Config, Path(config)), int(runs)))), flush=True)


if __name__ == "__main__":
    main()

"""Pictures on lanes side by side on the CUDA driver of this process; what is said of each must be its own.

python -m support.lanes_on_cuda ENGINES FAULT PICTURES
Writes the fault (none: empty) to EDGE_CUDA_FAULT_FILE once the lanes are warm; prints a line of JSON: wrong answers,
errors by type, and how graphs went.
"""

import collections
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from edge_runtime import config
from edge_runtime.compose import compose_claimed
from edge_runtime.domain import Frames, SourceImage
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.metrics import METRICS
from edge_runtime.schedule.arbiter import Arbiter
from edge_runtime.telemetry.metrics import RoleMetrics

STAGES = (
    config.Stage("look", "classify"),
    config.Stage("find", "each"),
    config.Stage("outline", "segment", within="find"),
)
_SOURCE = (SourceImage("one", "one"),)


def analyse(lane, seed, pictures, said):
    """Even pictures of a number, from 0 to 100, every other one from memory that is pinned."""
    generator, pipeline = np.random.default_rng(seed), lane.pipeline
    slot = np.zeros((16, 12), np.float32)
    pipeline.pin(slot)
    for number in range(pictures):
        value = int(generator.integers(0, 101))
        picture = slot if number % 2 else np.zeros((16, 12 + number % 3), np.float32)
        picture[...] = value
        try:
            with lane.claim.frame(time.monotonic() + 60):
                found = pipeline.run(Frames(picture[None], "OT", _SOURCE))
        except EdgeRuntimeError as error:
            said[type(error).__name__] += 1
            continue
        right = found.complete and abs(found.findings[0].probability - value / 100) < 1e-5
        right = right and len(found.masks) == (value > 50) and all(mask.voxels.all() for mask in found.masks)
        said["right" if right else "wrong"] += 1


def main(folder, fault, pictures):
    labels = {"pipeline": ("p",), "stage": tuple(s.name for s in STAGES), "source": (), "destination": (), "role": ()}
    metrics = RoleMetrics(METRICS, labels)
    engines = config.Engines(folder, backend="tensorrt", allow_unsigned=True, allow_ungated=True, threads=1)
    lanes = compose_claimed(config.Pipeline("p", STAGES), engines, metrics, Arbiter(2, metrics), 2)
    for lane in lanes:
        lane.pipeline.warm()
    if fault:
        Path(os.environ["EDGE_CUDA_FAULT_FILE"]).write_text(fault)
    said = [collections.Counter() for _ in lanes]
    threads = [
        threading.Thread(target=analyse, args=(lane, seed, pictures, said[seed])) for seed, lane in enumerate(lanes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    graphs = {k[1]: v for n, k, v in metrics.snapshot() if n == "edge_graphs_total" and v}
    print(json.dumps({"said": sum(said, collections.Counter()), "graphs": graphs}))
    for lane in reversed(lanes):
        lane.pipeline.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""Both reference pipelines on the CUDA driver of this process, beside the same on the processor: a line of JSON each.

python -m support.pipelines_on_cuda ENGINES endoscopy|ct-head-triage      with the emulated driver in its environment
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from converters.reference.endoscopy.frames import make_frames
from converters.reference.phantom import make_phantom
from edge_runtime import config
from edge_runtime.compose import compose_pipeline
from edge_runtime.domain import Frames, SourceImage
from edge_runtime.metrics import METRICS
from edge_runtime.telemetry.metrics import RoleMetrics

STAGES = {
    "endoscopy": (
        config.Stage("informative", "endoscopy-informative"),
        config.Stage("polyps", "endoscopy-polyp-detector", optional=True),
        config.Stage("outline", "endoscopy-polyp-segmenter", within="polyps"),
    ),
    "ct-head-triage": (
        config.Stage("triage", "ct-hemorrhage-classifier"),
        config.Stage("lesions", "ct-hemorrhage-detector", when="triage.hemorrhage.positive"),
        config.Stage("volume", "ct-hemorrhage-segmenter", within="lesions"),
    ),
}
_SOURCE = SourceImage("one", "one")


def images(name):
    """Computed pictures with and without polyps, or heads with and without a haemorrhage."""
    if name == "endoscopy":
        frames = make_frames(5, ["polyp", "polyp", "clear", "polyp", "blurred", "polyp"])
        return [Frames(np.array(frame.pixels)[None], "ES", (_SOURCE,)) for frame in frames]
    return [make_phantom(seed).image for seed in (1, 3)]


def main(folder, name):
    stages = STAGES[name]
    labels = {"pipeline": (name,), "stage": tuple(s.name for s in stages), "source": (), "destination": (), "role": ()}
    metrics = RoleMetrics(METRICS, labels)
    sides = []
    for backend in ("onnxruntime", "tensorrt"):
        engines = config.Engines(str(folder), backend=backend, allow_unsigned=True, allow_ungated=True, threads=2)
        sides.append(compose_pipeline(config.Pipeline(name, stages), engines, metrics))
        sides[-1].warm()
    host, cuda = sides
    seen = images(name)
    for image in [*seen, *seen]:  # graphs are recorded at the second picture
        cuda.run(image)
    calls = Path(os.environ["EDGE_CUDA_LOG"])
    for image in seen:
        before = calls.stat().st_size
        found = cuda.run(image)
        made = [line.split()[0] for line in calls.read_bytes()[before:].decode().splitlines()]
        print(json.dumps({**differences(host.run(image), found), "calls": {one: made.count(one) for one in set(made)}}))
    ways = {f"{k[1]} {k[2]}": v for n, k, v in metrics.snapshot() if n == "edge_stage_runs_total" and v}
    print(json.dumps({"ways": ways, "device": cuda.stages[0].runner._device.name}))
    for side in sides:
        side.close()


def differences(one, other):
    """What two analyses say, and how far they are apart."""
    probabilities = [
        (a.probability or 0.0, b.probability or 0.0) for a, b in zip(one.findings, other.findings, strict=True)
    ]
    return {
        "outcomes": [[(r.outcome.value, r.regions) for r in side.stages] for side in (one, other)],
        "answers": [[(f.label, f.answer.value, repr(f.box)) for f in side.findings] for side in (one, other)],
        "probability": max(abs(a - b) for a, b in probabilities),
        "voxels": [int((a.voxels != b.voxels).sum()) for a, b in zip(one.masks, other.masks, strict=True)],
        "masks": [int(mask.voxels.sum()) for mask in one.masks],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

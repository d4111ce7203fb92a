"""ResNet-18 for the scenarios about engines: MONAI's, with a head fitted to pictures that are computed.

A bright disc in a noisy picture is what it looks for. The rest of its weights stay random: what a network costs does
not depend on what it has learnt, and its answers are good enough that lower precision can be seen to spoil them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.record import BenchFailed
from converters.samples.sample import Sample, Truth
from edge_runtime.domain import Array, Frames, SourceImage

NAME = "resnet18"
EXTENT = 224
CALIBRATION, HOLDOUT, FITTING = range(0, 10_000), range(10_000, 20_000), range(20_000, 30_000)
"""The seeds of each set."""
_LABEL = "disc"
_ARGUMENTS = {"spatial_dims": 2, "n_input_channels": 3, "num_classes": 1, "conv1_t_stride": 2}  # the published strides
_BATCH = 16
_RIDGE = 1e-2


def picture(seed: int) -> Array:
    """RGB uint8, (224, 224, 3): coloured noise, with a disc where the seed is odd."""
    random = np.random.default_rng(seed)
    coarse = random.normal(0, 1, (14, 14, 3)).repeat(16, axis=0).repeat(16, axis=1)
    image = 110 + 20 * coarse + 12 * random.normal(0, 1, (EXTENT, EXTENT, 3))
    if seed % 2:
        row, column = random.uniform(50, EXTENT - 50, 2)
        rows, columns = np.ogrid[:EXTENT, :EXTENT]
        distance = np.hypot(rows - row, columns - column)
        image += random.uniform(60, 110) * np.clip((random.uniform(20, 40) - distance) / 4, 0, 1)[..., None]
    found: Array = np.clip(np.round(image), 0, 255).astype(np.uint8)
    return found


def calibration(count: int) -> Iterator[Sample]:
    """The pictures that INT8 is calibrated on."""
    return _samples(CALIBRATION[:count])


def holdout(count: int) -> Iterator[Sample]:
    """Labelled pictures."""
    return _samples(HOLDOUT[:count])


def _samples(seeds: Sequence[int]) -> Iterator[Sample]:
    for seed in seeds:
        image = Frames(picture(seed)[None], "OT", (SourceImage("picture", str(seed)),))
        yield Sample.of(f"seed {seed}", image, Truth(positive=frozenset([_LABEL] if seed % 2 else [])))


def write_resnet18(folder: Path, calibrate: int, measure: int, fit: int = 32) -> None:
    """Write card and checkpoint (a state dictionary) into a new folder; the numbers are of pictures.

    Raises:
        BenchFailed: torch or MONAI is missing.
    """
    folder.mkdir(parents=True)
    checkpoint = folder / "checkpoint.pt"
    _write_checkpoint(checkpoint, fit)
    steps = [{"resize": {"shape": [EXTENT, EXTENT]}}, {"colour": "rgb"}, {"window": {"range": [0.0, 255.0]}}]
    document = {
        "name": NAME,
        "version": "1",
        "task": "classification",
        "intended_use": "Benchmarks only: its weights are random but for the head, and its pictures are computed.",
        "checkpoint": {
            "format": "state_dict",
            "path": checkpoint.name,
            "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
            "license": "Apache-2.0",
            "architecture": {"callable": "monai.networks.nets:resnet18", "arguments": _ARGUMENTS},
        },
        "input": {"name": "image", "kind": "frame", "shape": [1, 3, EXTENT, EXTENT]},
        "preprocess": steps,
        "output": {"name": "logit", "shape": [1, 1]},
        "decode": {"activation": "sigmoid"},
        "labels": [{"name": _LABEL, "channel": 0, "threshold": 0.5,
                    "concept": {"value": "4147007", "scheme": "SCT", "meaning": "Mass"}}],
        "tolerance": 1e-3,
        "calibration": {"generator": f"{__name__}:calibration", "count": calibrate},
        "holdout": {"generator": f"{__name__}:holdout", "count": measure},
        "gate": [{"metric": "auc", "tolerance": 0.01, "at_least": 0.8}],
    }  # fmt: skip
    (folder / "model.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def _write_checkpoint(file: Path, fit: int) -> None:
    try:
        import torch
        from monai.networks.nets import resnet18
    except ImportError as error:
        raise BenchFailed(f"this scenario needs {error.name}; run: pip install 'edge-runtime[torch,monai]'") from error
    torch.manual_seed(1)
    network = resnet18(**_ARGUMENTS)
    seeds = FITTING[:fit]
    batches = [_tensor(torch, seeds[i : i + _BATCH]) for i in range(0, fit, _BATCH)]
    with torch.inference_mode():
        _settle_batch_norm(torch, network, batches)
        weight, bias = _head(_features(network, batches), np.array(seeds) % 2)
        network.fc.weight.copy_(torch.from_numpy(weight[None]))
        network.fc.bias.fill_(bias)
    torch.save(network.state_dict(), file)


def _tensor(torch: Any, seeds: Sequence[int]) -> Any:
    pixels = np.stack([picture(seed) for seed in seeds]).transpose(0, 3, 1, 2)
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def _settle_batch_norm(torch: Any, network: Any, batches: Sequence[Any]) -> None:
    """Let each batch normalization take its mean and variance from the pictures."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over all batches
    network.train()
    for batch in batches:
        network(batch)
    network.eval()


def _features(network: Any, batches: Sequence[Any]) -> Array:
    """What the head sees: float64, (pictures, features)."""
    seen: list[Array] = []
    handle = network.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].double().numpy().copy()))
    for batch in batches:
        network(batch)
    handle.remove()
    return np.concatenate(seen)


def _head(features: Array, positive: Array) -> tuple[Array, float]:
    """Weights, float32, and bias of a ridge regression onto logits of -2 and 2."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = (features - mean) / spread
    penalty = _RIDGE * len(features) * np.eye(scaled.shape[1])
    weight = np.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ np.where(positive, 2.0, -2.0)) / spread
    return weight.astype(np.float32), float(np.where(positive, 2.0, -2.0).mean() - weight @ mean)

"""A network that tells bright pictures from dark ones, its card, and folders of such pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from onnx import helper
from PIL import Image
from support.models import BRAIN, network

SHAPE = (1, 1, 16, 16)


def bright_network(weight: float = 1.0) -> bytes:
    """Two convolutions, the mean, and a sigmoid: above 0.5 where a 0..1 picture is brighter than 0.5."""
    rng = np.random.default_rng(3)
    first = rng.uniform(0.02, 0.2, (4, 1, 3, 3)).astype(np.float32) * np.float32(weight)
    second = rng.uniform(0.02, 0.2, (1, 4, 3, 3)).astype(np.float32)
    gain = float(first.sum(axis=(1, 2, 3)) @ second.sum(axis=(0, 2, 3)))
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["wide"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["wide"], ["bent"], name="bend"),
        helper.make_node("Conv", ["bent", "second"], ["narrow"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["narrow"], ["pooled"], name="pool"),
        helper.make_node("Reshape", ["pooled", "shape"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "slope", "offset"], ["logit"], name="decide"),
        helper.make_node("Sigmoid", ["logit"], ["probability"], name="squash"),
    ]
    constants = {
        "first": first,
        "second": second,
        "shape": np.array([1, 1], dtype=np.int64),
        "slope": np.array([[10 / gain]], dtype=np.float32),
        "offset": np.array([-4.6], dtype=np.float32),
    }
    return network(nodes, {"image": SHAPE}, {"probability": (1, 1)}, constants)


def bright_card(**changes: Any) -> dict[str, Any]:
    """Calibration and hold-out lie beside the card, in `calibration` and `holdout`."""
    return {
        "name": "tiny",
        "version": "1",
        "task": "classification",
        "intended_use": "Tests only.",
        "checkpoint": {"format": "onnx", "path": "tiny.onnx", "sha256": "0" * 64, "license": "CC0"},
        "input": {"name": "image", "kind": "frame", "shape": list(SHAPE)},
        "preprocess": [{"colour": "grey"}, {"resize": {"shape": list(SHAPE[2:])}}, {"window": {"range": [0.0, 255.0]}}],
        "output": {"name": "probability", "shape": [1, 1]},
        "labels": [{"name": "bright", "channel": 0, "threshold": 0.5, "concept": BRAIN}],
        "tolerance": 1e-4,
        "calibration": {"path": "calibration"},
        "holdout": {"path": "holdout"},
        "gate": [{"metric": "auc", "tolerance": 0.02}],
        **changes,
    }


def write_pictures(folder: Path, count: int, seed: int) -> None:
    """As many pictures, half of them bright, with what is true of them."""
    folder.mkdir(parents=True)
    rng, samples = np.random.default_rng(seed), []
    for index in range(count):
        bright = index % 2 == 1
        picture = rng.normal(170 if bright else 90, 25, (24, 24)).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{index}.png")
        samples.append({"file": f"{index}.png", "positive": ["bright"] if bright else []})
    (folder / "truth.yaml").write_text(yaml.safe_dump({"samples": samples}))

"""Tiny networks that anyone can follow, and engines built of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from converters.build import build
from converters.made import Request
from converters.progress import Progress
from edge_runtime.domain import Geometry, SourceImage, Volume

BRAIN = {"value": "12738006", "scheme": "SCT", "meaning": "Brain"}
ANATOMY = {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"}
SOURCE = SourceImage("1.2.840.10008.5.1.4.1.1.4", "2.25.7")


def network(nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], constants: dict[str, Any]) -> bytes:
    """An ONNX network of nodes; inputs and outputs by name with their shapes, float32."""
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors.items()]
        for tensors in (inputs, outputs)
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", *values, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def double(shape: tuple[int, ...] = (1, 4)) -> bytes:
    """y = 2 x."""
    return network([helper.make_node("Mul", ["x", "two"], ["y"])], {"x": shape}, {"y": shape}, {"two": np.float32(2)})


def lookup() -> bytes:
    """y = table[x]: fails in the run where x is not 0, 1 or 2."""
    nodes = [
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["y"]),
    ]
    return network(nodes, {"x": (1, 1)}, {"y": (1, 1)}, {"table": np.array([5, 6, 7], dtype=np.float32)})


def segmenter(shape: tuple[int, ...]) -> bytes:
    """Two channels of a (1, 1, ...) input: 1 - x and x."""
    nodes = [
        helper.make_node("Sub", ["one", "image"], ["rest"]),
        helper.make_node("Concat", ["rest", "image"], ["probability"], axis=1),
    ]
    out = (1, 2, *shape[2:])
    return network(nodes, {"image": shape}, {"probability": out}, {"one": np.float32(1)})


def classifier(shape: tuple[int, ...]) -> bytes:
    """One probability: the mean of the input."""
    axes = list(range(1, len(shape)))
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=axes, keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["probability"]),
    ]
    return network(nodes, {"image": shape}, {"probability": (1, 1)}, {"shape": np.array([1, 1], dtype=np.int64)})


def card(task: str, shape: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    """A card for `segmenter` or `classifier`: image units 0..100 become 0..1."""
    kind = "volume" if len(shape) == 5 else "frame"
    steps: list[Any] = [{"crop": "region"}, {"resize": {"shape": list(shape[2:])}}, {"window": {"range": [0.0, 100.0]}}]
    if kind == "volume":
        steps.insert(0, {"orient": "RAS"})
    classifies = task == "classification"
    label = {"name": "brain", "channel": 0 if classifies else 1, "threshold": 0.5, "concept": BRAIN}
    if task == "segmentation":
        label["category"] = ANATOMY
    return {
        "name": "tiny",
        "version": "1",
        "task": task,
        "intended_use": "Tests only.",
        "checkpoint": {"format": "onnx", "path": "tiny.onnx", "sha256": "0" * 64, "license": "CC0"},
        "input": {"name": "image", "kind": kind, "shape": list(shape)},
        "preprocess": steps,
        "output": {"name": "probability", "shape": [1, 1] if classifies else [1, 2, *shape[2:]]},
        "labels": [label],
        "tolerance": 1e-4,
        **changes,
    }


def write_card(engines: Path, document: dict[str, Any], checkpoint: bytes = b"") -> Path:
    """Write a card and its checkpoint under the engines folder; returns the card's folder."""
    folder = engines / document["name"]
    folder.mkdir(parents=True)
    document["checkpoint"]["sha256"] = hashlib.sha256(checkpoint).hexdigest()
    (folder / "tiny.onnx").write_bytes(checkpoint)
    (folder / "model.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


def build_engine(engines: Path, document: dict[str, Any], checkpoint: bytes, key: Any = None) -> Path:
    """Build a tiny engine; returns its folder."""
    folder = write_card(engines, document, checkpoint)
    request = Request(folder, "onnxruntime", "fp32", folder / "onnxruntime-fp32", checkpoint, key)
    return build(request, Progress(lambda text: None))


def volume(voxels: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    """Axial slices, from the feet up."""
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    geometry = Geometry(voxels.shape, (0.0, 0.0, 0.0), axes, spacing)
    return Volume(np.ascontiguousarray(voxels, dtype=np.float32), geometry, "MR", (SOURCE,) * len(voxels))

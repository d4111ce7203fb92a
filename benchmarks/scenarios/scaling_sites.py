"""Small engines and configurations for the scenario about growth: the work of the runtime shows beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.record import BenchFailed, Record
from benchmarks.site import RESERVE_BYTES, read_site
from edge_runtime.engines.card import CARD_FILE

FRAME_SIDE, VOLUME_SIDE = 16, 32  # of the networks' inputs
BRIGHT_HU = 400.0
_CONCEPT = {"value": "4147007", "scheme": "SCT", "meaning": "Mass"}
_CATEGORY = {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"}
_NETWORK = "network.onnx"

_Node = tuple[str, list[str], str, dict[str, Any]]
"""Operation, inputs, output, attributes."""


def build_frame_engine(engines: Path, name: str, megabytes: float = 0.0, seed: int = 0) -> None:
    """Build a classifier of RGB frames: is it bright? A matrix of `megabytes` (1e6 bytes) costs and says nothing.

    Raises:
        BenchFailed: onnx is missing.
    """
    inputs = 3 * FRAME_SIDE**2
    columns = max(1, round(megabytes * 1e6 / (4 * inputs)))
    matrix = np.random.default_rng(seed).normal(0, 1 / inputs, (inputs, columns)).astype(np.float32)
    nodes: list[_Node] = [
        ("Reshape", ["image", "flat"], "x", {}), ("ReduceMean", ["x"], "mean", {"axes": [1], "keepdims": 1}),
        ("MatMul", ["x", "matrix"], "y", {}), ("ReduceMean", ["y"], "z", {"axes": [1], "keepdims": 1}),
        ("Mul", ["z", "little"], "moved", {}), ("Sub", ["mean", "middle"], "above", {}),
        ("Add", ["above", "moved"], "output", {}),
    ]  # fmt: skip
    constants = {"flat": np.array([1, -1]), "matrix": matrix, "little": np.float32(1e-3), "middle": np.float32(0.5)}
    shape = [1, 3, FRAME_SIDE, FRAME_SIDE]
    steps = [{"colour": "rgb"}, {"resize": {"shape": shape[2:]}}, {"scale": {"factor": 1 / 255}}]
    _build(engines, name, "classification", shape, [1, 1], steps, _network(nodes, constants, shape, [1, 1]))


def build_volume_engine(engines: Path, name: str) -> None:
    """Build a segmenter of CT volumes: what is brighter than 200 HU. Raises BenchFailed where onnx is missing."""
    shape = [1, 1, VOLUME_SIDE, VOLUME_SIDE, VOLUME_SIDE]
    nodes: list[_Node] = [("Sub", ["image", "half"], "d", {}), ("Mul", ["d", "steep"], "output", {})]
    network = _network(nodes, {"half": np.float32(0.5), "steep": np.float32(40)}, shape, shape)
    steps = [
        {"orient": "RAS"}, {"resize": {"shape": shape[2:], "method": "nearest-exact"}},
        {"window": {"range": [0.0, BRIGHT_HU]}},
    ]  # fmt: skip
    _build(engines, name, "segmentation", shape, shape, steps, network)


def write_site(
    file: Path, engines: Path, pipelines: Sequence[Mapping[str, Any]], record: Record, **more: object
) -> Path:
    """Write a configuration, and note its hash and its engines' under the file's name.

    Raises:
        EdgeRuntimeError: the configuration or an engine cannot be used.
    """
    document = {
        "spool": {"path": str(file.with_suffix(".spool")), "reserve_bytes": RESERVE_BYTES},
        "engines": {"path": str(engines), "allow_unsigned": True},
        "pipelines": list(pipelines),
        **more,
    }
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    known = record.inputs.get("engines", {})
    read_site(str(file), record)
    record.inputs["engines"] = {**known, **record.inputs["engines"]}
    record.inputs.setdefault("configurations_sha256", {})[file.stem] = record.inputs.pop("configuration_sha256")
    return file


def _network(
    nodes: Sequence[_Node],
    constants: Mapping[str, Any],
    shape: Sequence[int],
    output_shape: Sequence[int],
) -> bytes:
    try:
        import onnx
    except ImportError as error:
        raise BenchFailed("this scenario needs onnx; run: pip install 'edge-runtime[convert]'") from error
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(n, floats, s) for n, s in (("image", shape), ("output", output_shape))]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **extra) for kind, inputs, output, extra in nodes],
        "small", ends[:1], ends[1:],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _build(
    engines: Path, name: str, task: str, shape: list[int], output_shape: list[int], steps: list[Any], network: bytes
) -> None:
    from converters.build import build
    from converters.made import Request
    from converters.progress import Progress

    label: dict[str, Any] = {"name": "bright", "channel": 0, "threshold": 0.5, "concept": _CONCEPT}
    if task == "segmentation":
        label["category"] = _CATEGORY
    card = {
        "name": name, "version": "1", "task": task,
        "intended_use": "Benchmarks only: it looks for what is bright in computed pictures.",
        "checkpoint": {"format": "onnx", "path": _NETWORK, "license": "Apache-2.0",
                       "sha256": hashlib.sha256(network).hexdigest()},
        "input": {"name": "image", "kind": "volume" if len(shape) == 5 else "frame", "shape": shape},
        "preprocess": steps,
        "output": {"name": "output", "shape": output_shape},
        "decode": {"activation": "sigmoid"},
        "labels": [label], "tolerance": 1e-3,
    }  # fmt: skip
    folder = engines / name
    folder.mkdir(parents=True)
    (folder / _NETWORK).write_bytes(network)
    (folder / CARD_FILE).write_text(yaml.safe_dump(card, sort_keys=False))
    build(Request(folder, "onnxruntime", "fp32", folder / "onnxruntime-fp32", network), Progress(lambda _: None))

"""Networks for the scenarios of live video: a disc is looked for, found and outlined, at a known cost.

The answers come from a few fixed operations. A tower of convolutions of random weights beside them gives each network
its cost, and moves its answer by a thousandth: what a network costs does not depend on what it has learnt.
A fourth, that costs next to nothing, reads the number that a camera has drawn, so that a result names its frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.record import BenchFailed
from edge_runtime.engines.card import CARD_FILE, Card, read_card

CLASSIFIER, DETECTOR, SEGMENTER = "disc-classifier", "disc-detector", "disc-segmenter"
NUMBER_READER = "number-reader"
NUMBER_BITS = 16
"""Of the number that the camera draws into the first lines of each picture, one bit a block, the lowest first."""
LABEL = "disc"
WIDTH = 48  # channels of the towers
DEPTH = {CLASSIFIER: 11, DETECTOR: 10, SEGMENTER: 15}
"""Convolutions of the towers, at a quarter of the input's resolution: about 0.26, 0.72 and 0.19 billion products."""

_SHAPE = {CLASSIFIER: (128, 128), DETECTOR: (192, 256), SEGMENTER: (96, 96), NUMBER_READER: (45, NUMBER_BITS)}
_TASK = {CLASSIFIER: "classification", DETECTOR: "detection", SEGMENTER: "segmentation",
         NUMBER_READER: "classification"}  # fmt: skip
_CELL, _BOX = 16, 48  # of the detector: pixels from one box to the next, and its extent
_CONCEPT = {"value": "4147007", "scheme": "SCT", "meaning": "Mass"}
_CATEGORY = {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"}
_GREY_TO_UNIT = 1 / 255


class _Graph:
    """An ONNX graph that grows by one operation at a time."""

    def __init__(self, onnx: Any) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._onnx = onnx

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def model(self, output: str, shape: tuple[int, ...], output_shape: tuple[int, ...]) -> bytes:
        helper, floats = self._onnx.helper, self._onnx.TensorProto.FLOAT
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        values = [helper.make_tensor_value_info(n, floats, s) for n, s in (("image", shape), ("output", output_shape))]
        graph = helper.make_graph(self.nodes, "disc", values[:1], values[1:], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self._onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def write_networks(engines: Path, cost: int = 1) -> list[Path]:
    """Write card and network of each into a new folder below `engines`; the folders. `cost`: times the towers' depth.

    Raises:
        BenchFailed: onnx is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise BenchFailed("this scenario needs onnx; run: pip install 'edge-runtime[convert]'") from error
    networks = {name: _network(name, _Graph(onnx), cost) for name in DEPTH}
    networks[NUMBER_READER] = _number_reader(_Graph(onnx))
    return [_write(engines / name, name, network) for name, network in networks.items()]


def _write(folder: Path, name: str, network: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / "network.onnx").write_bytes(network)
    (folder / CARD_FILE).write_text(yaml.safe_dump(_card(name, network), sort_keys=False))
    return folder


def small_card(name: str, shape: tuple[int, int], boxes: int, folder: Path) -> Card:
    """The card of a network whose input is smaller, for runs without a network. Writes it into a new folder."""
    card = _card(name, b"")
    card["input"]["shape"] = [1, 3, *shape]
    for step in card["preprocess"]:
        if "resize" in step:
            step["resize"]["shape"] = list(shape)
    card["output"]["shape"] = {CLASSIFIER: [1, 1], DETECTOR: [1, 5, boxes], SEGMENTER: [1, 1, *shape]}[name]
    folder.mkdir(parents=True)
    (folder / CARD_FILE).write_text(yaml.safe_dump(card, sort_keys=False))
    return read_card(folder / CARD_FILE)[0]


def _network(name: str, graph: _Graph, cost: int) -> bytes:
    rows, columns = _SHAPE[name]
    grey = graph.op("ReduceMean", "image", axes=[1], keepdims=1)
    heads: dict[str, Callable[[_Graph, str], str]] = {CLASSIFIER: _mean, DETECTOR: _boxes, SEGMENTER: _outline}
    answer = graph.op("Add", heads[name](graph, grey), _tower(graph, cost * DEPTH[name]))
    return graph.model(answer, (1, 3, rows, columns), _output_shape(name))


def _number_reader(graph: _Graph) -> bytes:
    """Of each block in the first line, whether it is bright."""
    grey = graph.op("ReduceMean", "image", axes=[1], keepdims=1)
    starts, ends, axes = (graph.constant([value], np.int64) for value in (0, 1, 2))
    first = graph.op("Slice", grey, starts, ends, axes)
    flat = graph.op("Reshape", first, graph.constant([1, NUMBER_BITS], np.int64))
    return graph.model(_logit(graph, flat, 20.0, 0.5), (1, 3, *_SHAPE[NUMBER_READER]), _output_shape(NUMBER_READER))


def _output_shape(name: str) -> tuple[int, ...]:
    if name == NUMBER_READER:
        return (1, NUMBER_BITS)
    rows, columns = _SHAPE[name]
    boxes = (rows // _CELL) * (columns // _CELL)
    return {CLASSIFIER: (1, 1), DETECTOR: (1, 5, boxes), SEGMENTER: (1, 1, rows, columns)}[name]


def _tower(graph: _Graph, depth: int) -> str:
    """What costs: two convolutions that halve the resolution, then `depth` more. A number of about a thousandth."""
    random = np.random.default_rng(depth)
    value, channels = "image", 3
    for number in range(depth + 2):
        weights = random.normal(0, np.sqrt(2 / (9 * channels)), (WIDTH, channels, 3, 3))
        strides = [2, 2] if number < 2 else [1, 1]
        value = graph.op("Conv", value, graph.constant(weights), kernel_shape=[3, 3], pads=[1] * 4, strides=strides)
        value, channels = graph.op("Relu", value), WIDTH
    mean = graph.op("ReduceMean", value, axes=[0, 1, 2, 3], keepdims=0)
    return graph.op("Mul", mean, graph.constant(1e-3))


def _logit(graph: _Graph, value: str, steepness: float, middle: float) -> str:
    above = graph.op("Sub", value, graph.constant(middle))
    return graph.op("Mul", above, graph.constant(steepness))


def _mean(graph: _Graph, grey: str) -> str:
    """Positive where the picture is not dark."""
    mean = graph.op("ReduceMean", grey, axes=[2, 3], keepdims=1)
    flat = graph.op("Reshape", mean, graph.constant([1, 1], np.int64))
    return _logit(graph, flat, 20.0, 0.1)


def _boxes(graph: _Graph, grey: str) -> str:
    """A box of 48 pixels around each cell, the better the brighter it is inside (YOLOv8's layout)."""
    rows, columns = _SHAPE[DETECTOR]
    before = (_BOX - _CELL) // 2
    inside = graph.op("AveragePool", grey, kernel_shape=[_BOX] * 2, strides=[_CELL] * 2, pads=[before] * 4,
                      count_include_pad=1)  # fmt: skip
    scores = graph.op("Reshape", inside, graph.constant([1, 1, -1], np.int64))
    y, x = np.mgrid[_CELL / 2 : rows : _CELL, _CELL / 2 : columns : _CELL]
    geometry = np.stack([x.ravel(), y.ravel(), np.full(x.size, _BOX), np.full(x.size, _BOX)])[None]
    return graph.op("Concat", graph.constant(geometry), _logit(graph, scores, 40.0, 0.5), axis=1)


def _outline(graph: _Graph, grey: str) -> str:
    return _logit(graph, grey, 20.0, 0.5)


def _card(name: str, network: bytes) -> dict[str, Any]:
    shape = _SHAPE[name]
    label: dict[str, Any] = {"name": LABEL, "channel": 0, "threshold": 0.5, "concept": _CONCEPT}
    decode: dict[str, Any] = {"activation": "sigmoid"}
    steps: list[Any] = [{"resize": {"shape": list(shape)}}, {"colour": "rgb"}, {"scale": {"factor": _GREY_TO_UNIT}}]
    if name == DETECTOR:
        decode = {"layout": "yolov8", "activation": "sigmoid", "overlap": 0.1, "maximum_regions": 8}
    if name == SEGMENTER:
        label["category"] = _CATEGORY
        steps.insert(0, {"crop": "region"})
    labels = [label]
    if name == NUMBER_READER:
        labels = [{**label, "name": f"bit-{bit}", "channel": bit} for bit in range(NUMBER_BITS)]
    return {
        "name": name,
        "version": "1",
        "task": _TASK[name],
        "intended_use": "Benchmarks only: it looks for a bright disc in computed pictures.",
        "checkpoint": {
            "format": "onnx",
            "path": "network.onnx",
            "sha256": hashlib.sha256(network).hexdigest(),
            "license": "Apache-2.0",
        },
        "input": {"name": "image", "kind": "frame", "shape": [1, 3, *shape]},
        "preprocess": steps,
        "output": {"name": "output", "shape": list(_output_shape(name))},
        "decode": decode,
        "labels": labels,
        "tolerance": 1e-2,
    }

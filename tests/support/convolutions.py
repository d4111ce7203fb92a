"""Small convolutional networks for quantization: what they compute does not matter, how their nodes meet does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import helper
from support.models import network

from converters.progress import Progress
from converters.quantize import int8
from converters.quantize.calibrate import Observed, observe


class Layers:
    """Collects nodes and random weights; every method returns the name of the tensor that it makes."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._random = np.random.default_rng(seed)

    def constant(self, name: str, shape: tuple[int, ...], scale: float) -> str:
        self.constants[name] = (scale * self._random.standard_normal(shape)).astype(np.float32)
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def conv(self, source: str, output: str, channels: tuple[int, int], kernel: tuple[int, ...] = (3, 3)) -> str:
        shape = (channels[1], channels[0], *kernel)
        weight = self.constant(f"{output}.weight", shape, (2 / np.prod(shape[1:])) ** 0.5)
        bias = self.constant(f"{output}.bias", (channels[1],), 0.1)
        pads = [k // 2 for k in kernel] * 2
        return self.node("Conv", [source, weight, bias], output, kernel_shape=list(kernel), pads=pads)

    def gemm(self, source: str, output: str, features: tuple[int, int]) -> str:
        weight = self.constant(f"{output}.weight", (features[1], features[0]), features[0] ** -0.5)
        return self.node(
            "Gemm", [source, weight, self.constant(f"{output}.bias", (features[1],), 0.1)], output, transB=1
        )


def residual(seed: int = 0) -> bytes:
    """A stem, a residual block whose skip is the block's input, and a classifier over two classes: (1, 3, 16, 16)."""
    layers = Layers(seed)
    stem = layers.node("Relu", [layers.conv("image", "stem", (3, 8))], "stem.relu")
    inner = layers.node("Relu", [layers.conv(stem, "inner", (8, 8))], "inner.relu")
    total = layers.node("Add", [layers.conv(inner, "outer", (8, 8)), stem], "add")
    pooled = layers.node("GlobalAveragePool", [layers.node("Relu", [total], "add.relu")], "pool")
    layers.gemm(layers.node("Flatten", [pooled], "flat"), "logits", (8, 2))
    return network(layers.nodes, {"image": (1, 3, 16, 16)}, {"logits": (1, 2)}, layers.constants)


def images(count: int, shape: tuple[int, ...] = (1, 3, 16, 16), seed: int = 1) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


def silent() -> Progress:
    return Progress(lambda text: None)


def calibrated(data: bytes, inputs: list[np.ndarray]) -> tuple[bytes, Observed]:
    """The prepared network and what it held on these inputs."""
    prepared = int8.prepare(data)
    return prepared, observe(prepared, inputs, silent(), len(inputs))


def run(data: bytes, image: np.ndarray) -> np.ndarray:
    """The first output, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, {session.get_inputs()[0].name: image})[0]
    return output


def sqnr_db(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to quantization noise."""
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))
